"""How the steps of a training are run: called in this process, or as Prefect tasks (see tasks/steps.py)."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

from charlm.artifacts import Workspace
from tasks.runs import TrainedRun
from tasks.training.direction import TrainingRequest, train_direction

P = ParamSpec("P")
R = TypeVar("R")


class TrainingSteps(Protocol):
    """Runs the steps of `train_pair` and `finetune_pair`."""

    def call(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of one step."""

    def train_directions(
        self, workspace: Workspace, requests: Sequence[TrainingRequest], *, parent: str | None
    ) -> dict[str, TrainedRun]:
        """Train all directions at once (one after the other on one GPU); `parent` is the MLflow run above them."""


class _CalledHere:
    def call(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return step(*args, **kwargs)

    def train_directions(
        self, workspace: Workspace, requests: Sequence[TrainingRequest], *, parent: str | None
    ) -> dict[str, TrainedRun]:
        if any(request.nodes.num_nodes > 1 for request in requests):  # in the same order on all nodes
            trained = [train_direction(workspace, request, parent=parent) for request in requests]
            return {run.direction: run for run in trained}
        with ThreadPoolExecutor(len(requests)) as pool:
            futures = [pool.submit(train_direction, workspace, request, parent=parent) for request in requests]
        return {future.result().direction: future.result() for future in futures}


CALLED_HERE: TrainingSteps = _CalledHere()
"""Runs every step in this process."""
