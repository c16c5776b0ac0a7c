"""The registry against a real MLflow on SQLite: versions, addresses, aliases, the gate, and a workspace that moves."""

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from charlm.artifacts import BundleFiles, Workspace
from charlm.data import Sentence
from charlm.embeddings import FlairEmbeddings, StackedEmbeddings
from charlm.errors import CharLMError, ConfigError, RegistryError
from charlm.language_models.language_model import LanguageModel, load_language_models
from charlm.serialization.bundle import read_bundle
from tasks.promotion.gate import pass_gate
from tasks.registry.bundles import register_runs
from tasks.registry.descriptions import COLUMN_PADDING, pad_columns
from tasks.registry.download import download_bundle
from tasks.registry.listing import list_models, list_versions
from tasks.registry.tags import read_tags
from tasks.registry.versions import find_version, logged_model_id
from tasks.tracking.client import mlflow_client
from tasks.tracking.runs import group_run
from tasks.training.pair import TrainedPair
from tests.conftest import ROOT, TrainedWorkspace, own_workspace, trained_runs


@pytest.fixture
def workspace(trained_workspace: TrainedWorkspace, tmp_path: Path) -> Iterator[Workspace]:
    """A copy of the trained workspace, elsewhere than where it was made."""
    with own_workspace(trained_workspace, tmp_path / "copy") as workspace:
        yield workspace


def register(workspace: Workspace, *directions: str, name: str = "tiny") -> TrainedPair:
    runs = {direction: run for direction, run in trained_runs(workspace).items() if direction in directions}
    with group_run(workspace, name, "again", tags={}) as run_id:
        version = register_runs(workspace, name, runs, run_id=run_id)
    return TrainedPair(runs=runs, mlflow_run=run_id, version=version)


def test_a_registered_version_says_where_it_comes_from_and_how_good_it_is(workspace: Workspace) -> None:
    version = mlflow_client().get_model_version("tiny", "1")
    runs = trained_runs(workspace)
    for direction, run in runs.items():
        for score in ("bits_per_character", "bits_per_byte", "unk_rate"):
            assert float(version.tags[f"{direction}.{score}"]) == pytest.approx(run.test[score], rel=1e-5)
    assert version.tags["recipe"] == "demo"
    assert version.tags["domains"] == "tiny"
    assert version.tags["corpus.revision"] == "1"
    assert version.tags["parent.version"] == "none"
    assert {len(version.tags[name]) for name in ("corpus.fingerprint", "dictionary.fingerprint")} == {16}
    assert "Character language models of tiny" in version.description
    assert version.description.index("| forward") < version.description.index("## What changed")
    assert version.description.rindex("## ") == version.description.index("## Training")
    assert "models:/tiny@champion" in mlflow_client().get_registered_model("tiny").description


def test_people_see_eight_tags_and_those_that_other_programs_read_of_older_versions(workspace: Workspace) -> None:
    pass_gate(workspace, find_version("models:/tiny/1"))
    tags = mlflow_client().get_model_version("tiny", "1").tags
    scores = {f"{way}.{name}" for way in ("forward", "backward") for name in ("bits_per_character", "bits_per_byte")}
    kept = {"corpus.fingerprint", "dictionary.fingerprint", "forward.unk_rate", "backward.unk_rate", "programs"}
    assert tags.keys() - scores - kept == {
        "bits_per_byte",
        "corpus.revision",
        "domains",
        "gate.decision",
        "gate.reason",
        "parent.version",
        "recipe",
    }


def test_the_page_of_a_logged_model_shows_settings_scores_and_origin(workspace: Workspace) -> None:
    client = mlflow_client()
    version = client.get_model_version("tiny", "1")
    model_id = logged_model_id(find_version("models:/tiny/1"))
    assert model_id is not None
    model = client.get_logged_model(model_id)
    assert (model.params["recipe"], model.params["hidden_size"]) == ("demo", "16")
    assert model.params["directions"] == "forward, backward"
    assert model.tags["dictionary.fingerprint"] == version.tags["dictionary.fingerprint"]
    of_test = {metric.key: metric for metric in model.metrics if metric.dataset_name == "tiny test"}
    for direction, run in trained_runs(workspace).items():
        metric = of_test[f"{direction}.test.bits_per_byte"]
        assert metric.value == pytest.approx(run.test["bits_per_byte"])
        assert metric.dataset_digest == version.tags["corpus.fingerprint"]
        outputs = client.get_run(read_tags(version.tags)[f"{direction}.run_id"]).outputs.model_outputs
        assert [output.model_id for output in outputs] == [model_id]
    inputs = client.get_run(version.run_id).inputs.dataset_inputs
    contexts = {one.dataset.name: one.tags[0].value for one in inputs}
    assert contexts == {"tiny revision 1": "training", "tiny valid": "validation", "tiny test": "testing"}


def test_a_version_that_continues_another_has_it_as_input(workspace: Workspace) -> None:
    client, parent = mlflow_client(), find_version("models:/tiny/1")
    runs = {"forward": trained_runs(workspace)["forward"]}
    with group_run(workspace, "tiny", "again", tags={}) as run_id:
        register_runs(workspace, "tiny", runs, run_id=run_id, parent=parent)
    expected = logged_model_id(parent)
    assert run_id is not None
    assert [model.model_id for model in client.get_run(run_id).inputs.model_inputs] == [expected]


def test_tables_of_a_description_have_room_between_their_columns() -> None:
    table = "a | b\n\n| direction | size |\n| --- | ---: |\n| forward | 43 |\n"
    spaced = f"a | b\n\n| direction{COLUMN_PADDING} | size |\n| --- | ---: |\n| forward{COLUMN_PADDING} | 43 |\n"
    assert pad_columns(table) == spaced


def test_an_identical_bundle_keeps_its_version(workspace: Workspace) -> None:
    version = register(workspace, "forward", "backward").version
    assert version is not None
    assert (version.version, version.is_new) == (1, False)
    assert len(mlflow_client().search_model_versions("name = 'tiny'")) == 1


def test_the_newest_version_is_challenger_and_a_single_direction_never_champion(workspace: Workspace) -> None:
    assert pass_gate(workspace, find_version("models:/tiny/1")).report.promoted
    version = register(workspace, "forward").version
    assert version is not None
    assert version.address == "models:/tiny/2"
    decision = pass_gate(workspace, version).report
    assert not decision.promoted
    assert find_version("models:/tiny@challenger").version == 2
    assert find_version("models:/tiny@champion").version == 1
    tags = mlflow_client().get_model_version("tiny", "2").tags
    assert tags["gate.decision"] == "refused"
    assert tags["gate.reason"] == decision.reason


def test_passing_the_gate_again_changes_nothing(workspace: Workspace) -> None:
    version = find_version("models:/tiny/1")
    assert pass_gate(workspace, version).report.promoted
    tags = mlflow_client().get_model_version("tiny", "1").tags
    assert pass_gate(workspace, version).report.promoted
    assert mlflow_client().get_model_version("tiny", "1").tags == tags


def test_a_copied_workspace_reads_its_own_artifacts(workspace: Workspace, trained_workspace: TrainedWorkspace) -> None:
    bundle = download_bundle("models:/tiny@challenger", workspace)
    assert bundle.is_relative_to(workspace.mlflow_artifacts_dir)
    assert not bundle.is_relative_to(trained_workspace.root)
    states = read_bundle(bundle).states
    assert states.keys() == {"forward", "backward"}
    assert states["forward"].config.hidden_size == 16
    assert BundleFiles(bundle).card.is_file()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("models:/nobody@champion", "there is no registered model 'nobody'"),
        ("models:/tiny@prod", "tiny has no alias 'prod'; it has challenger"),
        ("models:/tiny/9", "tiny has no version 9; it has 1"),
        ("models:/tiny", "write models:/NAME@champion or models:/NAME/3"),
    ],
)
def test_an_address_that_leads_nowhere_says_what_there_is(workspace: Workspace, address: str, expected: str) -> None:
    with pytest.raises(RegistryError, match=expected):
        download_bundle(address, workspace)


def test_a_damaged_bundle_is_refused_with_one_line(workspace: Workspace) -> None:
    bundle = download_bundle("models:/tiny/1", workspace)
    BundleFiles(bundle).model("forward").write_bytes(b"\0" * 100)
    with pytest.raises(CharLMError) as caught:
        read_bundle(download_bundle("models:/tiny/1", workspace))
    assert "model.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_pyfunc_flavour_gives_tokens_and_vectors_in_order(workspace: Workspace) -> None:
    import mlflow

    model = mlflow.pyfunc.load_model("models:/tiny@challenger")
    first, second = model.predict(["I love Berlin", "the set"])
    assert first["tokens"] == ["I", "love", "Berlin"]
    assert [len(vector) for vector in first["embeddings"]] == [32, 32, 32]  # 16 of each direction
    assert second["tokens"] == ["the", "set"]
    assert model.metadata.signature.inputs.to_dict() == [{"type": "string", "required": True}]
    assert model.predict([]) == []


def test_embeddings_and_language_models_open_an_address_of_the_registry(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from charlm.embeddings import FlairEmbeddings
    from charlm.serialization import addresses

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = project["entry-points"][addresses.GROUP]  # an installation from before has no such entry point
    found = [EntryPoint(name, value, addresses.GROUP) for name, value in named.items()]
    monkeypatch.setattr(addresses, "entry_points", lambda group, name: [one for one in found if one.name == name])
    monkeypatch.setenv("CHARLM_WORKSPACE", str(workspace.root))
    embeddings = FlairEmbeddings("models:/tiny/1/backward")
    assert embeddings.name == "models:/tiny/1/backward"
    assert not embeddings.is_forward_lm
    with pytest.raises(CharLMError, match=r"holds both directions; .*FlairEmbeddings\(\"models:/tiny/1/forward\"\)"):
        FlairEmbeddings("models:/tiny/1")
    assert LanguageModel.load_language_model("models:/tiny/1/forward").is_forward_lm
    assert set(load_language_models("models:/tiny/1")) == {"forward", "backward"}
    with pytest.raises(CharLMError, match="models:/tiny/1 holds both directions; name models:/tiny/1/forward or"):
        LanguageModel.load_language_model("models:/tiny/1")


def test_what_is_registered_is_listed_with_champions_and_scores(workspace: Workspace) -> None:
    shutil.copytree(workspace.corpus("tiny").root, workspace.corpus("alone").root)
    register(workspace, "forward", name="alone")
    alone, tiny = list_models()
    assert (alone.model, alone.aliases, alone.versions) == ("models:/alone/1", ["challenger"], 1)
    assert (tiny.model, tiny.domains, tiny.recipe, tiny.kind) == ("models:/tiny/1", "tiny", "demo", "language model")
    tags = mlflow_client().get_model_version("tiny", "1").tags
    scores = [float(tags[f"{direction}.bits_per_byte"]) for direction in ("forward", "backward")]
    assert tiny.bits_per_byte == pytest.approx(sum(scores) / 2)
    mlflow_client().set_registered_model_alias("tiny", "champion", "1")
    register(workspace, "forward", name="tiny")
    assert [version.model for version in list_versions("tiny")] == ["models:/tiny/2", "models:/tiny/1"]
    assert [version.model for version in list_models()][1] == "models:/tiny/1"  # the champion
    with pytest.raises(RegistryError, match="did you mean 'tiny'"):
        list_versions("tinny")


def test_a_model_is_registered_with_an_export_that_answers_without_torch(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    monkeypatch.setenv("CHARLM_RUNTIME", "onnx-int8")
    pair = register(workspace, "forward", "backward")
    assert pair.version is not None
    assert pair.version.is_new  # the same bundle with torch is another version
    version = mlflow_client().get_model_version("tiny", str(pair.version.version))
    assert version.tags["runtime"] == "onnx-int8"
    assert float(version.tags["runtime.median_cosine"]) > 0.99
    artifacts = download_bundle(pair.version.address, workspace).parent
    requirements = (artifacts.parent / "requirements.txt").read_text()
    assert "onnxruntime==" in requirements
    assert "torch==" not in requirements
    program = (
        "import json, sys\nsys.modules['torch'] = None\nfrom types import SimpleNamespace\n"
        "from tasks.registry.pyfunc_onnx_model import ExportedModel\n"
        f"model, artifacts = ExportedModel(), {{'onnx': {str(artifacts / 'onnx')!r}}}\n"
        "model.load_context(SimpleNamespace(artifacts=artifacts))\n"
        "print(json.dumps(model.predict(None, ['I love Berlin', ''], {'pooling': 'mean'})))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert shown.returncode == 0, shown.stderr
    mean, empty = (entry["embedding"] for entry in json.loads(shown.stdout.splitlines()[-1]))
    embeddings = StackedEmbeddings([FlairEmbeddings(artifacts / "bundle" / way) for way in ("forward", "backward")])
    embeddings.embed(sentence := Sentence("I love Berlin"))
    assert mean == pytest.approx(sentence.get_token_embeddings().mean(dim=0).tolist(), abs=0.05)
    assert empty == [0.0] * 32


def test_an_unknown_runtime_is_refused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLM_RUNTIME", "tensorrt")
    with pytest.raises(ConfigError, match="CHARLM_RUNTIME is torch, onnx or onnx-int8, got 'tensorrt'"):
        register(workspace, "forward")
