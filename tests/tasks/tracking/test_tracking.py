"""From the journal to a real MLflow on SQLite: everything, once, whatever happens in between."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charlm.artifacts import RunFiles, Workspace
from charlm.errors import RegistryError
from tasks.services.session import use_workspace
from tasks.tracking.client import mlflow_client
from tasks.tracking.runs import create_mlflow_run, find_experiment
from tasks.tracking.scores import SCORE_NAMES
from tasks.tracking.sync import live_tracking, sync_run
from tests.conftest import ROOT, TrainedWorkspace


@pytest.fixture
def workspace(trained_workspace: TrainedWorkspace, tmp_path: Path) -> Iterator[Workspace]:
    """The trained workspace as if MLflow had never heard of its runs."""
    shutil.copytree(trained_workspace.root, tmp_path / "copy", ignore=shutil.ignore_patterns("ml*", "tracking.json"))
    saved = dict(os.environ)
    for name in saved:
        if name.startswith(("MLFLOW_", "PREFECT_")):
            del os.environ[name]
    yield use_workspace(tmp_path / "copy")
    os.environ.clear()
    os.environ.update(saved)


@pytest.fixture
def run(workspace: Workspace) -> RunFiles:
    (path,) = workspace.runs_dir.glob("*forward*")
    return RunFiles(path)


def journal(run: RunFiles) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.journal.read_text().splitlines()]


def write_journal(run: RunFiles, events: list[dict[str, Any]]) -> None:
    run.journal.write_text("".join(json.dumps(event) + "\n" for event in events))


def history(run_id: str, metric: str) -> list[tuple[int, float]]:
    return [(value.step, value.value) for value in mlflow_client().get_metric_history(run_id, metric)]


def expected(run: RunFiles, kind: str, score: str) -> list[tuple[int, float]]:
    return [(event["step"], event[score]) for event in journal(run) if event["event"] == kind]


def check_complete(run: RunFiles, run_id: str) -> None:
    assert history(run_id, "loss") == expected(run, "train", "loss")
    assert history(run_id, "characters_per_second") == expected(run, "train", "characters_per_second")
    assert history(run_id, "valid.bits_per_character") == expected(run, "validation", "bits_per_character")


def test_a_run_in_mlflow_tells_its_whole_story(workspace: Workspace, run: RunFiles) -> None:
    run_id = sync_run(workspace, run.name)
    assert run_id is not None
    check_complete(run, run_id)
    client = mlflow_client()
    info = client.get_run(run_id)
    assert client.get_experiment(info.info.experiment_id).name == "tiny"
    assert info.info.run_name == "demo forward"
    assert info.info.status == "FINISHED"
    assert info.info.end_time is not None
    assert info.data.params["hidden_size"] == "16"
    assert info.data.tags["direction"] == "forward"
    assert {entry.dataset.name for entry in info.inputs.dataset_inputs} == {"tiny revision 1", "tiny dictionary"}
    (test,) = [event["test"] for event in journal(run) if event["event"] == "test"]
    assert {name: info.data.metrics[f"test.{name}"] for name in SCORE_NAMES} == {
        name: test[name] for name in SCORE_NAMES
    }
    files = {file.path for folder in ("", "samples", "dictionary") for file in client.list_artifacts(run_id, folder)}
    assert {"loss.tsv", "training-curve.png", "training.log", "dictionary/characters.tsv"} <= files
    num_validations = len(expected(run, "validation", "loss"))
    assert sum(path.startswith("samples/validation-") for path in files) == num_validations


def test_syncing_again_sends_nothing_twice(workspace: Workspace, run: RunFiles) -> None:
    run_id = sync_run(workspace, run.name)
    assert sync_run(workspace, str(run.root)) == run_id
    assert run_id is not None
    check_complete(run, run_id)


def test_work_that_a_resume_redid_is_sent_once_with_its_first_values(workspace: Workspace, run: RunFiles) -> None:
    events = journal(run)
    half = len(events) // 2
    write_journal(run, events[:half])
    run_id = sync_run(workspace, run.name)
    assert run_id is not None
    redone = [{**event, "time": event["time"] + 100} for event in events[half // 2 :]]
    write_journal(run, events[: half // 2] + redone)
    assert sync_run(workspace, run.name) == run_id
    check_complete(run, run_id)


def test_a_process_that_died_between_sending_and_noting_does_no_harm(workspace: Workspace, run: RunFiles) -> None:
    run_id = sync_run(workspace, run.name)
    assert run_id is not None
    noted = json.loads(run.tracking.read_text())
    run.tracking.write_text(json.dumps({**noted, "last_steps": {}}))
    assert sync_run(workspace, run.name) == run_id
    check_complete(run, run_id)


def test_the_run_above_that_died_ends_when_another_one_goes_on(workspace: Workspace, run: RunFiles) -> None:
    client = mlflow_client()
    experiment = find_experiment(workspace, "tiny")
    older, newer = (create_mlflow_run(experiment, name, parent=None, tags={}) for name in ("older", "newer"))
    for parent in (older, newer):
        with live_tracking(workspace, run, parent=parent):
            pass
    assert client.get_run(older).info.status == "KILLED"
    assert client.get_run(newer).info.status == "RUNNING"


def test_a_run_in_which_nothing_has_happened_is_not_in_mlflow(workspace: Workspace, run: RunFiles) -> None:
    run.journal.unlink()
    assert sync_run(workspace, run.name) is None
    assert not workspace.mlflow_db.is_file()


def test_a_server_that_is_away_neither_fails_nor_slows_the_training_and_a_sync_brings_all(
    workspace: Workspace, run: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    address = os.environ["MLFLOW_TRACKING_URI"]
    os.environ |= {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    started = time.monotonic()
    with live_tracking(workspace, run, parent=None):
        seconds_to_begin = time.monotonic() - started
    assert seconds_to_begin < 0.5
    assert f"charlm sync {run.name}" in capsys.readouterr().err
    with pytest.raises(RegistryError, match="MLflow at http"):
        sync_run(workspace, run.name)
    os.environ["MLFLOW_TRACKING_URI"] = address
    run_id = sync_run(workspace, run.name)
    assert run_id is not None
    check_complete(run, run_id)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_user_without_a_name_as_in_containers_is_told_by_number() -> None:
    program = "import os; from tasks.tracking.client import user_name; os.setuid(54321); print(user_name())"
    result = subprocess.run([sys.executable, "-c", program], env={}, cwd=ROOT, capture_output=True, text=True)
    assert result.stdout == "54321\n", result.stderr
