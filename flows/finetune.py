"""The flow that continues a pair of language models on a prepared corpus.

model, corpus --> language models --> scores before and after --> registry
"""

from pathlib import Path

from prefect import flow

from charlm.artifacts import Workspace
from charlm.config import TrainingConfig
from charlm.recipes import changed_recipe
from flows.parameters import CorpusName, Minutes, RecipeName
from flows.train import train_directions
from tasks import steps
from tasks.registry.versions import find_version
from tasks.runs import scores_of
from tasks.services.workspace import use_workspace
from tasks.tracking.scores import log_scores
from tasks.training.finetuning import FinetunedPair, finetuning_requests
from tasks.training.pair import TrainedPair, pair_run


@flow(name="charlm-finetune", flow_run_name="fine-tune {model} on {name}")
def finetune_language_model(
    name: CorpusName,
    model: str,
    workspace: Path = Path("workspace"),
    recipe: RecipeName = "finetune",
    extend_dictionary: bool = False,
    settings: list[str] = [],  # noqa: B006  # never changed; the form in the UI shows it
    max_minutes: Minutes | None = None,
) -> FinetunedPair:
    """Continue a model on the text of a corpus and register the result as challenger.

    A finished training of the same text and settings is reused, an unfinished one is continued.

    Args:
        name: Name of a prepared corpus, and of the registered model that the result becomes a version of.
        model: The model to continue: `models:/NAME@champion`, best-lm.pt, a run folder, or a bundle folder.
        workspace: Folder that holds everything a run leaves.
        recipe: Named settings of the training; width and depth are the model's.
        extend_dictionary: Give characters that the model does not know an id.
        settings: Changes to the recipe, as `field=value`.
        max_minutes: Budget in minutes for each direction, in the place of the recipe's own.
    """
    space = use_workspace(workspace)
    training = changed_recipe(recipe, settings, max_minutes=max_minutes)
    return finetune_pair(space, name, model, training, extend_dictionary=extend_dictionary)


def finetune_pair(
    workspace: Workspace, name: str, model: str, training: TrainingConfig, *, extend_dictionary: bool
) -> FinetunedPair:
    """Continue all directions of `model` at the same time, under one MLflow run, and register them."""
    parent = find_version(model) if model.startswith("models:") else None
    pinned = model if parent is None else parent.address  # an alias may come to name another version meanwhile
    with (
        finetuning_requests(
            workspace, name, pinned, (), training, extend_dictionary=extend_dictionary, reuse=True, resume=True
        ) as requests,
        pair_run(workspace, name, training) as run_id,
    ):
        runs = train_directions(workspace, requests, run_id)
        log_scores(run_id, scores_of(runs))
        domains = steps.score_before_and_after(workspace, name, pinned, runs, run_id)
        version = steps.register_pair(workspace, name, runs, run_id, parent, domains)
    return FinetunedPair(pair=TrainedPair(runs=runs, mlflow_run=run_id, version=version), domains=domains)
