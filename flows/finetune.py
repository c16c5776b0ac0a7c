"""The flow that continues a pair of language models on a prepared corpus.

model, corpus --> language models --> scores before and after --> registry
"""

from pathlib import Path

from charlm.config import DictionaryChange
from charlm.recipes import changed_recipe
from flows.parameters import CorpusName, Minutes, RecipeName
from flows.workspace_flow import flow
from tasks.services.session import use_workspace
from tasks.steps import PrefectSteps
from tasks.training.finetuning import FinetunedPair, finetune_pair


@flow(
    name="charlm-finetune",
    flow_run_name="fine-tune {model} on {name}",
    closing=lambda tuned: tuned.pair.summary(),
)
def finetune_language_model(
    name: CorpusName,
    model: str,
    workspace: Path = Path("workspace"),
    recipe: RecipeName = "finetune",
    extend_dictionary: bool = False,
    map_dictionary: bool = False,
    vectors: str | None = None,
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
        extend_dictionary: Give characters or words that the model does not know an id.
        map_dictionary: Continue with the dictionary of the corpus; what the model knows of it keeps its weights.
        vectors: File of word vectors, or its name in CHARLM_CACHE, from which new words start.
        settings: Changes to the recipe, as `field=value`.
        max_minutes: Budget in minutes for each direction, instead of the recipe's own.
    """
    return finetune_pair(
        use_workspace(workspace),
        name,
        model,
        (),  # all directions that it has
        changed_recipe(recipe, settings, max_minutes=max_minutes),
        change=DictionaryChange.of(extend=extend_dictionary, map_=map_dictionary, vectors=vectors),
        reuse=True,
        resume=True,
        register=True,
        steps=PrefectSteps(),
    )
