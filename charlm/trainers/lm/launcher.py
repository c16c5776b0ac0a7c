"""Start the processes that train one model on this machine, and end with their exit code.

The processes report a user's mistake themselves; this one reports which of them was lost. Those of several machines
find each other at the rendezvous: every machine has a launcher, and no launcher needs another one.
"""

import math
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from charlm.artifacts import RunFiles
from charlm.config import NodesConfig
from charlm.config.durations import duration
from charlm.distributed.group import PEER_TIMEOUT_VARIABLE, peer_timeout_minutes
from charlm.distributed.heartbeat import PEER_LOST, PEER_SILENT
from charlm.distributed.joining import join_timeout_minutes
from charlm.distributed.watchdog import PARENT_VARIABLE, end_with_parent
from charlm.errors import ConfigError
from charlm.trainers.lm.manifest import RunManifest

USER_MISTAKE = 2
LAUNCH_PREFIX = "charlm-"
"""How the ids of launches begin, so that a process can tell ours from torch's."""
_INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 15.0  # for the others to end after a process has failed
_SILENT_GRACE_SECONDS = 2.0  # when one of them does not answer, they have had their time


def launch(run: RunFiles, *, resume: bool, nodes: NodesConfig) -> int:
    """Train `run` with this machine's share of its processes; the exit code of `python -m charlm.trainers.run`.

    SIGINT and SIGTERM are passed on: the processes write a checkpoint first. A process that was lost is not restarted.
    """
    peer_timeout_minutes()  # a wrong value is refused once, and not by every process
    join_timeout_minutes()
    manifest = RunManifest.load(run)
    world_size = manifest.config.num_processes
    if world_size % nodes.num_nodes:
        raise ConfigError(
            f"{run.root} is to be trained by num_processes={world_size}, which {nodes.num_nodes} nodes cannot share"
        )
    end_with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
    command = [sys.executable, "-m", "charlm.trainers.run", str(run.manifest), *(["--resume"] if resume else [])]
    workers = [
        subprocess.Popen(command, env={**os.environ, **place}, start_new_session=True)
        for place in _places(nodes, world_size // nodes.num_nodes)
    ]
    with _passing_signals_to(workers):
        codes = _wait(workers)
    return _judge(codes, run, nodes, is_finished=not nodes.is_first or RunManifest.load(run).state == "finished")


def _places(nodes: NodesConfig, local_world_size: int) -> list[dict[str, str]]:
    """What torch reads of each process of this machine from its environment."""
    host, port = nodes.address if nodes.num_nodes > 1 else ("127.0.0.1", _free_port())
    shared = {
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(nodes.num_nodes * local_world_size),
        "LOCAL_WORLD_SIZE": str(local_world_size),
        "TORCHELASTIC_RUN_ID": f"{LAUNCH_PREFIX}{'nodes' if nodes.num_nodes > 1 else uuid.uuid4().hex}",
        "TORCHELASTIC_USE_AGENT_STORE": "False",
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),  # a lost connection is told once
        PARENT_VARIABLE: str(os.getpid()),
    }
    return [
        {**shared, "RANK": str(nodes.node_rank * local_world_size + rank), "LOCAL_RANK": str(rank)}
        for rank in range(local_world_size)
    ]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def _passing_signals_to(workers: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    def pass_on(number: int, frame: FrameType | None) -> None:
        for worker in workers:
            worker.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(workers: list[subprocess.Popen[bytes]]) -> list[int]:
    """The exit codes of all, by rank; when one has failed, those that do not end by themselves are killed."""
    deadline = math.inf
    killed: list[subprocess.Popen[bytes]] = []
    while running := [worker for worker in workers if worker.poll() is None]:
        failed = {worker.returncode for worker in workers} - {None, 0, *_INTERRUPTED}
        if failed:
            grace = _SILENT_GRACE_SECONDS if PEER_SILENT in failed else _GRACE_SECONDS
            deadline = min(deadline, time.monotonic() + grace)
        if time.monotonic() > deadline:
            killed += [worker for worker in running if worker not in killed]
            for worker in running:
                worker.kill()
        time.sleep(_POLL_SECONDS)
    return [PEER_SILENT if worker in killed else _exit_code(worker.returncode) for worker in workers]


def _exit_code(code: int) -> int:
    """The code of a process; a signal that comes before it has learned what to do with it ends it at once."""
    return 128 - code if code in (-signal.SIGINT, -signal.SIGTERM) else code


def _judge(codes: list[int], run: RunFiles, nodes: NodesConfig, *, is_finished: bool) -> int:
    """The exit code of all; a line reports a loss."""
    for code in (USER_MISTAKE, *_INTERRUPTED):
        if code in codes:
            return code
    training = f"the training in {run.root}" if nodes.is_first else "the training"
    lost = {rank: code for rank, code in enumerate(codes) if code not in (0, PEER_LOST, PEER_SILENT)}
    if lost:
        rank, code = next(iter(lost.items()))
        end = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        here = "" if nodes.num_nodes == 1 else f" on node {nodes.node_rank}"
        return _report_loss(f"process {rank + 1} of {len(codes)}{here} of {training} was ended {end}")
    if PEER_SILENT in codes:
        return _report_loss(
            f"a process of {training} has not answered the others for "
            f"{duration(peer_timeout_minutes())} ({PEER_TIMEOUT_VARIABLE})"
        )
    if PEER_LOST in codes:
        return _report_loss(f"the processes of {training} have lost their connection")
    return 0 if is_finished else _report_loss(f"the processes of {training} ended before the training did")


def _report_loss(what: str) -> int:
    print(f"error: {what}; --resume goes on from the last checkpoint", file=sys.stderr)
    return 1
