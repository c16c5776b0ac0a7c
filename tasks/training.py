"""Train language models: find or make the run, train it in a process of its own, and follow its journal.

Reads  corpora/NAME/              (a prepared corpus)
Writes runs/RUN/                  (through the child process `python -m charlm.trainers.run`)

Training runs in a child so that ending it really frees its memory, and so that nothing of ours can slow it.
"""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from charlm.artifacts import RunFiles, Workspace
from charlm.config import RunConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import RunError, TrainingInterruptedError
from charlm.trainers.manifest import RunManifest, create_run, find_runs, new_run_name, plan_run
from charlm.trainers.parent import PARENT_VARIABLE
from tasks.display import Bar, terminal
from tasks.journal import Event, JournalReader
from tasks.tracking import live_tracking

_POLL_SECONDS = 0.5
_USER_MISTAKE = 2
_INTERRUPTED = (130, 143, -signal.SIGINT, -signal.SIGTERM)


class _RefusedError(RunError):
    """The trainer did not take the run, for something that the user can mend."""


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """What to train, and what may be taken over from earlier runs."""

    corpus: str
    direction: str
    training: TrainingConfig
    initial_model: Path | None = None
    """Model file to continue from; the run keeps a copy of it."""

    known_revision: int | None = None
    """Revision of the corpus that it has been trained on already, where it is of the same corpus."""

    reuse: bool = False
    """Take a finished run of the same text, dictionary and settings instead of training again."""

    resume: bool = False
    """Continue the newest unfinished run of the same text, dictionary and settings."""

    num_threads: int = 0
    num_processes: int = 1


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A finished run and its scores."""

    direction: str
    run_dir: Path
    recipe: str
    valid: dict[str, float]
    test: dict[str, float]
    characters_per_second: float
    reused: bool = False
    """True when it was finished before."""

    @classmethod
    def load(cls, run: RunFiles, *, reused: bool) -> "TrainedRun":
        manifest = RunManifest.load(run)
        result = manifest.result
        return cls(
            direction=manifest.config.direction,
            run_dir=run.root,
            recipe=manifest.config.training.recipe,
            valid=result["valid"],
            test=result["test"],
            characters_per_second=result["characters_per_second"],
            reused=reused,
        )

    @property
    def files(self) -> RunFiles:
        return RunFiles(self.run_dir)

    def to_json(self) -> dict[str, Any]:
        return {
            "run_dir": str(self.run_dir),
            "best_lm": str(self.files.best_lm),
            "valid": self.valid,
            "test": self.test,
            "characters_per_second": self.characters_per_second,
        }


def train_directions(
    workspace: Workspace, requests: Sequence[TrainingRequest], *, parent: str | None
) -> dict[str, TrainedRun]:
    """Train all directions at once (one after the other on one GPU); `parent` is the MLflow run above them."""
    with ThreadPoolExecutor(len(requests)) as pool:
        futures = [pool.submit(train_direction, workspace, request, parent=parent) for request in requests]
    return {future.result().direction: future.result() for future in futures}


def scores_of(runs: Mapping[str, TrainedRun]) -> dict[str, dict[str, dict[str, float]]]:
    """The scores of runs by direction and split."""
    return {direction: {"valid": run.valid, "test": run.test} for direction, run in runs.items()}


def threads_for(num_directions: int) -> int:
    """CPU threads of each of the trainings that run at the same time; OMP_NUM_THREADS bounds them, as everywhere."""
    share = max(1, len(os.sched_getaffinity(0)) // num_directions)
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(limit)) if limit.isdecimal() and int(limit) else share


def train_direction(
    workspace: Workspace,
    request: TrainingRequest,
    *,
    parent: str | None,
    on_progress: Callable[[float], None] | None = None,
    gpu_slot: contextlib.AbstractContextManager[None] | None = None,
) -> TrainedRun:
    """The finished run that `request` asks for: an earlier one, a continued one, or a new one.

    `parent` is the MLflow run above it; `on_progress` is told the share that is done; `gpu_slot` is held while it
    trains, where several processes share GPUs.
    Raises TrainingInterruptedError when the user ends it, and RunError with the reason when it fails.
    """
    title = f"train {request.training.recipe} {request.direction}"
    run, reusable = _find_or_create(workspace, request, title)
    if reusable:
        terminal.say(f"= {title}: reused {run.name}, which is finished")
        with live_tracking(workspace, run, parent=parent):  # sends what an earlier outage has left behind
            pass
        return TrainedRun.load(run, reused=True)
    try:
        with gpu_turn(gpu_slot), live_tracking(workspace, run, parent=parent), terminal.step(title) as bar:
            _run_child(run, bar, on_progress or (lambda share: None))
            trained = TrainedRun.load(run, reused=False)
            bar.finish(f"{trained.test['bits_per_character']:.3f} bits per character on test")
    except _RefusedError:
        if not run.checkpoint.is_file():  # it never began: leave nothing half-made
            shutil.rmtree(run.root)
        raise
    if _stopping.is_set():  # too late for this training, but not for what would follow it
        raise TrainingInterruptedError(f"training was interrupted when {run.name} had just finished")
    return trained


def _find_or_create(workspace: Workspace, request: TrainingRequest, title: str) -> tuple[RunFiles, bool]:
    """The run folder to train in, and whether it needs no training at all."""
    corpus = workspace.prepared_corpus(request.corpus)
    initial = request.initial_model
    dictionary = Dictionary.load_from_file(corpus.dictionary) if initial is None else _dictionary_of(initial)
    name = new_run_name(request.corpus, request.direction, request.training.recipe)
    config = RunConfig(
        run_dir=str(workspace.run(name).root),
        corpus_dir=str(corpus.root),
        direction=request.direction,  # type: ignore[arg-type]  # RunConfig checks it
        training=request.training,
        initial_model=None if initial is None else str(initial.absolute()),
        known_revision=request.known_revision,
        num_threads=request.num_threads,
        num_processes=request.num_processes,
    )
    if request.reuse or request.resume:
        runs = find_runs(workspace, plan_run(config, dictionary).fingerprint)
        for run in runs:
            if RunManifest.load(run).state == "finished":
                return run, True
        if request.resume:
            for run in runs:
                if run.checkpoint.is_file():
                    _check_processes(run, request.num_processes)
                    terminal.say(f"= {title}: continuing {run.name}")
                    return run, False
            terminal.say(f"= {title}: nothing to resume, starting anew")
    if initial is not None:  # the run must be able to go on when the original is gone
        kept = workspace.run(name).initial_lm
        kept.parent.mkdir(parents=True)
        shutil.copyfile(initial, kept)
        config = dataclasses.replace(config, initial_model=str(kept))
    return create_run(config, dictionary), False


def _check_processes(run: RunFiles, num_processes: int) -> None:
    began_with = RunManifest.load(run).config.num_processes
    if began_with != num_processes:
        raise RunError(
            f"{run.root} was begun with --num-processes {began_with}, not {num_processes}: its weights would differ; "
            f"resume it with {began_with}, or train anew without --resume"
        )


def _dictionary_of(model: Path) -> Dictionary:
    from charlm.serialization import read_flair_file

    return read_flair_file(model).dictionary


# ---- the child -----------------------------------------------------------------------------------------------------

_children: set[subprocess.Popen[bytes]] = set()
_stopping = threading.Event()
_gpu = threading.Lock()


@contextlib.contextmanager
def stopping_gently() -> Iterator[None]:
    """For the block, let the first Ctrl-C (or SIGTERM) end the training with a checkpoint, and the second end all.

    Only in the main thread; elsewhere the signals keep their meaning.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: Any) -> None:
        is_second = _stopping.is_set()
        _stopping.set()  # before looking for trainings: one that ends meanwhile looks for this
        if is_second or not _children:
            raise KeyboardInterrupt
        _stop_children()

    old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        _stopping.clear()


@contextlib.contextmanager
def ending_with_checkpoints() -> Iterator[None]:
    """For the block, in which trainings run in other threads: what ends it from outside ends them with a checkpoint.

    Prefect cancels a flow by an exception in its main thread, which the threads of its tasks know nothing of.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException:
        _stop_children()
        raise


def _stop_children() -> None:
    _stopping.set()
    if _children:
        terminal.say("stopping: a checkpoint is being written …")
    for child in list(_children):
        child.send_signal(signal.SIGINT)


def _run_child(run: RunFiles, bar: Bar, on_progress: Callable[[float], None]) -> None:
    """Train `run` in a child process and show its journal; raises when it does not finish."""
    if _stopping.is_set():
        raise TrainingInterruptedError(f"training was interrupted before {run.name} began")
    command = [sys.executable, "-m", "charlm.trainers.run", str(run.manifest)]
    if run.checkpoint.is_file():
        command.append("--resume")
    with tempfile.TemporaryFile() as stderr:
        # In a session of its own a Ctrl-C reaches the child once, through us.
        child = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
            env={**os.environ, PARENT_VARIABLE: str(os.getpid())},
        )
        _children.add(child)
        try:
            _follow(run, child, bar, on_progress)
        except BaseException:
            child.kill()
            child.wait()
            raise
        finally:
            _children.discard(child)
        if child.returncode != 0:
            raise _failure(run, child.returncode, _last_line(stderr))


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
                    best = f", best valid {event['bits_per_character']:.3f}"
                bar.quote(event["sample"])
            elif event["event"] == "train":
                bar.update(event["progress"], _train_note(event) + best)
                on_progress(event["progress"])
            elif event["event"] == "guard":
                terminal.say(f"! {run.name}: {event['reason']}")


def _train_note(event: Event) -> str:
    left = event["seconds_left"]
    speed = f"{event['characters_per_second'] / 1000:,.0f}k char/s"
    return f"{event['bits_per_character']:.3f} bits/char, {speed}, rate {event['learning_rate']:.1e}" + (
        f", {left / 60:.1f} min left" if left is not None else ""
    )


def _failure(run: RunFiles, code: int, line: str) -> RunError:
    if code == _USER_MISTAKE and line:
        return _RefusedError(line.removeprefix("error: "))
    if code in _INTERRUPTED:
        return TrainingInterruptedError(f"training was interrupted; {run.root} holds what it had reached")
    reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return RunError(
        f"the training in {run.root} ended with {reason}{': ' if line else ''}{line}; see {run.training_log}"
    )


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


@contextlib.contextmanager
def gpu_turn(slot: contextlib.AbstractContextManager[None] | None) -> Iterator[None]:
    """Hold the GPU, and then `slot`, for the block; without a GPU, trainings share the CPU at the same time."""
    import torch

    if not torch.cuda.is_available():
        yield
        return
    with _gpu, slot or contextlib.nullcontext():
        yield
