"""Train the directions of one recipe and register them together: what `charlm train` and the flows do.

corpus --> language models --> registry
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from charlm.artifacts import Workspace
from charlm.config import ONE_NODE, BaselineConfig, NodesConfig, TrainingConfig
from charlm.evaluation.scores import Baseline, BaselineJson
from tasks.registry.bundles import register_runs
from tasks.registry.lineage import DomainScores
from tasks.registry.report import write_report
from tasks.registry.versions import RegisteredVersion
from tasks.runs import TrainedRun, TrainedRunJson
from tasks.terminal import terminal
from tasks.training.baseline import log_baseline
from tasks.training.parent_runs import log_pair, pair_requests, pair_run
from tasks.training.steps import CALLED_HERE, TrainingSteps


class TrainedPairJson(TypedDict):
    """What `charlm train --json` shows."""

    runs: dict[str, TrainedRunJson]
    model: str | None
    promoted: bool | None
    baseline: BaselineJson | None


@dataclass(frozen=True, kw_only=True)
class TrainedPair:
    """The runs of one recipe by direction, and the version they were registered as."""

    runs: dict[str, TrainedRun]
    mlflow_run: str | None
    """The MLflow run above theirs; none where MLflow did not answer."""

    version: RegisteredVersion | None = None
    promoted: bool | None = None
    """True when the gate has made it champion, or kept it; none where it has not passed the gate."""

    baseline: Baseline | None = None
    """The n-gram model of the same corpus; none where that failed."""

    @property
    def recipe(self) -> str:
        return next(iter(self.runs.values())).recipe

    @property
    def valid_bits_per_byte(self) -> float:
        """Mean over the directions; what recipes are compared by. Infinite where text is lost."""
        values = [run.valid["bits_per_byte"] for run in self.runs.values()]
        return sum(math.inf if value is None else value for value in values) / len(values)

    @property
    def valid_loss(self) -> float:
        """Mean over the directions, nats per unit."""
        return sum(run.valid["loss"] for run in self.runs.values()) / len(self.runs)

    def summary(self) -> str:
        """What became of it, in one sentence."""
        if self.version is None:
            return f"{' and '.join(self.runs)} trained with {self.recipe}, and not registered"
        if self.promoted is None:
            return f"{self.version.address} is registered as challenger"
        return f"{self.version.address} {'is champion' if self.promoted else 'was refused by the gate'}"

    def to_json(self) -> TrainedPairJson:
        return {
            "runs": {direction: run.to_json() for direction, run in self.runs.items()},
            "model": None if self.version is None else self.version.address,
            "promoted": self.promoted,
            "baseline": None if self.baseline is None else self.baseline.to_json(),
        }


def train_pair(
    workspace: Workspace,
    name: str,
    directions: Sequence[str],
    training: TrainingConfig,
    *,
    reuse: bool = False,
    resume: bool,
    register: bool,
    parent: str | None = None,
    num_processes: int = 1,
    nodes: NodesConfig = ONE_NODE,
    steps: TrainingSteps = CALLED_HERE,
) -> TrainedPair:
    """Train `directions` on the corpus `name` at the same time, and register them as challenger with `register`.

    `reuse` uses finished runs of the same text and settings, `resume` continues unfinished ones. One MLflow run, a
    child of `parent`, is the parent of their runs. On several `nodes`, `num_processes` are those of all together.
    """
    requests = pair_requests(
        name, directions, training, reuse=reuse, resume=resume, num_processes=num_processes, nodes=nodes
    )
    with pair_run(workspace, name, training, requests, parent=parent) as above:
        runs = steps.train_directions(workspace, requests, parent=above.run_id)
        log_pair(above, runs)
        compared = BaselineConfig.beside(training.max_minutes)
        baseline = steps.call(log_baseline, workspace, name, None if above.is_known else above.run_id, compared)
        version = steps.call(register_pair, workspace, name, runs, above.run_id) if register else None
    return TrainedPair(runs=runs, mlflow_run=above.run_id, version=version, baseline=baseline)


def register_pair(
    workspace: Workspace,
    name: str,
    runs: Mapping[str, TrainedRun],
    run_id: str | None,
    *,
    parent: RegisteredVersion | None = None,
    domains: DomainScores | None = None,
) -> RegisteredVersion:
    """Register `runs` as challenger of `name`, and report it; an identical bundle keeps its version."""
    with terminal.step("register") as bar:
        version = register_runs(workspace, name, runs, run_id=run_id, parent=parent, domains=domains)
        bar.finish(version.address if version.is_new else f"{version.address} already holds this very model")
    if version.is_new:
        with terminal.step("report") as bar:
            path = write_report(workspace, name, runs, version, parent=parent)
            bar.finish(str(path) if path else "left out")
    return version


def report_of(workspace: Workspace, name: str, pair: TrainedPair) -> Path | None:
    """The page that shows everything about a pair, made here for one that is not registered; none where it failed."""
    if pair.version is None:
        return write_report(workspace, name, pair.runs)
    path = workspace.report(name, pair.version.version)
    return path if path.is_file() else None
