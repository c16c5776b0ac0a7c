"""The child process that trains one direction: start it and follow its journal."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO

from charlm.artifacts import RunFiles, Workspace
from charlm.config import DEVICE_VARIABLE, ONE_NODE, NodesConfig
from charlm.distributed.watchdog import PARENT_VARIABLE
from charlm.errors import RunError, TrainingInterruptedError
from charlm.trainers.events import TrainEvent
from tasks.services.session import Session
from tasks.services.trainings import Trainings
from tasks.terminal import Bar, clock, terminal
from tasks.tracking.journal import JournalReader

_POLL_SECONDS = 0.5
_USER_MISTAKE = 2
_INTERRUPTED = (130, 143, -signal.SIGINT, -signal.SIGTERM)


class RefusedError(RunError):
    """The trainer rejected the run, for a reason that the user can fix."""


def run_child(
    run: RunFiles,
    bar: Bar,
    on_progress: Callable[[float], None],
    trainings: Trainings,
    stop_flag: threading.Event,
    device: str | None = None,
    nodes: NodesConfig = ONE_NODE,
) -> None:
    """Train `run` in a child process, which `trainings` may stop, and show its journal; raises when it does not finish.

    With `stop_flag` set, it does not begin. `device` is the one to train on where the run leaves it open. On several
    `nodes` it meets those of the others, and shows a journal on the first one only.
    """
    if stop_flag.is_set():
        raise TrainingInterruptedError(f"training was interrupted before {run.name} began")
    command = [sys.executable, "-m", "charlm.trainers.run", str(run.manifest)]
    if run.checkpoint.is_file():
        command.append("--resume")
    if nodes.num_nodes > 1:
        command += ["--num-nodes", str(nodes.num_nodes), "--node-rank", str(nodes.node_rank)]
        command += ["--rendezvous", str(nodes.rendezvous)]
    with tempfile.TemporaryFile() as stderr:
        # In a session of its own a Ctrl-C reaches the child once, through us.
        child = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
            env={**os.environ, PARENT_VARIABLE: str(os.getpid()), **({DEVICE_VARIABLE: device} if device else {})},
        )
        with trainings.child(child, stop_flag):
            try:
                _follow(run, child, bar, on_progress)
            except BaseException:
                child.kill()
                child.wait()
                raise
        if child.returncode != 0:
            raise _failure(run, child.returncode, _last_line(stderr), nodes)


def _follow(run: RunFiles, child: subprocess.Popen[bytes], bar: Bar, on_progress: Callable[[float], None]) -> None:
    journal = JournalReader(run.journal)
    best = ""
    ended = False
    while not ended:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_POLL_SECONDS)
            ended = True
        for event in journal.new_events():
            if event["event"] == "validation":
                if event["best"]:
                    best = f"best {event['bits_per_character']:.3f}"
                bar.quote(event["sample"])
            elif event["event"] == "train":
                bar.update(event["progress"], *_notes(event, best))
                on_progress(event["progress"])
            elif event["event"] == "guard":
                terminal.print_line(f"! {run.name}: {event['reason']}")


def _notes(event: TrainEvent, best: str) -> list[str]:
    """What matters of a training, for people: the time, the scores, the speed."""
    left = f"{clock(event['seconds_left'])} left"
    rate = event["characters_per_second"]
    speed = f"{rate / 1000:,.0f}k char/s" if rate >= 10_000 else f"{rate:,.0f} char/s"
    return [left, f"{event['bits_per_character']:.3f} bits/char", *([best] if best else []), speed]


def _failure(run: RunFiles, code: int, line: str, nodes: NodesConfig) -> RunError:
    if code == _USER_MISTAKE and line:
        return RefusedError(line.removeprefix("error: "))
    if code in _INTERRUPTED:
        place = run.root if nodes.is_first else "node 0"
        return TrainingInterruptedError(f"training was interrupted; {place} holds what it had reached")
    reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    if code == -signal.SIGKILL:
        reason += ", as the system sends it when memory is full"
    if not nodes.is_first:
        line = line.removeprefix("error: ")
        return RunError(f"node {nodes.node_rank} of the training ended with {reason}{': ' if line else ''}{line}")
    return RunError(
        f"the training in {run.root} ended with {reason}{': ' if line else ''}{line}; see {run.training_log}"
    )


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


@contextlib.contextmanager
def gpu_turn(
    workspace: Workspace,
    slot: contextlib.AbstractContextManager[None] | None,
    *,
    needed: int | None = None,
    num_processes: int = 1,
    anywhere: bool = True,
) -> Iterator[str | None]:
    """Hold a GPU of this process, and then `slot`, for the block; yields the name of the device to train on.

    None leaves the choice to the training: without a GPU, where trainings share the CPU, and for several processes,
    each of which has a GPU of its own. `needed` are the bytes that the training plans to need on a GPU. Without
    `anywhere` it has to be this process's own device.
    """
    import torch

    from charlm.nn.device import find_device, is_device_named

    device = find_device()
    if device.type != "cuda":
        yield None
        return
    memory = [torch.cuda.get_device_properties(number).total_memory for number in range(torch.cuda.device_count())]
    only = None if num_processes > 1 or (anywhere and not is_device_named()) else device.index
    with (
        Session.of(workspace).trainings.gpus.hold(memory, needed=needed, count=num_processes, only=only) as numbers,
        slot or contextlib.nullcontext(),
    ):
        yield f"cuda:{numbers[0]}" if num_processes == 1 else None
