"""What fails at night, done on purpose to running servers: nothing is lost, nothing promoted, every run ends truly.

Every test trains a corpus of its own through the deployed worker, breaks something while the training runs, and looks
at the state that the flow run ends in, at the registry, and at what a second run goes on from.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from charlm.artifacts import RunFiles
from charlm.storage.atomic import read_json
from charlm.trainers.lm.manifest import RunManifest
from tests.conftest import COMMAND, ROOT, environment, write_sentences
from tests.live_service import TRAINING, LiveService, journal_events, wait_until
from tests.postgresql import PostgreSQL, postgresql_server

pytestmark = [pytest.mark.slow, pytest.mark.service, pytest.mark.timeout(3600)]


PREFECT_AWAY_SECONDS = 60
MLFLOW_AWAY_SECONDS = 60
DATABASE_AWAY_SECONDS = 30
DISK_MEGABYTES = 200


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    service = LiveService.on_free_ports(tmp_path_factory.mktemp("faults") / "workspace")
    with small_disk(service.workspace.mlflow_artifacts_dir), small_disk(service.workspace.runs_dir):
        try:
            service.up()
            yield service
        finally:
            service.down()


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """For the block, `folder` is a disk of its own where this machine allows it."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(folder)]
    is_mounted = subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """For the block, the disk of `folder` has no room left."""
    if not folder.is_mount():
        pytest.skip("a disk of a few megabytes can only be mounted by root")
    filler = folder / ".filler"
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1_000_000))
        assert shutil.disk_usage(folder).free == 0
        yield
    finally:
        filler.unlink()


@pytest.fixture
def whole_service(service: LiveService) -> LiveService:
    """The service with all its programs, whatever the test before has broken."""
    service.up()
    return service


def start_retraining(service: LiveService, folder: Path, name: str, *, minutes: float | None = None) -> object:
    """A run of the deployment `retrain` on text of its own; with `minutes` it trains as long on every machine."""
    text = folder / f"{name}.txt"
    if not text.exists():
        write_sentences(text, seed=sum(map(ord, name)))
    settings = [*TRAINING, "max_characters=1000000000"] if minutes else list(TRAINING)
    return service.start_run(
        "charlm-retrain/retrain", name=name, raw=[str(text)], settings=settings, limit_minutes=minutes
    )


def assert_champion(service: LiveService, name: str) -> None:
    """Exactly one version was registered, and it passed the gate."""
    assert [int(found.version) for found in service.mlflow().search_model_versions(f"name = '{name}'")] == [1]
    assert service.champion(name) == 1


def assert_nothing_registered(service: LiveService, name: str) -> None:
    assert not service.mlflow().search_model_versions(f"name = '{name}'")


def assert_goes_on(service: LiveService, folder: Path, name: str) -> None:
    """The same request again continues the trainings that were begun, and ends with a champion."""
    begun = {path.parent.name for path in service.checkpoints(name)}
    state = service.wait_for_end(start_retraining(service, folder, name))
    assert state.type.value == "COMPLETED", state.message
    finished = {path.parent.name for path in service.checkpoints(name)}
    assert begun <= finished
    assert len(finished) == 2  # a forward and a backward model; none was begun again
    assert_champion(service, name)


def assert_sent_once(service: LiveService, name: str) -> None:
    """Every loss that the trainings have noted is in MLflow, once."""
    for path in service.checkpoints(name):
        run = RunFiles(path.parent)
        noted = [event["step"] for event in journal_events(run, "train")]
        history = service.mlflow().get_metric_history(read_json(run.tracking)["run_id"], "loss")
        assert sorted(value.step for value in history) == noted


def assert_resumed(files: RunFiles) -> None:
    """The training went on from its last checkpoint, not from its start."""
    (resumed,) = journal_events(files, "resume")
    assert resumed["characters"] > 0


def test_a_training_outlives_a_restart_of_the_prefect_server(whole_service, tmp_path):
    run = start_retraining(whole_service, tmp_path, "prefect-restart")
    whole_service.wait_for_checkpoint("prefect-restart")
    whole_service.stop("prefect")
    time.sleep(PREFECT_AWAY_SECONDS)
    whole_service.up()
    state = whole_service.wait_for_end(run)
    assert state.type.value == "COMPLETED", state.message
    assert_champion(whole_service, "prefect-restart")
    again = whole_service.wait_for_end(start_retraining(whole_service, tmp_path, "prefect-restart"))
    assert again.type.value == "COMPLETED"  # the slot that the first one held is free


def test_a_training_outlives_an_mlflow_server_that_is_away(whole_service, tmp_path):
    run = start_retraining(whole_service, tmp_path, "mlflow-away", minutes=3)
    whole_service.wait_for_checkpoint("mlflow-away")
    whole_service.stop("mlflow")
    time.sleep(MLFLOW_AWAY_SECONDS)
    whole_service.up()
    state = whole_service.wait_for_end(run)
    assert state.type.value == "COMPLETED", state.message
    assert_champion(whole_service, "mlflow-away")
    assert_sent_once(whole_service, "mlflow-away")


def test_a_run_outlives_restarts_of_the_database(tmp_path):
    """One as the run begins, which tells the Prefect server much, and one in the middle of its training."""
    with postgresql_server("faults_prefect", "faults_mlflow") as database:
        service = LiveService.on_free_ports(tmp_path / "workspace", DATABASE=f"{database.address}/faults")
        try:
            service.up()
            run = start_retraining(service, tmp_path, "database-restart", minutes=3)
            wait_until(lambda: service.state(run).type.value == "RUNNING", seconds=300, what="run that begins")
            restart(database)
            service.wait_for_checkpoint("database-restart")
            restart(database)
            state = service.wait_for_end(run)
            assert state.type.value == "COMPLETED", state.message
            assert_champion(service, "database-restart")
            assert_sent_once(service, "database-restart")
            assert all(service.process(name) for name in ("prefect", "mlflow", "charlm-cpu"))
            again = service.wait_for_end(start_retraining(service, tmp_path, "database-restart"))
            assert again.type.value == "COMPLETED"  # the worker takes runs, and the slot is free
        finally:
            service.down()


def restart(database: PostgreSQL) -> None:
    database.stop()
    time.sleep(DATABASE_AWAY_SECONDS)
    database.start()


def test_a_registry_that_is_away_fails_the_run_and_costs_no_training(whole_service, tmp_path):
    run = start_retraining(whole_service, tmp_path, "registry-away")
    whole_service.wait_for_checkpoint("registry-away")
    whole_service.stop("mlflow")
    state = whole_service.wait_for_end(run)
    assert state.type.value == "FAILED"
    assert "no answer" in state.message
    whole_service.up()
    assert_nothing_registered(whole_service, "registry-away")
    assert_goes_on(whole_service, tmp_path, "registry-away")


def test_a_run_goes_on_without_its_worker(whole_service, tmp_path):
    run = start_retraining(whole_service, tmp_path, "worker-killed")
    whole_service.wait_for_checkpoint("worker-killed")
    whole_service.process("charlm-cpu").kill()
    state = whole_service.wait_for_end(run)
    assert state.type.value == "COMPLETED", state.message
    assert_champion(whole_service, "worker-killed")


def test_a_killed_flow_process_is_a_crashed_run_that_can_go_on(whole_service, tmp_path):
    run = start_retraining(whole_service, tmp_path, "flow-killed")
    files = whole_service.wait_for_checkpoint("flow-killed")
    whole_service.flow_process(run).kill()
    state = whole_service.wait_for_end(run)
    assert state.type.value == "CRASHED"
    wait_until(lambda: not whole_service.trainers(), seconds=30, what="end of the trainings")
    assert RunManifest.load(files).state == "interrupted"
    assert_nothing_registered(whole_service, "flow-killed")
    assert_goes_on(whole_service, tmp_path, "flow-killed")
    assert_resumed(files)


def test_a_run_that_lost_its_worker_and_its_process_is_marked_as_crashed(whole_service, tmp_path):
    run = start_retraining(whole_service, tmp_path, "both-killed")
    files = whole_service.wait_for_checkpoint("both-killed")
    flow, worker = whole_service.flow_process(run), whole_service.process("charlm-cpu")
    worker.kill()
    flow.kill()
    whole_service.up()
    state = whole_service.wait_for_end(run)
    assert state.type.value == "CRASHED"
    assert "heartbeat" in state.message
    assert_nothing_registered(whole_service, "both-killed")
    assert_goes_on(whole_service, tmp_path, "both-killed")
    assert_resumed(files)


def test_a_full_disk_under_the_artifacts_fails_the_run_and_costs_no_training(whole_service, tmp_path):
    with full_disk(whole_service.workspace.mlflow_artifacts_dir):
        run = start_retraining(whole_service, tmp_path, "artifacts-full")
        state = whole_service.wait_for_end(run)
        assert state.type.value == "FAILED"
    assert_nothing_registered(whole_service, "artifacts-full")
    assert_goes_on(whole_service, tmp_path, "artifacts-full")


def test_a_full_disk_under_the_runs_fails_the_run_and_it_can_go_on(whole_service, tmp_path):
    run = start_retraining(whole_service, tmp_path, "runs-full")
    files = whole_service.wait_for_checkpoint("runs-full")
    with full_disk(whole_service.workspace.runs_dir):
        state = whole_service.wait_for_end(run)
        assert state.type.value == "FAILED"
        assert "No space left" in state.message
    assert_nothing_registered(whole_service, "runs-full")
    assert_goes_on(whole_service, tmp_path, "runs-full")
    assert_resumed(files)


def test_a_backup_of_a_busy_service_goes_on_elsewhere(whole_service, tmp_path):
    """Saved in the middle of a training, lost with the machine, brought back on other ports."""
    run = start_retraining(whole_service, tmp_path, "backed-up")
    files = whole_service.wait_for_checkpoint("backed-up")
    backup("backup", tmp_path / "backup", whole_service)
    whole_service.down()
    elsewhere = LiveService.on_free_ports(tmp_path / "elsewhere")
    backup("restore", tmp_path / "backup", elsewhere)
    try:
        elsewhere.up()
        state = elsewhere.wait_for_end(run)  # the copy still believes that it runs
        assert state.type.value == "CRASHED"
        assert_goes_on(elsewhere, tmp_path, "backed-up")
        assert_resumed(elsewhere.workspace.run(files.name))
    finally:
        elsewhere.down()


def backup(command: str, folder: Path, service: LiveService) -> None:
    outcome = subprocess.run(
        [*COMMAND, command, str(folder)],
        cwd=ROOT,
        env=environment() | service.environment,
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stderr
