"""Train the directions of one recipe and register them together: what `charlm train` does."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from charlm.artifacts import Workspace
from charlm.config import TrainingConfig
from charlm.text.corpus.manifest import load_manifest
from tasks.registry.bundles import register_runs
from tasks.registry.lineage import DomainScores
from tasks.registry.versions import RegisteredVersion
from tasks.runs import TrainedRun, scores_of
from tasks.terminal import terminal
from tasks.tracking.runs import group_run
from tasks.tracking.scores import log_scores
from tasks.training.direction import TrainingRequest, threads_for, train_directions


@dataclass(frozen=True, kw_only=True)
class TrainedPair:
    """The runs of one recipe by direction, and the version they were registered as."""

    runs: dict[str, TrainedRun]
    mlflow_run: str | None
    """The MLflow run above theirs; none where MLflow did not answer."""

    version: RegisteredVersion | None = None
    promoted: bool | None = None
    """True when the gate has made it champion, or kept it; none where the gate was not asked."""

    @property
    def recipe(self) -> str:
        return next(iter(self.runs.values())).recipe

    @property
    def valid_bits_per_byte(self) -> float:
        """Mean over the directions; what recipes are compared by."""
        return sum(run.valid["bits_per_byte"] for run in self.runs.values()) / len(self.runs)

    def to_json(self) -> dict[str, Any]:
        return {
            "runs": {direction: run.to_json() for direction, run in self.runs.items()},
            "model": self.version and self.version.address,
            "promoted": self.promoted,
        }


def train_pair(
    workspace: Workspace,
    name: str,
    directions: Sequence[str],
    training: TrainingConfig,
    *,
    resume: bool,
    register: bool,
    num_processes: int = 1,
) -> TrainedPair:
    """Train `directions` on the corpus `name` and register them as challenger."""
    requests = training_requests(name, directions, training, reuse=False, resume=resume, num_processes=num_processes)
    with pair_run(workspace, name, training) as run_id:
        runs = train_directions(workspace, requests, parent=run_id)
        log_scores(run_id, scores_of(runs))
        version = register_pair(workspace, name, runs, run_id) if register else None
    return TrainedPair(runs=runs, mlflow_run=run_id, version=version)


def training_requests(
    name: str,
    directions: Sequence[str],
    training: TrainingConfig,
    *,
    reuse: bool,
    resume: bool,
    num_processes: int = 1,
) -> list[TrainingRequest]:
    """One request per direction, which share the cores."""
    return [
        TrainingRequest(
            corpus=name,
            direction=direction,
            training=training,
            reuse=reuse,
            resume=resume,
            num_threads=threads_for(len(directions)),
            num_processes=num_processes,
        )
        for direction in directions
    ]


def register_pair(
    workspace: Workspace,
    name: str,
    runs: Mapping[str, TrainedRun],
    run_id: str | None,
    *,
    parent: RegisteredVersion | None = None,
    domains: DomainScores | None = None,
) -> RegisteredVersion:
    """Register `runs` as challenger of `name`, and say so; an identical bundle keeps its version."""
    with terminal.step("register") as bar:
        version = register_runs(workspace, name, runs, run_id=run_id, parent=parent, domains=domains)
        bar.finish(version.address if version.is_new else f"{version.address} already holds this very model")
    return version


def pair_run(
    workspace: Workspace, name: str, training: TrainingConfig, *, parent: str | None = None
) -> AbstractContextManager[str | None]:
    """The MLflow run above the directions, called after the recipe and the revision: `demo on revision 2`."""
    manifest = load_manifest(workspace.prepared_corpus(name))
    tags = {
        "recipe": training.recipe,
        "corpus.revision": str(manifest.revision),
        "corpus.fingerprint": manifest.fingerprint,
    }
    return group_run(workspace, name, f"{training.recipe} on revision {manifest.revision}", parent=parent, tags=tags)
