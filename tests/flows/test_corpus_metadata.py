"""Licence and languages are kept with a corpus, change nothing of it, and come to its models."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from charlm.artifacts import Workspace
from charlm.config import CorpusMetadata
from charlm.text.corpus.manifest import load_manifest, record_metadata
from tasks.registry.bundles import register_runs
from tasks.registry.download import read_manifest
from tasks.registry.versions import RegisteredVersion
from tasks.runs import TrainedRun
from tasks.tracking.client import mlflow_client
from tests.conftest import TrainedWorkspace, own_workspace, run_charlm, write_sentences


def test_a_corpus_keeps_licence_and_languages_and_is_the_same_corpus(tmp_path: Path) -> None:
    text = write_sentences(tmp_path / "text.txt")
    workspace = ("--workspace", tmp_path / "workspace", "--json")
    command = ("prepare", text, "--name", "tiny", *workspace)
    plain = run_charlm(*command).json
    manifest = Path(plain["corpus"]) / "corpus.json"
    before = json.loads(manifest.read_text())
    known = {"licence": "CC-BY-SA-4.0", "languages": ["de", "gsw"]}
    labelled = run_charlm(*command, "--licence", "cc-by-sa-4.0", "--language", "de", "--language", "gsw")
    assert labelled.json == plain | known
    assert json.loads(manifest.read_text()) == before | known
    assert run_charlm(*command).json == plain | known
    assert run_charlm(*command, "--language", "de").json == plain | known | {"languages": ["de"]}


@pytest.mark.parametrize(("option", "value"), [("--licence", "free for all"), ("--language", "german")])
def test_what_is_no_licence_or_language_is_one_line_before_any_work(option: str, value: str, tmp_path: Path) -> None:
    text = write_sentences(tmp_path / "text.txt")
    for command in ("prepare", "run"):
        outcome = run_charlm(
            command, text, "--name", "tiny", option, value, "--workspace", tmp_path / "workspace", "--json"
        )
        assert outcome.code == 2
        assert outcome.json["error"].startswith(f"a {option[2:]} is ")
        assert outcome.json["error"].endswith(f"got {value!r}")
        assert not (tmp_path / "workspace" / "corpora").exists()


# ---- the models ----------------------------------------------------------------------------------------------------


@pytest.fixture
def workspace(trained_workspace: TrainedWorkspace, tmp_path: Path) -> Iterator[Workspace]:
    with own_workspace(trained_workspace, tmp_path / "copy") as workspace:
        yield workspace


def register(workspace: Workspace) -> RegisteredVersion:
    """Register the forward model of the corpus `tiny`."""
    runs = [TrainedRun.load(workspace.run(path.name), reused=True) for path in workspace.runs_dir.iterdir()]
    forward = {run.direction: run for run in runs if run.direction == "forward"}
    return register_runs(workspace, "tiny", forward, run_id=None)


@pytest.mark.service
def test_a_version_has_the_licence_and_the_languages_of_its_corpus(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = workspace.corpus("tiny")
    record_metadata(corpus, CorpusMetadata(licence="cc-by-4.0", languages=("en", "de")))
    version = register(workspace)
    found = mlflow_client().get_model_version("tiny", str(version.version))
    assert (found.tags["licence"], found.tags["languages"]) == ("CC-BY-4.0", "en, de")
    assert "Licence: CC-BY-4.0\n\nLanguages: en, de\n" in found.description
    known = load_manifest(corpus).metadata
    assert known.items() <= read_manifest(version).items()
    capsys.readouterr()
    record_metadata(corpus, CorpusMetadata(licence="mit"))
    assert register(workspace).version == version.version
    assert (
        f"! models:/tiny/{version.version} is the same model and keeps its licence (CC-BY-4.0), not MIT;"
        " charlm export --licence gives a copy another"
    ) in " ".join(capsys.readouterr().err.split())
