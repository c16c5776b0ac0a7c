"""Taggers and classifiers on registered language models: trained, tracked, registered with their origin, and used."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from charlm.artifacts import DownstreamRunFiles, Workspace
from charlm.config import DownstreamConfig
from charlm.errors import CharLMError, ConfigError, DatasetError, ModelFileError, TrainingInterruptedError
from charlm.models import DownstreamModel
from charlm.nn import Classifier
from charlm.storage.atomic import read_json
from charlm.tokenization import TokenizerIdentity
from tasks.downstream.prediction import judge_labels, label_text
from tasks.downstream.training import DownstreamRequest, TrainedDownstreamModel, train_downstream
from tasks.registry.descriptions import COLUMN_PADDING
from tasks.registry.versions import find_version, logged_model_id
from tasks.tracking.client import mlflow_client
from tests.conftest import Charlm, TrainedWorkspace, own_workspace, run_program
from tests.labelled_data import write_entities, write_questions, write_vectors

pytestmark = pytest.mark.service

QUICK = DownstreamConfig(
    hidden_size=16, optimizer="adamw", learning_rate=0.02, mini_batch_size=8, max_epochs=8, precision="fp32"
)


@pytest.fixture(scope="module")
def workspace(trained_workspace: TrainedWorkspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("downstream")
    with own_workspace(trained_workspace, folder / "workspace") as workspace, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHARLM_CACHE", str(folder / "cache"))
        write_vectors(folder / "cache" / "glove.txt")
        write_questions(folder / "cache" / "datasets" / "trec_6")
        yield workspace


@pytest.fixture(scope="module")
def entities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_entities(tmp_path_factory.mktemp("entities"))


def tagger_request(entities: Path, **changes) -> DownstreamRequest:
    return DownstreamRequest(
        **{
            "task": "tagger",
            "name": "places",
            "data": (str(entities),),
            "models": ("models:/tiny@challenger",),
            "label_type": "ner",
            "config": QUICK,
        }
        | changes
    )


@pytest.fixture(scope="module")
def tagger(workspace: Workspace, entities: Path) -> TrainedDownstreamModel:
    return train_downstream(workspace, tagger_request(entities, vectors=("glove",)))


def test_a_tagger_is_opened_by_its_address(
    tagger: TrainedDownstreamModel, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CHARLM_WORKSPACE", str(workspace.root))
    opened = Classifier.load("models:/places/1")
    assert opened.label_dictionary == DownstreamModel.load(tagger.files.model).label_dictionary
    with pytest.raises(CharLMError, match="models:/tiny/1 holds a language model, not"):
        Classifier.load("models:/tiny/1")


def test_a_tagger_is_registered_with_the_version_of_its_language_model(
    tagger: TrainedDownstreamModel,
):
    assert tagger.version is not None
    assert tagger.language_models == ["models:/tiny/1"]
    assert DownstreamModel.load(tagger.files.model).tokenizer == TokenizerIdentity("rules", "2")
    assert tagger.test is not None
    assert tagger.test["micro_f1"] > 0.8
    version = mlflow_client().get_model_version("places", "1")
    assert version.tags["language_models"] == "models:/tiny/1"
    assert version.tags["charlm.task"] == "tagger"
    assert version.tags["label_type"] == "ner"
    assert float(version.tags["test.micro_f1"]) == pytest.approx(tagger.test["micro_f1"], abs=1e-5)
    assert version.description.startswith(f"Micro F1 {tagger.test['micro_f1']:.4f} on test: a tagger")
    assert "[models:/tiny/1](#/models/tiny/versions/1)" in version.description
    assert f"| location{COLUMN_PADDING} |" in version.description
    assert mlflow_client().get_model_version_by_alias("places", "newest").version == 1
    page = tagger.files.report.read_text(encoding="utf-8")
    assert page.index("Scores on test data") < page.index("Confusions") < page.index("Hardest sentences")
    assert f"{tagger.test['micro_f1']:.4f}" in page
    model_id = logged_model_id(find_version("models:/places/1"))
    assert "report.html" in {file.path for file in mlflow_client().list_logged_model_artifacts(model_id)}


def test_the_training_stands_in_mlflow_with_an_epoch_a_point_and_its_pictures(tagger: TrainedDownstreamModel):
    client = mlflow_client()
    run = client.get_run(client.get_model_version("places", "1").run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["hidden_size"] == "16"
    assert run.data.params["language_models"] == "['models:/tiny/1']"
    assert [point.step for point in client.get_metric_history(run.info.run_id, "dev.micro_f1")] == list(range(1, 9))
    assert run.data.metrics["final.test.micro_f1"] == pytest.approx(tagger.test["micro_f1"])
    datasets = {one.tags[0].value: one.dataset for one in run.inputs.dataset_inputs}
    assert datasets.keys() == {"training", "validation", "testing"}
    dataset = datasets["training"]
    model_id = logged_model_id(find_version("models:/places/1"))
    assert model_id is not None
    of_test = {metric.key: metric for metric in client.get_logged_model(model_id).metrics}
    assert of_test["test.micro_f1"].value == pytest.approx(tagger.test["micro_f1"])
    assert of_test["test.micro_f1"].dataset_name == datasets["testing"].name
    used = logged_model_id(find_version("models:/tiny/1"))
    assert [model.model_id for model in run.inputs.model_inputs] == [used]
    assert json.loads(dataset.profile) == {"train": 60, "dev": 10, "test": 10}
    logged = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    pictures = {"training.png", "weights.png", "confusion-matrix.png"}
    assert pictures | {"loss.tsv", "labels.txt", "test.tsv", "task.json", "training.log"} <= logged
    assert pictures <= {path.name for path in tagger.run_dir.iterdir()}
    assert not tagger.files.checkpoint.exists()


def test_the_same_question_finds_its_answer_and_makes_no_second_version(
    workspace: Workspace, entities: Path, tagger: TrainedDownstreamModel
):
    model = tagger.files.model.read_bytes()
    again = train_downstream(workspace, tagger_request(entities, vectors=("glove",)), resume=True)
    assert again.version is not None
    assert again.version.version == 1
    assert (again.run_dir, again.test) == (tagger.run_dir, tagger.test)
    assert tagger.files.model.read_bytes() == model


def test_a_training_that_was_stopped_is_resumed_to_the_same_model(workspace: Workspace, entities: Path, monkeypatch):
    request = tagger_request(entities, name="stopped")
    whole = train_downstream(workspace, request, register=False)
    expected = whole.files.model.read_bytes()
    shutil.rmtree(whole.run_dir)

    from charlm.trainers.downstream.engine import DownstreamEngine

    train_epoch, epochs = DownstreamEngine._train_epoch, []

    def stop_in_the_second(run) -> None:
        epochs.append(1)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        train_epoch(run)

    monkeypatch.setattr(DownstreamEngine, "_train_epoch", stop_in_the_second)
    with pytest.raises(TrainingInterruptedError):
        train_downstream(workspace, request, register=False)
    monkeypatch.setattr(DownstreamEngine, "_train_epoch", train_epoch)
    resumed = train_downstream(workspace, request, resume=True, register=False)
    assert resumed.run_dir == whole.run_dir
    assert resumed.files.model.read_bytes() == expected


def test_a_classifier_of_a_prepared_corpus_is_trained_and_served(workspace: Workspace, tmp_path: Path):
    request = DownstreamRequest(
        task="classifier", name="questions", data=("TREC_6",), models=("models:/tiny/1",), config=QUICK
    )
    trained = train_downstream(workspace, request)
    assert trained.label_type == "question_class"
    import mlflow

    served = mlflow.pyfunc.load_model("models:/questions@newest")
    (answer,) = served.predict(["Who built the tower ?"])
    assert answer["tokens"] == ["Who", "built", "the", "tower", "?"]
    assert [label["value"] for label in answer["labels"]] == ["HUM"]
    assert answer["labels"][0]["end"] == len("Who built the tower ?")


def test_texts_are_labelled_line_by_line(workspace: Workspace, tagger: TrainedDownstreamModel, tmp_path: Path):
    (tmp_path / "text.txt").write_text("I visit Berlin .\n\nthey love Anna\n")
    labelled = label_text(workspace, "models:/places@newest", str(tmp_path / "text.txt"))
    assert [[(one["text"], one["value"]) for one in line["labels"]] for line in labelled.predictions] == [
        [("Berlin", "location")],
        [("Anna", "person")],
    ]
    for model in (tagger.run_dir.name, str(tagger.run_dir), str(tagger.files.model)):
        written = label_text(workspace, model, str(tmp_path / "text.txt"), output=tmp_path / "out" / "labels.jsonl")
        assert written.output is not None
        assert [json.loads(line) for line in written.output.read_text().splitlines()] == labelled.predictions


def test_a_model_is_judged_on_labelled_data_and_an_unknown_label_is_told_with_its_line(
    workspace: Workspace, entities: Path, tagger: TrainedDownstreamModel, tmp_path: Path
):
    judged = judge_labels(workspace, "models:/places/1", str(entities / "test.tsv"), output=tmp_path / "test.tsv")
    assert judged.scores == tagger.test
    assert (tmp_path / "test.tsv").read_text().splitlines()[0].count("\t") == 3
    (tmp_path / "other.tsv").write_text("Anna\tB-person\nrivers\tB-water\n")
    with pytest.raises(DatasetError, match=r"other\.tsv, line 2: the label 'water' is unknown; .* location, person"):
        judge_labels(workspace, "models:/places/1", str(tmp_path / "other.tsv"))


def test_what_makes_no_sense_is_refused_before_any_training(workspace: Workspace, entities: Path):
    with pytest.raises(ConfigError, match="needs embeddings: name a language model, or word vectors"):
        tagger_request(entities, models=())
    with pytest.raises(ConfigError, match="'tiny' is the name of a registered language model"):
        train_downstream(workspace, tagger_request(entities, name="tiny"))
    with pytest.raises(ModelFileError, match="models:/tiny/1 is no tagger or classifier"):
        label_text(workspace, "models:/tiny/1", str(entities / "test.tsv"))
    with pytest.raises(ModelFileError, match="there is no tagger or classifier 'nowhere'"):
        label_text(workspace, "nowhere", str(entities / "test.tsv"))


def test_commands_train_and_predict(charlm: Charlm, workspace: Workspace, entities: Path, tmp_path: Path):
    place = {"CHARLM_CACHE": str(tmp_path), "CHARLM_WORKSPACE": str(workspace.root)}
    quick = ["--set", "hidden_size=8", "--set", "max_epochs=1", "--label", "ner"]
    trained = charlm(
        "tag-train", entities, "--name", "cli", "--model", "models:/tiny@challenger", *quick, "--json", **place
    )
    assert trained.code == 0, trained.stderr
    assert trained.json["model"] == "models:/cli/1"
    assert trained.json["language_models"] == ["models:/tiny/1"]
    assert Path(trained.json["file"]).is_file()
    (tmp_path / "text.txt").write_text("I visit Berlin .\n")
    predicted = charlm("predict", "models:/cli@newest", tmp_path / "text.txt", "--json", **place)
    assert predicted.code == 0, predicted.stderr
    assert predicted.json["sentences"] == 1
    assert predicted.json["predictions"][0]["text"] == "I visit Berlin ."


PROGRAM = """
import json, sys
from pathlib import Path
from tasks.services.session import start_prefect, use_workspace
workspace, data = sys.argv[1:]
use_workspace(workspace)
start_prefect()
from flows.downstream import train_downstream
settings = ["hidden_size=8", "max_epochs=1"]
trained = train_downstream(
    "by-flow", "tagger", [data], ["models:/tiny@challenger"],
    encoding="utf-16", header=True, settings=settings, workspace=Path(workspace),
)
print(json.dumps(trained.to_json()))
"""


def test_the_flow_trains_and_registers(workspace: Workspace, entities: Path, server: dict[str, str], tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    for path in entities.iterdir():
        (data / path.name).write_bytes(f"Wort\tKlasse\n{path.read_text()}".encode("utf-16"))
    result = run_program(PROGRAM, workspace.root, data, CHARLM_CACHE=str(tmp_path), **server)
    assert result.code == 0, result.stderr
    trained = json.loads(result.stdout.splitlines()[-1])
    assert trained["model"] == "models:/by-flow/1"
    summary = read_json(DownstreamRunFiles(Path(trained["run_dir"])).data_summary)
    assert [summary["splits"][name]["sentences"] for name in ("train", "dev", "test")] == [60, 10, 10]
    assert sorted(summary["splits"]["train"]["labels"]) == ["location", "person"]
    assert "Wort" not in " ".join(summary["splits"]["train"]["examples"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["tag-train", "NOWHERE", "--name", "x", "--model", "x.pt"], "there is no folder 'NOWHERE' with labelled data"),
        (["tag-train", "tests", "--name", "a/b", "--model", "x.pt"], "a corpus name is"),
        (["classify-train", "TREC_6", "--name", "x"], "needs embeddings"),
        (["tag-train", "x", "--name", "x", "--model", "x", "--set", "size=3"], "there is no field 'size' to set"),
        (["predict", "nowhere.pt", "README.md"], "there is no tagger or classifier 'nowhere.pt'"),
        (["predict", "nowhere.pt", "nowhere.txt"], "there is no text file 'nowhere.txt' to label"),
        (["run", "README.md", "--name", "x", "--probe", "NOWHERE"], "there is no folder 'NOWHERE' with labelled data"),
    ],
)
def test_mistakes_get_one_line(charlm: Charlm, arguments: list[str], line: str, tmp_path: Path):
    outcome = charlm(*arguments, "--json", CHARLM_WORKSPACE=str(tmp_path / "workspace"))
    assert outcome.code == 2
    assert line in outcome.json["error"]
    assert len(outcome.stderr.splitlines()) == 1
