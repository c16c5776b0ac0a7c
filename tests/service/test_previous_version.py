"""A workspace with a registry that version 0.1 has left opens in this version, and everything in it goes on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.golden.version_0_1.command_line import CommandLine, settings
from tests.golden.version_0_1.texts import write_later_text, write_texts
from tests.golden.version_0_1.workspace import EXPECTED, INTERRUPTED, look, unpack
from tests.model_server import ask, model_server

pytestmark = pytest.mark.service  # every command starts MLflow

NEARLY = {"rel": 1e-4, "abs": 1e-4}  # the models are given; only sums are in another order on other processors


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("version_0_1"))


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(EXPECTED.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def charlm(workspace: Path) -> Iterator[CommandLine]:
    with CommandLine(ROOT, workspace) as command:
        yield command


@pytest.fixture(scope="module", autouse=True)
def found(charlm: CommandLine, workspace: Path) -> dict[str, Any]:
    """What the models give, before any test has changed the workspace."""
    return look(charlm, ROOT, workspace)


def assert_nearly(one: Any, other: Any) -> None:
    """Equal but for the last digits of floats, at any depth."""
    if isinstance(other, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), list(other.values())
    if isinstance(other, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_nearly(left, right)
    elif isinstance(other, float):
        assert one == pytest.approx(other, **NEARLY)
    else:
        assert one == other


@pytest.mark.parametrize("model", ["champion", "first version", "byte model"])
def test_its_models_get_the_same_scores(found: dict[str, Any], expected: dict[str, Any], model: str) -> None:
    assert_nearly(found[model], expected[model])


def test_its_champion_gives_the_same_vectors(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert_nearly(found["vectors"], expected["vectors"])


def test_its_tagger_gives_the_same_labels(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert_nearly(found["labels"], expected["labels"])


def test_mlflow_serves_its_versions_with_the_code_that_they_carry(
    found: dict[str, Any], expected: dict[str, Any]
) -> None:
    pair, tagger = found["served"]
    assert [entry["tokens"] for entry in pair] == [["the", "quick", "слово"], ["größer"]]
    assert_nearly([pair, tagger], expected["served"])


@pytest.mark.slow
def test_its_versions_are_served_over_http_where_charlm_is_installed(workspace: Path, expected: dict[str, Any]) -> None:
    for model, answers in zip(("models:/old/1", "models:/scripts/1"), expected["served"], strict=True):
        with model_server(model, workspace, PYTHONPATH=str(ROOT)) as address:
            assert_nearly(ask(address, {"inputs": ["the quick слово", "größer"]})["predictions"], answers)


def test_its_interrupted_run_goes_on(charlm: CommandLine, workspace: Path) -> None:
    (begun,) = [run for run in workspace.glob("runs/old-*") if state(run) == "interrupted"]
    resumed = charlm("train", "old", "--direction", "forward", "--no-register", "--resume", *INTERRUPTED)
    assert Path(resumed["runs"]["forward"]["run_dir"]).name == begun.name
    assert state(begun) == "finished"
    events = [json.loads(line) for line in (begun / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    (resume,) = [event for event in events if event["event"] == "resume"]
    assert 0 < resume["characters"] < events[-1]["characters"]
    steps = [event["step"] for event in events if event["event"] == "train"]
    assert steps == sorted(set(steps))


def state(run: Path) -> Any:
    return json.loads((run / "run.json").read_text(encoding="utf-8"))["state"]


def test_its_corpus_takes_more_text_and_its_pair_is_finetuned(
    charlm: CommandLine, workspace: Path, tmp_path: Path
) -> None:
    prepared = charlm("prepare", write_later_text(tmp_path), "--name", "bytes", "--domain", "later", "--deduplicate")
    assert prepared["revision"] == 2
    charlm(
        "prepare", *write_texts(tmp_path / "raw")[:1], "--name", "new", "--valid-share", "0.1", "--test-share", "0.1"
    )
    budget = settings(max_characters=3_000, sequence_length=20, mini_batch_size=8, validations=1)
    forward = ("--direction", "forward", "--extend-dictionary")
    tuned = charlm("finetune", "new", "--from", "models:/old/2", *forward, *budget)
    assert tuned["model"] == "models:/new/1"
    bundles = [json.loads(path.read_text(encoding="utf-8")) for path in workspace.rglob("bundle.json")]
    assert [bundle["parent_version"] for bundle in bundles if bundle["corpus"]["name"] == "new"] == ["old/2"]


def test_its_champion_is_rolled_back(charlm: CommandLine, workspace: Path, expected: dict[str, Any]) -> None:
    assert charlm("rollback", "old") == {"model": "models:/old/1", "replaced": "models:/old/2"}
    (text, *_) = write_texts(workspace.parent / "after")
    assert_nearly(charlm("evaluate", "models:/old@champion", text), expected["first version"])
