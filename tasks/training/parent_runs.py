"""The MLflow runs above the trainings: one for each pair, and one for each pipeline, which show their results.

Writes metrics of the run of a pair: the mean scores of its directions, each direction's scores and validation curve,
       and its text as dataset; of the run of a pipeline: the mean scores of its best pair, and the same dataset

A training that is reused stays below the run that it had, and a pair or pipeline of nothing else adds no run.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean

from charlm.artifacts import Workspace
from charlm.config import ONE_NODE, NodesConfig, TrainingConfig
from charlm.errors import decoration
from charlm.text.corpus.manifest import load_manifest
from charlm.trainers.lm.manifest import RunManifest
from tasks.registry.logged_models import DataSplit, log_data
from tasks.registry.versions import CORPUS_REVISION
from tasks.runs import TrainedRun, scores_of
from tasks.tracking.journal import JournalReader
from tasks.tracking.runs import finished_run, group_run, parent_of
from tasks.tracking.scores import Curve, log_means, log_scores
from tasks.tracking.sync import mlflow_parent_of
from tasks.training.direction import TrainingRequest, threads_for, trained_before

_SPLITS = ("valid", "test")
_MEANS = ("bits_per_byte", "bits_per_character", "perplexity")


@dataclass(frozen=True)
class ParentRun:
    """The MLflow run above trainings."""

    run_id: str | None
    """None where MLflow did not answer."""

    is_known: bool = False
    """True for the run of an earlier time, which has the results already."""


def pair_requests(
    name: str,
    directions: Sequence[str],
    training: TrainingConfig,
    *,
    reuse: bool,
    resume: bool,
    num_processes: int = 1,
    nodes: NodesConfig = ONE_NODE,
) -> list[TrainingRequest]:
    """A training from scratch for each direction, all at the same time, or on several nodes one after the other."""
    return [
        TrainingRequest(
            corpus=name,
            direction=direction,
            training=training,
            reuse=reuse,
            resume=resume,
            num_threads=threads_for(1 if nodes.num_nodes > 1 else len(directions)),
            num_processes=num_processes,
            nodes=nodes,
        )
        for direction in directions
    ]


@contextmanager
def pair_run(
    workspace: Workspace,
    name: str,
    training: TrainingConfig,
    requests: Sequence[TrainingRequest],
    *,
    parent: str | None = None,
) -> Iterator[ParentRun]:
    """The MLflow run above the directions, named after the recipe and the revision: `demo on revision 2`."""
    if (known := _known_pair_run(workspace, requests)) is not None:
        yield ParentRun(known, is_known=True)
        return
    manifest = load_manifest(workspace.prepared_corpus(name, train_text=False))
    tags = {
        "recipe": training.recipe,
        CORPUS_REVISION: str(manifest.revision),
        "corpus.fingerprint": manifest.fingerprint,
    }
    title = f"{training.recipe} on revision {manifest.revision}"
    with group_run(workspace, name, title, parent=parent, tags=tags) as run_id:
        yield ParentRun(run_id)


@contextmanager
def pipeline_run(
    workspace: Workspace, name: str, pairs: Sequence[Sequence[TrainingRequest]], tags: Mapping[str, str]
) -> Iterator[ParentRun]:
    """The MLflow run above several pairs, given by their requests."""
    if (known := _known_pipeline_run(workspace, pairs)) is not None:
        yield ParentRun(known, is_known=True)
        return
    with group_run(workspace, name, f"pipeline {name}", tags=tags) as run_id:
        yield ParentRun(run_id)


def log_pair(above: ParentRun, runs: Mapping[str, TrainedRun]) -> None:
    """Log the results of a pair to its MLflow run, unless it has them."""
    if above.run_id is None or above.is_known:
        return
    log_scores(above.run_id, scores_of(runs), {direction: _validation_curve(run) for direction, run in runs.items()})
    log_results(above, runs)


def log_results(above: ParentRun, runs: Mapping[str, TrainedRun]) -> None:
    """Log the mean scores of `runs` and the text that they are of to an MLflow run, unless it has them."""
    if above.run_id is None or above.is_known:
        return
    means = {
        f"{split}.{name}": mean
        for split in _SPLITS
        for name in _MEANS
        if (mean := _mean([getattr(run, split)[name] for run in runs.values()])) is not None
    }
    log_means(
        above.run_id, means | {"characters_per_second": fmean(run.characters_per_second for run in runs.values())}
    )
    with decoration("the text as dataset of the run in MLflow"):
        corpus = RunManifest.load(next(iter(runs.values())).files).corpus
        data = DataSplit(f"{corpus['name']} revision {corpus['revision']}", corpus["fingerprint"], "train")
        log_data(above.run_id, [data])


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean; none where one is missing, as models that lose text have no bits of it."""
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _validation_curve(run: TrainedRun) -> Curve:
    """Time in seconds, step and bits per byte of every validation."""
    return [
        (event["time"], event["step"], event["bits_per_byte"])
        for event in JournalReader(run.files.journal).new_events()
        if event["event"] == "validation" and event["bits_per_byte"] is not None
    ]


def _known_pair_run(workspace: Workspace, requests: Sequence[TrainingRequest]) -> str | None:
    """The run above the trainings of `requests`, where all of them were finished below one run before."""
    runs = [trained_before(workspace, request) for request in requests]
    parents = {None if run is None else mlflow_parent_of(run) for run in runs}
    parent = parents.pop() if len(parents) == 1 else None
    return parent if parent is not None and finished_run(parent) else None


def _known_pipeline_run(workspace: Workspace, pairs: Sequence[Sequence[TrainingRequest]]) -> str | None:
    known = [_known_pair_run(workspace, requests) for requests in pairs]
    parents = {None if run_id is None else parent_of(run_id) for run_id in known}
    parent = parents.pop() if len(parents) == 1 else None
    return parent if parent is not None and finished_run(parent) else None
