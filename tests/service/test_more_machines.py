"""Machines that work for the service of another one: what they add, and what is left when they leave or are lost."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from charlm.artifacts import RunFiles
from deployments.machines import online_workers
from deployments.settings import CPU_POOL, GPU_POOL
from tasks.services.rest import Server
from tests.conftest import COMMAND, ROOT, environment, write_sentences
from tests.live_service import ASKING, TRAINING, LiveService, end, journal_events, wait_until
from tests.service.looking import charlm, deployment

pytestmark = [pytest.mark.slow, pytest.mark.service, pytest.mark.timeout(2400)]

LONG = [*TRAINING, "max_characters=1000000000", "max_epochs=none"]
SHORT_SECONDS = 90  # for a start on a machine that does much else; a training in its place takes hours


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    folder = tmp_path_factory.mktemp("head")
    service = LiveService.on_free_ports(folder / "workspace", CHARLM_MACHINE="head")
    try:
        service.up()
        charlm(service, "prepare", write_sentences(folder / "text.txt"), "--name", "tiny")
        yield service
    finally:
        service.down()


class Machine:
    """`charlm worker` with a name of its own and a GPU that nothing computes on."""

    def __init__(self, service: LiveService, folder: Path, name: str) -> None:
        self._log = folder / f"{name}.log"
        self.process = subprocess.Popen(
            [*COMMAND, "worker", "--workspace", str(service.workspace.root), "--name", name],
            cwd=ROOT,
            env=environment() | service.addresses | {"CHARLM_GPUS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=self._log.open("wb"),
            start_new_session=True,
        )
        wait_until(lambda: "works for" in self.said or self.process.poll() is not None, seconds=300, what="join")
        assert self.process.poll() is None, self.said

    @property
    def said(self) -> str:
        return self._log.read_text()


@contextmanager
def joined(service: LiveService, folder: Path, name: str = "node7") -> Iterator[Machine]:
    machine = Machine(service, folder, name)
    try:
        yield machine
    finally:
        if machine.process.poll() is None:
            end(machine.process, seconds=120)


def server_of(service: LiveService) -> Server:
    return Server(service.addresses["PREFECT_API_URL"])


def gpu_slots(service: LiveService) -> int:
    return int(server_of(service).get("/v2/concurrency_limits/gpu")["limit"])


def queue_slots(service: LiveService) -> int:
    return int(server_of(service).get(f"/work_pools/{CPU_POOL}/queues/default")["concurrency_limit"])


def worker_of(service: LiveService, run: object) -> str | None:
    found = server_of(service).get(f"/flow_runs/{run}")["labels"].get("prefect.worker.name")
    return None if found is None else str(found)


def test_a_machine_that_leaves_takes_its_gpus_along_and_its_training_goes_on_elsewhere(service, tmp_path):
    with joined(service, tmp_path) as machine:
        assert sorted(online_workers(server_of(service), CPU_POOL, GPU_POOL)) == [
            "charlm-cpu@head",
            "charlm-cpu@node7",
            "charlm-gpu-0@node7",
        ]
        wait_until(lambda: queue_slots(service) == 6, seconds=60, what="slots of two machines")
        assert gpu_slots(service) == 1
        assert deployment(service, "train-language-model").work_pool_name == GPU_POOL
        run = service.start_run("charlm-train/train-language-model", name="tiny", settings=list(TRAINING))
        files = service.wait_for_checkpoint("tiny")
        assert worker_of(service, run) == "charlm-gpu-0@node7"
        machine.process.send_signal(signal.SIGTERM)
        assert machine.process.wait(timeout=180) == 0, machine.said
        assert "runs that were ended: 1, of which other machines resume 0" in machine.said
        assert "has left" in machine.said
    state = service.state(run)
    assert state.type.value == "CRASHED", state
    assert not service.trainers()
    assert online_workers(server_of(service), CPU_POOL, GPU_POOL) == ["charlm-cpu@head"]
    assert queue_slots(service) == 3
    assert deployment(service, "train-language-model").work_pool_name == CPU_POOL
    again = service.start_run("charlm-train/train-language-model", name="tiny", settings=list(TRAINING))
    assert service.wait_for_end(again).type.value == "COMPLETED"
    assert worker_of(service, again) == "charlm-cpu@head"
    (resumed,) = journal_events(files, "resume")
    assert resumed["characters"] > 0


def test_a_training_of_a_machine_that_leaves_is_resumed_by_another_one(service, tmp_path):
    settings = [*TRAINING, "seed=7"]
    known = set(service.checkpoints("tiny"))
    with joined(service, tmp_path) as one, joined(service, tmp_path, "node8") as other:
        run = service.start_run("charlm-train/train-language-model", name="tiny", settings=settings)
        wait_until(lambda: len(set(service.checkpoints("tiny")) - known) == 2, seconds=600, what="checkpoints")
        taker = str(worker_of(service, run))
        (leaving, staying) = (one, "node8") if taker.endswith("@node7") else (other, "node7")
        leaving.process.send_signal(signal.SIGTERM)
        assert leaving.process.wait(timeout=180) == 0, leaving.said
        assert "runs that were ended: 1, of which other machines resume 1" in leaving.said
        state = service.wait_for_end(run)
        assert state.type.value == "COMPLETED", state
        assert worker_of(service, run) == f"charlm-gpu-0@{staying}"
    begun = set(service.checkpoints("tiny")) - known
    assert len(begun) == 2  # a forward and a backward one; none was begun anew
    assert all(journal_events(RunFiles(path.parent), "resume") for path in begun)


def test_workers_end_with_a_command_that_is_killed_and_the_machine_joins_again(service, tmp_path):
    with joined(service, tmp_path) as machine:
        parts = psutil.Process(machine.process.pid).children(recursive=True)
        assert len(parts) == 2
        machine.process.kill()
        psutil.wait_procs(parts, timeout=60)
        assert not any(part.is_running() for part in parts)
    (tmp_path / "again").mkdir()
    with joined(service, tmp_path / "again") as machine:  # though the server has them as online for a while
        assert "works for" in machine.said
        assert gpu_slots(service) == 1


def test_the_slots_of_a_machine_that_is_lost_are_taken_back_by_the_watcher(service, tmp_path):
    with joined(service, tmp_path) as machine:
        wait_until(lambda: queue_slots(service) == 6, seconds=60, what="slots of two machines")
        for part in [*psutil.Process(machine.process.pid).children(recursive=True), machine.process]:
            part.kill()
        machine.process.wait()
    wait_until(lambda: queue_slots(service) == 3, seconds=240, what="slots of one machine", pause=ASKING)
    assert online_workers(server_of(service), CPU_POOL, GPU_POOL) == ["charlm-cpu@head"]
    service.down()
    service.up()  # and trainings wait no longer for its GPU
    assert deployment(service, "train-language-model").work_pool_name == CPU_POOL


def test_three_long_trainings_make_no_short_run_late(service):
    started = [
        service.start_run(
            "charlm-train/train-language-model", name="tiny", directions=["forward"], settings=[*LONG, f"seed={number}"]
        )
        for number in range(4)
    ]
    running = lambda: [service.state(run).type.value for run in started].count("RUNNING")  # noqa: E731
    wait_until(lambda: running() == 3, seconds=600, what="three trainings", pause=ASKING)
    begin = time.monotonic()
    scan = service.start_run("charlm-scan-inbox/scan-inbox")
    assert service.wait_for_end(scan, seconds=SHORT_SECONDS).type.value == "COMPLETED"
    print(f"the short run took {time.monotonic() - begin:.0f} s")
    assert running() == 3  # the fourth waits
    service.down()  # with their checkpoints
    assert not service.trainers()
