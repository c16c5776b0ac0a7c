"""The flow behind the form for a new model: `charlm_pipeline` with the few settings that most people change."""

from pathlib import Path

from prefect.client.schemas.objects import State
from prefect.states import Completed

from charlm.config import GateConfig, ReadConfig, UnitName
from charlm.recipes import changed_recipe
from flows.approval import decide, decide_with_answer, version_in_question
from flows.parameters import CorpusName, Days, Directions, Minutes, RecipeName
from flows.pipeline import charlm_pipeline
from flows.workspace_flow import flow
from tasks.corpus.prepare import check_sources, corpus_settings
from tasks.services.session import use_workspace
from tasks.training.pair import TrainedPair


@flow(name="charlm-run", flow_run_name="a model of {name}")
def run_pipeline(
    raw: list[str],
    name: CorpusName,
    recipe: RecipeName = "demo",
    max_minutes: Minutes | None = None,
    unit: UnitName | None = None,
    domain: str | None = None,
    deduplicate: bool = False,
    directions: Directions = ["forward", "backward"],  # noqa: B006  # never changed; the form in the UI shows it
    settings: list[str] = [],  # noqa: B006
    approval_days: Days = 7.0,
    workspace: Path = Path("workspace"),
) -> State[TrainedPair] | State[None]:
    """Turn raw text into a registered model: prepare the corpus, train, register, and let the gate decide.

    Finished steps and trainings of the same text and settings are reused, an unfinished training is continued.

    Args:
        raw: Files, folders, globs, fsspec addresses, or `hf:NAME[:SPLIT[:COLUMN]]` that the worker can read.
        name: Name of the corpus, and of the registered model.
        recipe: Named settings of the training.
        max_minutes: Minutes of training for each direction, instead of the recipe's own budget.
        unit: What the model predicts; characters by default, and as before for a corpus that exists.
        domain: Kind of text that this is; the corpus name by default.
        deduplicate: Drop documents that the corpus already holds.
        directions: `forward`, `backward`, or both.
        settings: Changes to the recipe, as `field=value`.
        approval_days: Days that the run waits for a person, where the corpus needs an approval.
        workspace: Folder that holds everything a run leaves.
    """
    space = use_workspace(workspace)
    asked = version_in_question(name)
    if asked is not None:
        decision = decide_with_answer(space, asked, GateConfig(), days=approval_days)
        return Completed(message=f"{asked.address} {decision.reason}", data=None)
    check_sources(raw)
    training = changed_recipe(recipe, settings, max_minutes=max_minutes)
    split, dictionary = corpus_settings(space, name, unit)
    pair = charlm_pipeline.in_this_run(
        raw,
        name,
        workspace,
        split,
        dictionary,
        [training],
        directions,
        ReadConfig(deduplicate=deduplicate),
        domain,
        resume=True,
    )
    if pair.version is not None and not pair.promoted:
        # The gate has decided; where it waits for a person, this asks.
        decision = decide(space, pair.version, GateConfig(), days=approval_days)
        return Completed(message=f"{pair.version.address} {decision.reason}", data=pair)
    return Completed(message=pair.summary(), data=pair)
