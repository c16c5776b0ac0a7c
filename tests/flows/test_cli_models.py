"""The command line on trained models: scores, samples, embeddings, exports, and how results are shown."""

import json
import platform
import shutil
from pathlib import Path
from typing import Any

import pytest

from charlm.runtime import load
from flows.cli.training import _show_pair
from tasks.registry.versions import RegisteredVersion
from tasks.training.pair import TrainedPair
from tests.conftest import QUICK, Charlm, TrainedWorkspace, run_charlm
from tests.labelled_data import write_entities

VERSION = RegisteredVersion("a", 1)
SCORES = {"loss", "perplexity", "bits_per_character", "bits_per_byte", "unk_rate"}


# ---- the models ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(trained_workspace: TrainedWorkspace) -> Path:
    """What the model `models:/tiny/1` consists of; a command that is given the folder does without MLflow."""
    (manifest,) = trained_workspace.root.glob("mlartifacts/**/bundle.json")
    return manifest.parent


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
    check_scores(trained["baseline"]["test"])
    assert trained["baseline"]["share"] == 1


@pytest.mark.parametrize(
    ("version", "promoted", "shown"),
    [
        (None, None, "not registered"),
        (VERSION, None, "models:/a/1, a challenger; run the gate with: charlm promote a"),
        (VERSION, True, "models:/a/1, which people use as models:/a@champion"),
        (VERSION, False, "models:/a/1, refused by the gate"),
    ],
)
def test_a_training_ends_with_what_its_version_is_good_for(
    capsys: pytest.CaptureFixture[str], version: RegisteredVersion | None, promoted: bool | None, shown: str
) -> None:
    _show_pair(TrainedPair(runs={}, mlflow_run=None, version=version, promoted=promoted))
    assert capsys.readouterr().out.splitlines()[-1] == f"model     {shown}"


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


def test_generate_continues_to_the_right_and_to_the_left(charlm: Charlm, bundle: Path) -> None:
    line = ("generate", bundle, "--prefix", "set ", "--characters", "20", "--seed", "3", "--json")
    first = charlm(*line).json
    assert first["forward"].startswith("set ")
    assert first["backward"].endswith("set ")
    assert {len(text) for text in first.values()} == {24}
    assert charlm(*line).json == first


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


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have no such limit")
def test_where_the_processor_has_no_bf16_each_command_says_so_in_one_line_and_uses_fp32(
    charlm: Charlm, trained_workspace: TrainedWorkspace, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    (tmp_path / "text.txt").write_text("the set of files\n")
    root = shutil.copytree(trained_workspace.root, tmp_path / "workspace")
    limit = {"ONEDNN_MAX_CPU_ISA": "SSE41"}
    notice = "precision=bf16 is not possible on this cpu"
    vectors = []
    for precision in ("fp32", "bf16"):
        output = tmp_path / f"{precision}.parquet"
        arguments = ("embed", "models:/tiny/1", tmp_path / "text.txt", "--output", output, "--precision", precision)
        embedded = charlm(*arguments, "--workspace", root, **limit)
        assert embedded.code == 0, embedded.stderr
        assert embedded.stderr.count(notice) == (precision == "bf16")
        vectors.append(pq.read_table(output))
    assert vectors[0].equals(vectors[1])
    short = ("--set", "max_characters=8000", "--set", "hidden_size=16", "--set", "precision=bf16")
    trained = charlm("train", "tiny", "--direction", "forward", *short, "--no-register", "--workspace", root, **limit)
    assert trained.code == 0, trained.stderr
    assert trained.stderr.count(notice) == 1
    planned = charlm("plan", "tiny", "--direction", "forward", *short, "--workspace", root, **limit)
    assert "a second in fp32 on cpu,\n" in planned.stdout
    assert ", oneDNN SSE41; kernel torch)" in planned.stdout
    assert planned.stderr.count(notice) == 1


# ---- export --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scores(bundle: Path, trained_workspace: TrainedWorkspace) -> dict[str, Any]:
    """What the registered pair scores on the text that it was trained on."""
    outcome = run_charlm("evaluate", bundle, trained_workspace.text, "--json")
    assert outcome.code == 0, outcome.stderr
    return dict(outcome.json)


def test_an_export_for_flair_is_opened_again_and_scores_the_same(
    charlm: Charlm, bundle: Path, trained_workspace: TrainedWorkspace, scores: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "shared"
    exported = charlm("export", bundle, "--format", "flair", "--card", "--output", output, "--json")
    names = ["README.md", "backward/best-lm.pt", "forward/best-lm.pt"]
    assert exported.json == {"files": [str(output / name) for name in names]}
    assert {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()} == set(names)
    for direction in ("forward", "backward"):
        alone = charlm("evaluate", output / direction / "best-lm.pt", trained_workspace.text, "--json").json
        assert alone == {direction: scores[direction]}


def test_an_exported_bundle_is_the_original(
    charlm: Charlm, bundle: Path, trained_workspace: TrainedWorkspace, scores: dict[str, Any], tmp_path: Path
) -> None:
    place = ("--workspace", trained_workspace.root, "--json")
    outcome = charlm("export", "models:/tiny/1", "--format", "safetensors", "--output", tmp_path / "bundle", *place)
    assert str(tmp_path / "bundle" / "forward" / "model.safetensors") in outcome.json["files"]
    copy = json.loads((tmp_path / "bundle" / "bundle.json").read_text())
    assert copy["fingerprint"] == json.loads((bundle / "bundle.json").read_text())["fingerprint"]
    assert (tmp_path / "bundle" / "dictionary.json").read_bytes() == (bundle / "dictionary.json").read_bytes()
    assert charlm("evaluate", tmp_path / "bundle", trained_workspace.text, *place).json == scores


def test_the_card_names_the_licence_and_the_languages_it_is_given(charlm: Charlm, bundle: Path, tmp_path: Path) -> None:
    arguments = ["--card", "--licence", "cc-by-sa-4.0", "--language", "en", "--language", "sr-latn"]
    outcome = charlm("export", bundle, "--output", tmp_path / "shared", *arguments)
    assert outcome.code == 0, outcome.stderr
    assert "\n\nLicence: CC-BY-SA-4.0\n\nLanguages: en, sr-Latn\n\n" in (tmp_path / "shared" / "README.md").read_text()


def test_an_export_writes_over_nothing(charlm: Charlm, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    outcome = charlm("export", bundle, "--output", tmp_path, "--json")
    assert outcome.code == 2
    assert "already holds something" in outcome.json["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_unknown_format_is_refused(charlm: Charlm, bundle: Path, tmp_path: Path) -> None:
    outcome = charlm("export", bundle, "--format", "gguf", "--output", tmp_path / "x", "--json")
    assert outcome.json["error"] == "--format is flair, safetensors or onnx, got 'gguf'"


def test_an_export_without_torch_names_what_it_loses(
    charlm: Charlm, bundle: Path, trained_workspace: TrainedWorkspace, tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    output = tmp_path / "onnx"
    data = write_entities(tmp_path / "entities")
    place = ("--workspace", trained_workspace.root, "--json")
    outcome = charlm("export", bundle, "--format", "onnx", "--int8", "--probe", data, "--output", output, *place)
    assert outcome.code == 0, outcome.stderr
    names = ["README.md", "backward.onnx", "charlm_runtime.py", "dictionary.json", "forward.onnx", "model.json"]
    assert outcome.json["files"] == [str(output / name) for name in names]
    loss = outcome.json["loss"]
    assert (loss["text"], json.loads((output / "model.json").read_text())["loss"]) == ("valid.txt", loss)
    assert loss["median_cosine"] > 0.99
    assert {0 <= loss[name] <= 1 for name in ("tagger_f1", "exported_tagger_f1")} == {True}
    assert f"| median cosine | {loss['median_cosine']:.6g} |" in (output / "README.md").read_text()
    assert [matrix.shape for matrix in load(output).embed([["a", "set"], []])] == [(2, 32), (0, 32)]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--int8"], "--int8, --held-out and --probe are for --format onnx"),
        (["--format", "onnx", "--held-out", "missing.txt"], "there is no text file 'missing.txt'"),
        (["--format", "onnx", "--int8"], "give a text that the model was not trained on with --held-out TEXT"),
    ],
)
def test_an_export_that_cannot_be_measured_leaves_nothing(
    charlm: Charlm, bundle: Path, options: list[str], line: str, tmp_path: Path
) -> None:
    place = ("--output", tmp_path / "x", "--workspace", tmp_path / "workspace", "--json")
    outcome = charlm("export", bundle, *options, *place)
    assert outcome.code == 2
    assert line in outcome.json["error"]
    assert not (tmp_path / "x").exists()


# ---- results -------------------------------------------------------------------------------------------------------


def test_train_resumed_when_all_is_finished_prints_the_result_and_registers_nothing_new(
    charlm: Charlm, trained_workspace: TrainedWorkspace, tmp_path: Path
) -> None:
    workspace = shutil.copytree(trained_workspace.root, tmp_path / "workspace")  # MLflow is told of the command
    outcome = charlm("train", "tiny", *QUICK, "--resume", "--workspace", workspace, "--json")
    there = json.dumps(trained_workspace.trained).replace(str(trained_workspace.root), str(workspace))
    assert outcome.json == json.loads(there)
    assert "already holds this very model" in outcome.stderr


def test_results_without_json_are_for_people(charlm: Charlm, bundle: Path, trained_workspace: TrainedWorkspace) -> None:
    outcome = charlm("evaluate", bundle, trained_workspace.text)
    assert "bits/character" in outcome.stdout
    with pytest.raises(json.JSONDecodeError):
        json.loads(outcome.stdout)
