"""The flow that keeps a model current: new text comes in, a better champion or a reasoned no comes out.

text arrives --> revision --> drift --> decision --> training --> gate --> promotion --> embeddings, evaluation
"""

from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from charlm.config import DriftConfig, GateConfig, ReadConfig
from charlm.recipes import changed_recipe
from flows.parameters import CorpusName, Minutes, RecipeName
from flows.prepare import prepare_corpus
from tasks.drift import measure_drift
from tasks.services import use_workspace


@flow(name="charlm-retrain", flow_run_name="retrain {name}")
def retrain(
    name: CorpusName,
    raw: list[str] | None = None,
    domain: str | None = None,
    digests: list[str] | None = None,
    workspace: Path = Path("workspace"),
    recipe: RecipeName = "demo",
    finetune_recipe: RecipeName = "finetune",
    settings: list[str] | None = None,
    limit_minutes: Minutes | None = 4.0,
    reading: ReadConfig = ReadConfig(),  # noqa: B008  # never changed; the form in the UI shows it
    drift: DriftConfig = DriftConfig(),  # noqa: B008
    gate: GateConfig = GateConfig(),  # noqa: B008
) -> State[str]:
    """Bring new text into a corpus, and train and promote a new pair of models if the text asks for it.

    The same text again changes nothing. Retrainings of one corpus wait for each other.

    Args:
        name: Name of the corpus, and of the registered model.
        raw: New text: files, folders, globs, fsspec addresses, or `hf:NAME[:SPLIT[:COLUMN]]`. Without any, text that
            came in since the champion was trained is looked at.
        domain: Kind of text that this is; the corpus name by default.
        digests: SHA-256 of the files that were announced, to say so when other content was found.
        workspace: Folder that holds everything a run leaves.
        recipe: Settings of a training from the start.
        finetune_recipe: Settings of a training that continues the champion.
        settings: Changes to the recipe that is used, as `field=value`.
        limit_minutes: Minutes of training after which a direction ends, if the recipe does not end it before.
        reading: How raw text is read.
        drift: From when on new text asks for a new model.
        gate: What the promotion gate asks of it.
    """
    space = use_workspace(workspace)
    for chosen in (recipe, finetune_recipe):
        changed_recipe(chosen, settings or [])
    if raw:
        prepare_corpus(raw, name, workspace, reading=reading, domain=domain)
    report = measure_drift(space, name, drift)
    return Completed(message=f"{report.action}: {report.reason}")
