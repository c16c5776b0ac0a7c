"""The MLflow run above a pair shows its results; what is reused adds no run."""

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest

from charlm.artifacts import Workspace
from charlm.trainers.lm.manifest import RunManifest
from tasks.registry.versions import find_version
from tasks.tracking.client import mlflow_client
from tasks.training.pair import TrainedPair, train_pair
from tasks.training.parent_runs import pair_requests, pipeline_run
from tests.conftest import TrainedWorkspace, own_workspace, trained_runs


@pytest.fixture
def workspace(trained_workspace: TrainedWorkspace, tmp_path: Path) -> Iterator[Workspace]:
    with own_workspace(trained_workspace, tmp_path / "copy") as workspace:
        yield workspace


def train_again(workspace: Workspace) -> TrainedPair:
    training = RunManifest.load(trained_runs(workspace)["forward"].files).config.training
    return train_pair(workspace, "tiny", ["forward", "backward"], training, reuse=True, resume=True, register=True)


def number_of_runs() -> int:
    client = mlflow_client()
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    return len(client.search_runs([experiment.experiment_id]))


def test_the_run_above_a_pair_has_its_mean_scores_its_text_and_the_curves(workspace: Workspace) -> None:
    client = mlflow_client()
    run_id = client.get_model_version("tiny", "1").run_id
    above, runs = client.get_run(run_id), trained_runs(workspace)
    for split in ("valid", "test"):
        expected = fmean(getattr(run, split)["bits_per_byte"] for run in runs.values())
        assert above.data.metrics[f"{split}.bits_per_byte"] == pytest.approx(expected)
    speeds = [run.characters_per_second for run in runs.values()]
    assert above.data.metrics["characters_per_second"] == pytest.approx(fmean(speeds))
    assert "tiny revision 1" in {one.dataset.name for one in above.inputs.dataset_inputs}
    for direction, run in runs.items():
        curve = client.get_metric_history(run_id, f"{direction}.valid.bits_per_byte")
        assert len(curve) > 1
        last = max(curve, key=lambda point: point.step)
        assert last.value == pytest.approx(run.valid["bits_per_byte"])


def test_the_logged_model_has_the_name_of_its_corpus_and_directions(workspace: Workspace) -> None:
    client = mlflow_client()
    model_id = client.get_model_version("tiny", "1").source.removeprefix("models:/")
    model = client.get_logged_model(model_id)
    assert model.name == "tiny-forward-backward"
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "tiny", "version": "1"}]  # what its page links


def test_a_pair_that_is_reused_adds_no_run_and_no_values(workspace: Workspace) -> None:
    client, before = mlflow_client(), number_of_runs()
    run_id = client.get_model_version("tiny", "1").run_id
    pair = train_again(workspace)
    assert all(run.reused for run in pair.runs.values())
    assert pair.version == find_version("models:/tiny/1")
    assert pair.mlflow_run == run_id
    assert number_of_runs() == before
    assert len(client.get_metric_history(run_id, "test.bits_per_byte")) == 1


def test_a_reused_pair_whose_run_is_deleted_in_mlflow_gets_a_new_one(workspace: Workspace) -> None:
    client = mlflow_client()
    run_id = client.get_model_version("tiny", "1").run_id
    client.delete_run(run_id)
    pair = train_again(workspace)
    assert pair.mlflow_run not in (None, run_id)
    assert "test.bits_per_byte" in client.get_run(pair.mlflow_run).data.metrics


def test_a_pipeline_of_reused_pairs_adds_no_run_once_it_has_one(workspace: Workspace) -> None:
    client = mlflow_client()
    pair_run_id = client.get_model_version("tiny", "1").run_id
    training = RunManifest.load(trained_runs(workspace)["forward"].files).config.training
    wanted = [pair_requests("tiny", ["forward", "backward"], training, reuse=True, resume=True)]
    with pipeline_run(workspace, "tiny", wanted, tags={}) as first:
        assert not first.is_known  # the pair has no run above it
        client.set_tag(pair_run_id, "mlflow.parentRunId", first.run_id)
    with pipeline_run(workspace, "tiny", wanted, tags={}) as again:
        assert again.is_known
        assert again.run_id == first.run_id
