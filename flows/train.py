"""The flow that trains a pair of language models on a prepared corpus, from scratch.

corpus --> language models --> registry
"""

from pathlib import Path

from charlm.recipes import changed_recipe
from flows.parameters import CorpusName, Directions, Minutes, RecipeName
from flows.workspace_flow import flow
from tasks.services.session import use_workspace
from tasks.steps import PrefectSteps
from tasks.training.pair import TrainedPair, train_pair


@flow(name="charlm-train", flow_run_name="train {name}", closing=lambda pair: pair.summary())
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
        max_minutes: Budget in minutes for each direction, instead of the recipe's own.
    """
    return train_pair(
        use_workspace(workspace),
        name,
        directions,
        changed_recipe(recipe, settings, max_minutes=max_minutes),
        reuse=True,
        resume=True,
        register=True,
        steps=PrefectSteps(),
    )
