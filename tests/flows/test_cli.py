"""The contract of the command line: results on stdout, one clear line for every mistake, nothing half-written."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli.app import app
from tests.conftest import ROOT, Charlm, TrainedWorkspace, environment, write_sentences

SCORES = {"loss", "perplexity", "bits_per_character", "bits_per_byte", "unk_rate"}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


# ---- what every command keeps --------------------------------------------------------------------------------------


COMMANDS = {
    command.callback.__name__.replace("_", "-")
    for command in app.registered_commands
    if command.callback and not command.hidden
}


def test_the_commands_of_the_contract_are_there() -> None:
    assert {"run", "prepare", "doctor", "plan", "train", "finetune", "evaluate"} <= COMMANDS
    assert {"generate", "embed", "export", "sync"} <= COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(charlm: Charlm, command: str) -> None:
    outcome = charlm(command, "--help")
    assert outcome.code == 0
    assert f"charlm {command} " in outcome.stdout.split("Example:")[1]
    if command != "completion":  # which prints a script, and works in no workspace
        assert "--workspace" in outcome.stdout
        assert "--json" in outcome.stdout


def loaded_by(*arguments: object) -> set[str]:
    """The packages that a command line has imported when it ends."""
    code = "import sys; from flows.cli.app import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, env=environment()
    )
    assert result.returncode == 0, result.stderr
    return {name.split(".")[0] for name in result.stderr.splitlines()[-1].split()}


SLOW_TO_START = {"torch", "prefect", "mlflow", "datasets", "pandas", "transformers", "matplotlib"}


def test_help_loads_nothing_that_is_slow_to_start() -> None:
    assert not loaded_by("--help") & (SLOW_TO_START | {"numpy", "pyarrow"})


def test_preparing_and_examining_load_nothing_that_is_slow_to_start(tmp_path: Path, workspace: Path) -> None:
    text = write_sentences(tmp_path / "text.txt")
    assert not loaded_by("prepare", text, "--name", "a", "--workspace", workspace) & SLOW_TO_START
    assert not loaded_by("doctor", text, "--workspace", workspace) & SLOW_TO_START


BAD_LINES: dict[str, tuple[list[str], str]] = {
    "an unknown command": (["fly"], "No such command 'fly'"),
    "an unknown option": (["train", "x", "--fast"], "No such option: --fast"),
    "a missing argument": (["prepare", "--name", "x"], "Missing argument 'RAW'"),
    "a missing raw file": (["prepare", "nowhere.txt", "--name", "x"], "nowhere.txt"),
    "a missing raw file of a run": (["run", "nowhere.txt", "--name", "x"], "nowhere.txt"),
    "an unknown recipe": (["train", "x", "--recipe", "huge"], "no recipe named 'huge'; there are demo"),
    "an unknown field": (["train", "x", "--set", "size=3"], "no field 'size' to set; there are activation_penalty,"),
    "no number of minutes": (["train", "x", "--max-minutes", "nan"], "max_minutes must be a number greater than 0"),
    "minutes without end": (["plan", "x", "--max-minutes", "inf"], "max_minutes must be a number greater than 0"),
    "a beta above 1": (["train", "x", "--set", "beta2=1.5"], "beta2 must be in [0, 1), got 1.5"),
    "a negative decay": (["train", "x", "--set", "weight_decay=-1"], "weight_decay must be 0 or more, got -1.0"),
    "a recipe that is set": (["train", "x", "--set", "recipe=gpu_base"], "the recipe is chosen with --recipe"),
    "a field without a value": (["train", "x", "--set", "hidden_size"], "--set takes field=value"),
    "a field of another type": (["train", "x", "--set", "hidden_size=big"], "hidden_size is a whole number"),
    "an unknown direction": (["train", "x", "--direction", "up"], "direction is forward, backward or both"),
    "an unprepared corpus": (["train", "x"], "no corpus named 'x'"),
    "a corpus name that is a path": (["train", "../x"], "a corpus name is"),
    "a bad size": (["prepare", "README.md", "--name", "x", "--shard-size", "big"], "a size is a number"),
    "an unknown document": (["prepare", "README.md", "--name", "x", "--document", "page"], "document is one of"),
    "an unknown policy": (["prepare", "README.md", "--name", "x", "--bad-bytes", "guess"], "bad_bytes is one of"),
    "an unknown normalisation": (["prepare", "README.md", "--name", "x", "--normalization", "NFD"], "normalization is"),
    "a dictionary without room": (
        ["prepare", "README.md", "--name", "x", "--max-size", "2"],
        "max_size must leave room",
    ),
    "a count below one": (["prepare", "README.md", "--name", "x", "--min-count", "0"], "min_count must be at least 1"),
    "a bad largest document": (["prepare", "README.md", "--name", "x", "--max-document-size", "big"], "a size is"),
    "a ratio below one": (
        ["run", "README.md", "--name", "x", "--max-ratio", "0.5"],
        "max_ratio must be greater than 1",
    ),
    "a number that is none": (["prepare", "README.md", "--name", "x", "--max-size", "all"], "'--max-size'"),
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
    "a workspace at an unknown address": (["train", "x", "--workspace", "no-such://bucket/ws"], "no-such://bucket/ws"),
    "a folder like an address": (["train", "x", "--workspace", "/tmp/s3:/ws"], "'s3:' in its path, the beginning"),
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


def test_no_command_at_all_shows_the_help_and_says_so(charlm: Charlm) -> None:
    outcome = charlm()
    assert outcome.code == 2
    assert "prepare" in outcome.stdout
    assert outcome.stderr == "error: no command was given (charlm --help shows how)\n"


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


def test_a_name_that_is_not_utf8_is_one_line(charlm: Charlm, tmp_path: Path, workspace: Path) -> None:
    text = write_sentences(tmp_path / "a.txt")
    strange = os.fsdecode(b"caf\xe9")
    for arguments in (("--workspace", tmp_path / strange), ("--workspace", workspace, "--domain", strange)):
        outcome = charlm("prepare", text, "--name", "a", *arguments, "--json")
        assert outcome.code == 2
        assert r"caf\udce9' is not UTF-8" in outcome.json["error"]
        assert len(outcome.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("corpus.json"))
    outcome = charlm("generate", "models:/a@champion", "--prefix", strange, "--workspace", workspace)
    assert (outcome.code, outcome.stderr.count("\n")) == (2, 1)
    assert r"the prefix 'caf\udce9' is not UTF-8" in outcome.stderr


@pytest.mark.parametrize(("encoding", "written"), [("ascii", "ü 日\n"), ("latin-1", "ü \\u65e5\n")])
def test_a_result_is_written_in_any_locale(encoding: str, written: str) -> None:
    program = r"from flows.cli import app; app._accept_all_characters(); app.write_stdout('\u00fc \u65e5')"
    variables = {"PYTHONUTF8": "0", "PYTHONIOENCODING": encoding}
    outcome = subprocess.run(
        [sys.executable, "-c", program], env=environment() | variables, cwd=ROOT, capture_output=True
    )
    assert outcome.stdout.decode("utf-8" if encoding == "ascii" else encoding) == written


def test_a_result_that_cannot_be_written_is_one_line(tmp_path: Path, workspace: Path, server: dict[str, str]) -> None:
    variables = environment() | server
    text = write_sentences(tmp_path / "a.txt")
    code = "from flows.cli.app import main; main()"
    command = [sys.executable, "-c", code, "prepare", str(text), "--name", "a", "--workspace", str(workspace), "--json"]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=variables)
    assert result.returncode == 2
    line = "No space left on device; free some space where the workspace, its cache and TMPDIR are, and run again"
    assert result.stderr.splitlines()[-1] == f"error: {line}"
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    result = subprocess.run(closed, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=variables)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == "error: standard output is closed; the result was not shown"


def test_another_dictionary_is_refused_before_new_text_comes_in(
    charlm: Charlm, tmp_path: Path, workspace: Path
) -> None:
    place = ("--name", "a", "--workspace", workspace, "--json")
    assert charlm("prepare", write_sentences(tmp_path / "a.txt"), *place).code == 0
    before = {path: path.read_bytes() for path in workspace.rglob("*") if path.is_file()}
    new = write_sentences(tmp_path / "b.txt", seed=2)
    for setting in (("--coverage", "0.9"), ("--max-size", "9"), ("--min-count", "3")):
        outcome = charlm("prepare", new, *setting, *place)
        assert outcome.code == 2
        assert "the dictionary of corpus 'a' was built with" in outcome.json["error"]
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


def test_a_registry_in_a_place_that_cannot_be_written_is_one_line(charlm: Charlm, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    outcome = charlm("generate", "models:/a@champion", "--workspace", tmp_path / "file" / "workspace", "--json")
    assert outcome.code == 2
    assert f"cannot be created: {tmp_path / 'file'} is not a writable folder" in outcome.json["error"]


def test_prepare_reports_the_keys_of_its_contract(trained_workspace: TrainedWorkspace) -> None:
    prepared = trained_workspace.prepared
    assert prepared["corpus"] == str(trained_workspace.root / "corpora" / "tiny")
    assert prepared["revision"] == 1
    assert prepared["documents"] == 3_000
    assert prepared["characters"] == len(trained_workspace.text.read_text())
    assert prepared["train_shards"] == 1
    assert prepared["dictionary_size"] == 1 + len(set(trained_workspace.text.read_text()))
    assert prepared["unk_rate"] == 0


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


def test_normalisation_joins_letters_with_their_accents(charlm: Charlm, tmp_path: Path, workspace: Path) -> None:
    (tmp_path / "text.txt").write_text("".join(f"cafe\u0301 number {number}\n" for number in range(500)))
    prepared = charlm(
        "prepare", tmp_path / "text.txt", "--name", "a", "--normalization", "NFC", "--workspace", workspace, "--json"
    ).json
    assert "é" in (Path(prepared["corpus"]) / "valid.txt").read_text()
    assert "\u0301" not in (Path(prepared["corpus"]) / "dictionary" / "characters.tsv").read_text()


def test_carriage_returns_stay_where_newlines_are_kept_and_nowhere_else(
    charlm: Charlm, tmp_path: Path, workspace: Path
) -> None:
    (tmp_path / "dos.txt").write_bytes(b"".join(b"line %d\r\n" % number for number in range(2_000)))
    for options, is_kept in (((), False), (("--keep-newlines",), True)):
        name = "kept" if is_kept else "turned"
        outcome = charlm("prepare", tmp_path / "dos.txt", "--name", name, *options, "--workspace", workspace, "--json")
        assert outcome.code == 0, outcome.stderr
        assert (b"\r\n" in Path(outcome.json["corpus"], "valid.txt").read_bytes()) is is_kept


def test_the_dictionary_keeps_to_its_size_and_its_counts(charlm: Charlm, tmp_path: Path, workspace: Path) -> None:
    text = write_sentences(tmp_path / "text.txt")
    place = ("--workspace", workspace, "--json")
    assert charlm("prepare", text, "--name", "small", "--max-size", "10", *place).json["dictionary_size"] == 10
    with text.open("a") as file:
        file.write("ŷ\n" * 20)  # of which at least one is train text
    few = charlm("prepare", text, "--name", "few", "--coverage", "1", "--min-count", "100", *place)
    all_kept = charlm("prepare", text, "--name", "all", "--coverage", "1", *place)
    assert few.json["dictionary_size"] == all_kept.json["dictionary_size"] - 1


def test_records_are_read_by_the_column_that_is_named(charlm: Charlm, tmp_path: Path, workspace: Path) -> None:
    raw = tmp_path / "records.jsonl"
    raw.write_text("".join(json.dumps({"body": f"record number {number}"}) + "\n" for number in range(500)))
    place = (raw, "--name", "a", "--workspace", workspace, "--json")
    assert "text" in charlm("prepare", *place).json["error"]
    assert charlm("prepare", *place, "--text-column", "body").json["documents"] == 500


def test_a_document_above_the_largest_size_is_refused(charlm: Charlm, tmp_path: Path, workspace: Path) -> None:
    text = write_sentences(tmp_path / "text.txt")
    place = (text, "--name", "a", "--workspace", workspace, "--json")
    refused = charlm("prepare", *place, "--max-document-size", "30")
    assert refused.code == 2
    assert "text.txt" in refused.json["error"]
    assert not list(workspace.rglob("corpus.json"))
    assert charlm("prepare", *place, "--max-document-size", "1kB").code == 0


def test_a_packed_file_may_not_grow_beyond_the_ratio(charlm: Charlm, tmp_path: Path, workspace: Path) -> None:
    raw = tmp_path / "text.txt.gz"
    raw.write_bytes(gzip.compress(b"".join(b"line %d of many that are alike\n" % number for number in range(700_000))))
    place = (raw, "--name", "a", "--workspace", workspace, "--json")
    refused = charlm("prepare", *place, "--max-ratio", "1.5")
    assert refused.code == 2
    assert "looks like a decompression bomb" in refused.json["error"]
    assert charlm("prepare", *place).code == 0


def test_new_characters_are_warned_of_until_the_dictionary_is_extended(
    charlm: Charlm, tmp_path: Path, workspace: Path
) -> None:
    place = ("--name", "a", "--workspace", workspace, "--json")
    first = charlm("prepare", write_sentences(tmp_path / "text.txt"), *place)
    old_items = dictionary_items(first.json["corpus"])
    greek = tmp_path / "greek.txt"
    greek.write_text("".join(f"γραμμή {number}\n" for number in range(1_000)))
    frozen = charlm("prepare", greek, *place)
    assert frozen.json["dictionary_size"] == len(old_items)
    assert frozen.json["unk_rate"] > 0.001
    assert "--extend-dictionary would keep more" in frozen.stderr
    extended = charlm("prepare", greek, "--extend-dictionary", *place)
    items = dictionary_items(extended.json["corpus"])
    assert items[: len(old_items)] == old_items
    assert set(items[len(old_items) :]) == set("γραμή0123456789")
    assert "15 added at its end" in extended.stderr
    assert extended.json["unk_rate"] == 0
    assert charlm("prepare", greek, *place).json == extended.json


def dictionary_items(corpus: str) -> list[str]:
    items: list[str] = json.loads((Path(corpus) / "dictionary" / "dictionary.json").read_text())["items"]
    return items


# ---- doctor --------------------------------------------------------------------------------------------------------


def test_doctor_says_what_is_in_a_text_and_leaves_no_trace(charlm: Charlm, tmp_path: Path, workspace: Path) -> None:
    text = write_sentences(tmp_path / "text.txt")
    (tmp_path / "bad.txt").write_bytes(b"one line\nand a \xff byte\n")
    shown = charlm("doctor", text, tmp_path / "bad.txt", "--workspace", workspace)
    assert shown.code == 0
    assert "bad.txt" in shown.stdout
    report = charlm("doctor", text, tmp_path / "bad.txt", "--workspace", workspace, "--json").json
    assert report["settings"]["bad_bytes"] == "replace"
    assert not workspace.exists()


def test_what_doctor_suggests_can_be_pasted_behind_prepare(charlm: Charlm, tmp_path: Path) -> None:
    paragraph = "A cafe\u0301 by the sea, where nobody ever was before.\nIt has a door and two windows.\n\n"
    text = tmp_path / "text.txt"
    numbered = "".join(f"{number} {paragraph}" for number in range(400))
    text.write_bytes((numbered + 200 * paragraph).encode() + b"a caf\xe9 in Latin-1\n")
    shown = charlm("doctor", text).stdout
    (suggested,) = (line.split()[1:] for line in shown.splitlines() if line.startswith("suggested"))
    assert {"--deduplicate", "--normalization", "--bad-bytes", "--valid-share"} <= set(suggested)
    outcome = charlm("prepare", text, "--name", "suggested", "--workspace", tmp_path / "workspace", *suggested)
    assert outcome.code == 0, outcome.stderr


def test_doctor_of_nothing_is_one_line(charlm: Charlm, workspace: Path) -> None:
    outcome = charlm("doctor", "nowhere.txt", "--workspace", workspace, "--json")
    assert outcome.code == 2
    assert "nowhere.txt" in outcome.json["error"]
