"""The flow that trains a pair of language models on a prepared corpus, from the start.

corpus --> language models --> registry
"""

from dataclasses import replace
from pathlib import Path

from prefect import flow

from charlm.artifacts import Workspace
from charlm.config import TrainingConfig
from charlm.recipes import changed_recipe
from flows.parameters import CorpusName, Directions, Minutes, RecipeName
from tasks import steps
from tasks.runs import TrainedRun, scores_of
from tasks.services.workspace import use_workspace
from tasks.tracking.scores import log_scores
from tasks.training.child import ending_with_checkpoints
from tasks.training.direction import TrainingRequest
from tasks.training.pair import TrainedPair, pair_run, training_requests


@flow(name="charlm-train", flow_run_name="train {name}")
def train_language_model(
    name: CorpusName,
    workspace: Path = Path("workspace"),
    recipe: RecipeName = "demo",
    directions: Directions = ["forward", "backward"],  # noqa: B006  # never changed; the form in the UI shows it
    settings: list[str] = [],  # noqa: B006
    max_minutes: Minutes | None = None,
) -> TrainedPair:
    """Train a pair of language models and register it as challenger.

    A finished training of the same text and settings is reused, an unfinished one is continued.

    Args:
        name: Name of a prepared corpus.
        workspace: Folder that holds everything a run leaves.
        recipe: Named settings of the training.
        directions: `forward`, `backward`, or both.
        settings: Changes to the recipe, as `field=value`.
        max_minutes: Budget in minutes for each direction, in the place of the recipe's own.
    """
    space = use_workspace(workspace)
    training = changed_recipe(recipe, settings, max_minutes=max_minutes)
    return train_pair(space, name, directions, training, register=True)


def train_pair(
    workspace: Workspace,
    name: str,
    directions: list[str],
    training: TrainingConfig,
    *,
    resume: bool = True,
    register: bool,
    parent: str | None = None,
    num_processes: int = 1,
) -> TrainedPair:
    """Train all directions of one recipe at the same time, under one MLflow run, which stands below `parent`."""
    with pair_run(workspace, name, training, parent=parent) as run_id:
        requests = training_requests(name, directions, training, reuse=True, resume=resume, num_processes=num_processes)
        runs = train_directions(workspace, requests, run_id)
        log_scores(run_id, scores_of(runs))
        pair = TrainedPair(runs=runs, mlflow_run=run_id)
        if register:
            pair = replace(pair, version=steps.register_pair(workspace, name, runs, run_id))
    return pair


def train_directions(
    workspace: Workspace, requests: list[TrainingRequest], run_id: str | None
) -> dict[str, TrainedRun]:
    """Train all directions at the same time; a flow that is cancelled ends them with a checkpoint."""
    with ending_with_checkpoints():
        trainings = [steps.train_direction.submit(workspace, request, run_id) for request in requests]
        return {run.direction: run for run in (training.result() for training in trainings)}
