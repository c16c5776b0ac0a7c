"""Train one direction: find or create the run, train it in a child process, and follow its journal.

Reads  corpora/NAME/              (a prepared corpus)
Writes runs/RUN/                  (through the child process `python -m charlm.trainers.run`)

Training runs in a child so that its memory is freed when it ends, and so that nothing of ours can slow it down.
"""

import contextlib
import dataclasses
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from charlm.artifacts import CorpusFiles, RunFiles, Workspace
from charlm.config import ONE_NODE, NodesConfig, RunConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import RunError, TrainingInterruptedError, decoration
from charlm.remote.workspace import alone, push
from charlm.storage.fingerprints import fingerprint, sha256_of
from charlm.trainers.lm.gpu_memory import gpu_bytes
from charlm.trainers.lm.manifest import RunManifest, create_run, find_runs, new_run_name, plan_run
from tasks.runs import TrainedRun
from tasks.services.pushing import pushing
from tasks.services.session import Session
from tasks.terminal import terminal
from tasks.tracking.sync import live_tracking
from tasks.training.child import RefusedError, gpu_turn, run_child
from tasks.training.outlook import outlook


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """What to train, and which earlier runs may be reused."""

    corpus: str
    direction: str
    training: TrainingConfig
    initial_model: Path | None = None
    """Model file to continue from; the run keeps a copy of it."""

    known_revision: int | None = None
    """Newest revision of the corpus that `initial_model` was trained on, where it is of the same corpus."""

    reuse: bool = False
    """Use a finished run of the same text, dictionary and settings instead of training again."""

    resume: bool = False
    """Continue the newest unfinished run of the same text, dictionary and settings."""

    num_threads: int = 0
    num_processes: int = 1
    """Processes of all nodes together."""

    nodes: NodesConfig = ONE_NODE
    """The machines that train it together; this one is the first."""

    @property
    def local_processes(self) -> int:
        """Processes of this machine."""
        return self.num_processes // self.nodes.num_nodes


def trained_before(workspace: Workspace, request: TrainingRequest) -> RunFiles | None:
    """The finished run that `request` will reuse; none where it will train."""
    if not (request.reuse or request.resume):
        return None
    corpus = corpus_of(workspace, request)
    dictionary = dictionary_for(corpus, request)
    return _finished(find_runs(workspace, plan_run(config_of(workspace, request, corpus), dictionary).fingerprint))


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
    """The finished run for `request`: an earlier one, a continued one, or a new one.

    `parent` is the MLflow run above it; `on_progress` receives the share that is done; `gpu_slot` is held while it
    trains, where several processes share GPUs.
    Raises TrainingInterruptedError when the user ends it, and RunError with the reason when it fails.
    """
    stop_flag = Session.of(workspace).trainings.stop_flag  # of those that begin now
    title = f"train {request.training.recipe} {request.direction}"
    with _turn(workspace, request, title, stop_flag):
        return _train(workspace, request, title, stop_flag, parent, on_progress, gpu_slot)


def _train(
    workspace: Workspace,
    request: TrainingRequest,
    title: str,
    stop_flag: threading.Event,
    parent: str | None,
    on_progress: Callable[[float], None] | None,
    gpu_slot: contextlib.AbstractContextManager[None] | None,
) -> TrainedRun:
    trainings = Session.of(workspace).trainings
    run, reusable = _find_or_create(workspace, request, title)
    if reusable:
        if request.nodes.num_nodes > 1:  # the other nodes are at the rendezvous, and learn it there
            with terminal.step(title) as bar:
                run_child(run, bar, lambda share: None, trainings, stop_flag, None, request.nodes)
        terminal.print_line(f"= {title}: reused {run.name}, which is finished")
        with live_tracking(workspace, run, parent=parent):  # sends what an earlier outage has delayed
            pass
        push(workspace, run.root)
        return TrainedRun.load(run, reused=True)
    try:
        size = RunManifest.load(run).dictionary["size"]
        needed = gpu_bytes(request.training, size, num_processes=request.num_processes)
        with (
            pushing(workspace, run),
            gpu_turn(workspace, gpu_slot, needed=needed, num_processes=request.local_processes) as device,
            live_tracking(workspace, run, parent=parent),
            terminal.step(title) as bar,
        ):
            run_child(run, bar, on_progress or (lambda share: None), trainings, stop_flag, device, request.nodes)
            trained = TrainedRun.load(run, reused=False)
            bar.finish(f"{trained.test['bits_per_character']:.3f} bits per character on test")
        with decoration("the outlook of a training"):
            terminal.print_line(f"  {request.direction}: {outlook(run)}")
    except RefusedError:
        if not run.checkpoint.is_file():  # it never began: leave no empty run folder
            shutil.rmtree(run.root)
        raise
    if stop_flag.is_set():  # too late for this training, but not for the next step
        raise TrainingInterruptedError(f"training was interrupted when {run.name} had just finished")
    return trained


@contextlib.contextmanager
def _turn(workspace: Workspace, request: TrainingRequest, title: str, stop_flag: threading.Event) -> Iterator[None]:
    """For the block, no other process looks for, or trains, what `request` may reuse or continue."""
    if not (request.reuse or request.resume):
        yield
        return
    training = request.training.to_json()
    initial = None if request.initial_model is None else sha256_of(request.initial_model)
    wanted = [request.corpus, request.direction, training, initial, request.known_revision]
    lock = workspace.lock_of(f"{fingerprint(wanted)}.training")
    waiting = "{} trains the same; waiting for it"
    with alone(
        workspace,
        lock,
        on_wait=lambda holder: terminal.print_line(f"= {title}: {waiting.format(holder)}"),
        is_stopped=stop_flag.is_set,
    ) as is_held:
        if not is_held:
            raise TrainingInterruptedError(f"{title} was interrupted while another process trained the same")
        yield


def _find_or_create(workspace: Workspace, request: TrainingRequest, title: str) -> tuple[RunFiles, bool]:
    """The run folder to train in, and whether its training has finished already."""
    corpus = corpus_of(workspace, request)
    initial = request.initial_model
    dictionary = dictionary_for(corpus, request)
    config = config_of(workspace, request, corpus)
    if request.reuse or request.resume:
        runs = find_runs(workspace, plan_run(config, dictionary).fingerprint)
        if (finished := _finished(runs)) is not None:
            return finished, True
        if request.resume:
            for run in runs:
                if run.checkpoint.is_file():
                    _check_processes(run, request)
                    terminal.print_line(f"= {title}: continuing {run.name}")
                    return run, False
            terminal.print_line(f"= {title}: nothing to resume, starting from scratch")
    if initial is not None:  # the run must be able to resume without the original
        kept = RunFiles(Path(config.run_dir)).initial_lm
        kept.parent.mkdir(parents=True)
        shutil.copyfile(initial, kept)
        config = dataclasses.replace(config, initial_model=str(kept))
    return create_run(config, dictionary), False


def config_of(workspace: Workspace, request: TrainingRequest, corpus: CorpusFiles) -> RunConfig:
    """The settings of a new run for `request`."""
    name = new_run_name(request.corpus, request.direction, request.training.recipe)
    return RunConfig(
        run_dir=str(workspace.run(name).root),
        corpus_dir=str(corpus.root),
        direction=request.direction,  # type: ignore[arg-type]  # RunConfig checks it
        training=request.training,
        initial_model=None if request.initial_model is None else str(request.initial_model.absolute()),
        known_revision=request.known_revision,
        num_threads=request.num_threads,
        num_processes=request.num_processes,
    )


def _finished(runs: Iterable[RunFiles]) -> RunFiles | None:
    return next((run for run in runs if RunManifest.load(run).state == "finished"), None)


def corpus_of(workspace: Workspace, request: TrainingRequest) -> CorpusFiles:
    """The corpus of a training, whose text has to be there only where the model has a dictionary of its own."""
    if request.initial_model is None:
        return workspace.prepared_corpus(request.corpus, train_text=False)
    return workspace.prepared_corpus(request.corpus)


def dictionary_for(corpus: CorpusFiles, request: TrainingRequest) -> Dictionary:
    """The dictionary that the trained model will have."""
    initial = request.initial_model
    return Dictionary.load_from_file(corpus.dictionary) if initial is None else _dictionary_of(initial)


def _check_processes(run: RunFiles, request: TrainingRequest) -> None:
    began_with = RunManifest.load(run).config.num_processes
    if began_with != request.num_processes:
        over = "" if request.nodes.num_nodes == 1 else " over all nodes"
        raise RunError(
            f"{run.root} was started with --num-processes {began_with}, not {request.num_processes}{over}: its "
            f"weights would differ; resume it with {began_with}, or train from scratch without --resume"
        )


def _dictionary_of(model: Path) -> Dictionary:
    from charlm.serialization.flair_file import read_flair_file

    return read_flair_file(model).dictionary
