"""The contract of the command line: results on stdout, one clear line for every mistake, nothing half-written."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import QUICK, Charlm, TrainedWorkspace, write_sentences

SCORES = {"loss", "perplexity", "bits_per_character", "bits_per_byte", "unk_rate"}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


# ---- what every command keeps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "prepare", "train", "evaluate", "generate", "embed", "sync"])
def test_every_command_has_help_with_an_example(charlm: Charlm, command: str) -> None:
    outcome = charlm(command, "--help")
    assert outcome.code == 0
    assert f"charlm {command} " in outcome.stdout.split("Example:")[1]
    assert "--workspace" in outcome.stdout
    assert "--json" in outcome.stdout


def test_help_starts_at_once(charlm: Charlm) -> None:
    started = time.monotonic()
    assert charlm("--help").code == 0
    assert time.monotonic() - started < 2


BAD_LINES: dict[str, tuple[list[str], str]] = {
    "an unknown command": (["fly"], "No such command 'fly'"),
    "an unknown option": (["train", "x", "--fast"], "No such option: --fast"),
    "a missing argument": (["prepare", "--name", "x"], "Missing argument 'RAW...'"),
    "a missing raw file": (["prepare", "nowhere.txt", "--name", "x"], "nowhere.txt"),
    "a missing raw file of a run": (["run", "nowhere.txt", "--name", "x"], "nowhere.txt"),
    "an unknown recipe": (["train", "x", "--recipe", "huge"], "no recipe named 'huge'; there are demo"),
    "an unknown field": (["train", "x", "--set", "size=3"], "no field 'size' to set; there are"),
    "a field without a value": (["train", "x", "--set", "hidden_size"], "--set takes field=value"),
    "a field of another type": (["train", "x", "--set", "hidden_size=big"], "hidden_size is a whole number"),
    "an unknown direction": (["train", "x", "--direction", "up"], "direction is forward, backward or both"),
    "an unprepared corpus": (["train", "x"], "no corpus named 'x'"),
    "a corpus name that is a path": (["train", "../x"], "a corpus name is"),
    "a bad size": (["prepare", "README.md", "--name", "x", "--shard-size", "big"], "a size is a number"),
    "an unknown document": (["prepare", "README.md", "--name", "x", "--document", "page"], "document is one of"),
    "an unknown policy": (["prepare", "README.md", "--name", "x", "--bad-bytes", "guess"], "bad_bytes is one of"),
    "no share for training": (
        ["prepare", "pyproject.toml", "--name", "x", "--test-share", "0.99"],
        "leave text to train",
    ),
    "a missing model": (["evaluate", "nowhere.pt", "pyproject.toml"], "there is no model 'nowhere.pt'"),
    "a missing text": (["evaluate", "pyproject.toml", "nowhere.txt"], "there is no text file 'nowhere.txt'"),
    "a model that is something else": (["evaluate", "pyproject.toml", "pyproject.toml"], "pyproject.toml"),
    "generating from something else": (["generate", "pyproject.toml"], "pyproject.toml"),
    "embedding with something else": (["embed", "pyproject.toml", "pyproject.toml", "--output", "x"], "pyproject.toml"),
    "a malformed address": (["generate", "models:/a/b/c"], "write models:/NAME@champion or models:/NAME/3"),
    "a model that is not registered": (
        ["generate", "models:/nobody@champion"],
        "there is no registered model 'nobody'",
    ),
    "an unknown run": (["sync", "nothing"], "there is no run 'nothing'"),
}


@pytest.mark.parametrize(("arguments", "expected"), BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_mistake_is_one_clear_line_with_exit_code_2(
    charlm: Charlm, workspace: Path, arguments: list[str], expected: str
) -> None:
    outcome = charlm(*arguments, "--json", CHARLM_WORKSPACE=str(workspace))
    assert outcome.code == 2
    assert outcome.json.keys() == {"error"}
    assert expected in outcome.json["error"]
    (line,) = outcome.stderr.splitlines()
    assert line == f"error: {outcome.json['error']}"
    assert not list(workspace.glob("corpora/*/corpus.json"))
    assert not list(workspace.glob("runs/*"))


def test_without_json_a_mistake_leaves_stdout_empty(charlm: Charlm, workspace: Path) -> None:
    outcome = charlm("train", "x", "--workspace", workspace)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("error: no corpus named 'x'")


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"good line\nbad \xff line\n", "line 2"), (b"\x00\x01\x02\xff" * 100, "binary")],
    ids=["not UTF-8", "binary"],
)
def test_bad_raw_text_is_refused_and_leaves_an_earlier_corpus_as_it_was(
    charlm: Charlm, tmp_path: Path, workspace: Path, content: bytes, expected: str
) -> None:
    assert charlm("prepare", write_sentences(tmp_path / "a.txt"), "--name", "a", "--workspace", workspace).code == 0
    before = {path: path.read_bytes() for path in workspace.rglob("*") if path.is_file()}
    bad = tmp_path / "bad.txt"
    bad.write_bytes(content)
    outcome = charlm("prepare", bad, "--name", "a", "--workspace", workspace, "--json")
    assert outcome.code == 2
    assert expected in outcome.json["error"]
    assert {path: path.read_bytes() for path in workspace.rglob("*") if path.is_file()} == before


def test_an_empty_text_is_refused(charlm: Charlm, tmp_path: Path, workspace: Path) -> None:
    (tmp_path / "empty.txt").touch()
    outcome = charlm("prepare", tmp_path / "empty.txt", "--name", "a", "--workspace", workspace, "--json")
    assert outcome.code == 2
    assert "there is no text in" in outcome.json["error"]
    assert not list(workspace.rglob("*.json"))


def test_a_corpus_too_small_for_the_mini_batch_is_refused_and_leaves_no_run(
    charlm: Charlm, trained_workspace: TrainedWorkspace, tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    assert charlm("prepare", trained_workspace.text, "--name", "tiny", "--workspace", workspace).code == 0
    outcome = charlm(
        "train", "tiny", "--direction", "forward", "--set", "mini_batch_size=100000", "--workspace", workspace, "--json"
    )
    assert outcome.code == 2
    assert "mini_batch_size" in outcome.json["error"]
    assert not list(workspace.glob("runs/*"))


def test_a_workspace_that_is_a_file_is_refused(charlm: Charlm, tmp_path: Path) -> None:
    file = write_sentences(tmp_path / "file")
    assert "is a file" in charlm("train", "x", "--workspace", file, "--json").json["error"]


# ---- prepare -------------------------------------------------------------------------------------------------------


def test_prepare_reports_the_keys_of_its_contract(trained_workspace: TrainedWorkspace) -> None:
    prepared = trained_workspace.prepared
    assert prepared["corpus"] == str(trained_workspace.root / "corpora" / "tiny")
    assert prepared["revision"] == 1
    assert prepared["documents"] == 3_000
    assert prepared["characters"] == len(trained_workspace.text.read_text())
    assert prepared["train_shards"] == 1
    assert prepared["dictionary_size"] == 1 + len(set(trained_workspace.text.read_text()))
    assert prepared["unk_rate"] == 0


def test_preparing_a_small_file_takes_less_than_two_seconds(charlm: Charlm, tmp_path: Path, workspace: Path) -> None:
    text = write_sentences(tmp_path / "text.txt")
    seconds = []
    for name in ("a", "b", "c"):  # the best of three: the machine may be busy with other things
        started = time.monotonic()
        assert charlm("prepare", text, "--name", name, "--workspace", workspace).code == 0
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 2


def test_a_second_prepare_takes_over_the_settings_and_says_what_it_reuses(
    charlm: Charlm, tmp_path: Path, workspace: Path
) -> None:
    text = write_sentences(tmp_path / "text.txt")
    place = ("--name", "a", "--workspace", workspace, "--json")
    first = charlm("prepare", text, "--valid-share", "0.1", "--coverage", "0.99", *place)
    again = charlm("prepare", text, *place)
    assert again.json == first.json
    assert "no new text" in again.stderr
    assert "reused" in again.stderr
    other = charlm("prepare", text, "--valid-share", "0.2", *place)
    assert other.code == 2
    assert "valid_share=0.1" in other.json["error"]


# ---- the models ----------------------------------------------------------------------------------------------------


def check_scores(scores: dict[str, Any]) -> None:
    assert scores.keys() >= SCORES
    assert scores["unk_rate"] == 0
    assert 0 < scores["bits_per_byte"] == pytest.approx(scores["bits_per_character"])  # ASCII, nothing unknown


def test_train_reports_the_keys_of_its_contract(trained_workspace: TrainedWorkspace) -> None:
    trained = trained_workspace.trained
    assert trained["model"] == "models:/tiny/1"
    assert trained["runs"].keys() == {"forward", "backward"}
    for run in trained["runs"].values():
        assert Path(run["best_lm"]) == Path(run["run_dir"]) / "best-lm.pt"
        assert Path(run["best_lm"]).is_file()
        assert run["characters_per_second"] > 0
        check_scores(run["valid"])
        check_scores(run["test"])


def test_evaluate_gives_the_scores_that_training_gave(charlm: Charlm, trained_workspace: TrainedWorkspace) -> None:
    test_text = trained_workspace.root / "corpora" / "tiny" / "test.txt"
    outcome = charlm("evaluate", "models:/tiny/1", test_text, "--workspace", trained_workspace.root, "--json")
    assert outcome.code == 0
    for direction, run in trained_workspace.trained["runs"].items():
        assert outcome.json[direction]["bits_per_byte"] == pytest.approx(run["test"]["bits_per_byte"], rel=1e-5)
        assert outcome.json[direction]["characters"] == len(test_text.read_text())


def test_a_model_of_one_direction_is_scored_in_that_direction_alone(
    charlm: Charlm, trained_workspace: TrainedWorkspace
) -> None:
    model = trained_workspace.trained["runs"]["backward"]["run_dir"]
    outcome = charlm("evaluate", model, trained_workspace.text, "--workspace", trained_workspace.root, "--json")
    assert outcome.json.keys() == {"backward"}


def test_generate_continues_to_the_right_and_to_the_left(charlm: Charlm, trained_workspace: TrainedWorkspace) -> None:
    line = ("generate", "models:/tiny@challenger", "--prefix", "set ", "--characters", "20", "--seed", "3", "--json")
    first = charlm(*line, "--workspace", trained_workspace.root).json
    assert first["forward"].startswith("set ")
    assert first["backward"].endswith("set ")
    assert {len(text) for text in first.values()} == {24}
    assert charlm(*line, "--workspace", trained_workspace.root).json == first


def test_embed_writes_a_vector_for_every_token(
    charlm: Charlm, trained_workspace: TrainedWorkspace, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    (tmp_path / "text.txt").write_text("the set of files\nread a list\n")
    output = tmp_path / "vectors.parquet"
    outcome = charlm(
        "embed",
        "models:/tiny/1",
        tmp_path / "text.txt",
        "--output",
        output,
        "--workspace",
        trained_workspace.root,
        "--json",
    )
    assert outcome.json == {"output": str(output), "tokens": 7, "dimensions": 32}
    assert pq.read_table(output)["token"].to_pylist() == ["the", "set", "of", "files", "read", "a", "list"]


def test_train_resumed_when_all_is_finished_prints_the_result_and_registers_nothing_new(
    charlm: Charlm, trained_workspace: TrainedWorkspace
) -> None:
    outcome = charlm("train", "tiny", *QUICK, "--resume", "--workspace", trained_workspace.root, "--json")
    assert outcome.json == trained_workspace.trained
    assert "already holds this very model" in outcome.stderr


def test_results_without_json_are_for_people(charlm: Charlm, trained_workspace: TrainedWorkspace) -> None:
    outcome = charlm("evaluate", "models:/tiny/1", trained_workspace.text, "--workspace", trained_workspace.root)
    assert "bits/character" in outcome.stdout
    with pytest.raises(json.JSONDecodeError):
        json.loads(outcome.stdout)
