"""The flow that keeps a model current: new text comes in, a better champion or a reasoned no comes out.

text arrives --> revision --> drift --> decision --> training --> gate --> promotion --> embeddings, evaluation
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from charlm.artifacts import Workspace
from charlm.config import ARCHITECTURE, DriftConfig, GateConfig, ReadConfig, TrainingConfig
from charlm.errors import ConfigError
from charlm.recipes import changed_recipe
from flows.finetune import finetune_pair
from flows.parameters import CorpusName, Minutes, RecipeName
from flows.prepare import finish_corpus, prepare_corpus
from flows.train import train_pair
from tasks import steps
from tasks.registry.versions import RegisteredVersion
from tasks.retraining.arrivals import Arrival
from tasks.retraining.plan import Retraining, RetrainingPlan, corpora_in_use, one_retraining
from tasks.services.workspace import use_workspace

_BOTH = ["forward", "backward"]


def _run_name() -> str:
    return f"retrain {flow_run.parameters['name'] or 'every corpus'}"


@flow(name="charlm-retrain", flow_run_name=_run_name)
def retrain(
    name: CorpusName | None = None,
    raw: list[str] = [],  # noqa: B006  # never changed; the form in the UI shows it
    domain: str | None = None,
    digests: list[str] = [],  # noqa: B006
    workspace: Path = Path("workspace"),
    recipe: RecipeName = "demo",
    finetune_recipe: RecipeName = "finetune",
    settings: list[str] = [],  # noqa: B006
    limit_minutes: Minutes | None = 4.0,
    reading: ReadConfig = ReadConfig(),  # noqa: B008
    drift: DriftConfig = DriftConfig(),  # noqa: B008
    gate: GateConfig = GateConfig(),  # noqa: B008
) -> State[Retraining] | State[None]:
    """Bring new text into a corpus, and train and promote a new pair of models if the text asks for it.

    The same text again changes nothing. Retrainings of one corpus wait for each other.

    Args:
        name: Name of the corpus, and of the registered model; without one, every corpus that has a champion.
        raw: New text: files, folders, globs, fsspec addresses, or `hf:NAME[:SPLIT[:COLUMN]]`. Without any, text that
            came in since the champion was trained is looked at.
        domain: Kind of text that this is; the corpus name by default.
        digests: SHA-256 of the files that were announced, to say so when other content was found.
        workspace: Folder that holds everything a run leaves.
        recipe: Settings of a training from the start.
        finetune_recipe: Settings of a training that continues the champion.
        settings: Changes to the recipe that is used, as `field=value`; width and depth where training begins anew.
        limit_minutes: Minutes of training after which a direction ends, if the recipe does not end it before.
        reading: How raw text is read.
        drift: How much new text may differ before it asks for a new model.
        gate: What the promotion gate asks of it.
    """
    space = use_workspace(workspace)
    if name is None:
        common = {"workspace": workspace, "recipe": recipe, "finetune_recipe": finetune_recipe, "settings": settings}
        common |= {"limit_minutes": limit_minutes, "reading": reading, "drift": drift, "gate": gate}
        return _retrain_every_corpus(space, raw, common)
    kept = [setting for setting in settings if setting.partition("=")[0].strip() not in ARCHITECTURE]
    anew = _limited(changed_recipe(recipe, settings), limit_minutes)
    tuned = _limited(changed_recipe(finetune_recipe, kept), limit_minutes)
    with one_retraining(space, name):
        own = Arrival(corpus=name, domain=domain, addresses=tuple(raw), digests=tuple(digests))
        arrivals = steps.gather_arrivals(space, own)
        for arrival in arrivals:
            prepare_corpus(list(arrival.addresses), name, workspace, reading=reading, domain=arrival.domain)
        answered_by = {"recipes": [anew.to_json(), tuned.to_json()], "gate": gate.to_json()}
        announced = [digest for arrival in arrivals for digest in arrival.digests]
        plan = steps.plan_retraining(space, name, answered_by, drift, announced)
        result = Retraining(action=plan.action, reason=plan.reason, revision=plan.revision)
        if plan.action == "nothing":
            return Completed(message=f"nothing to do: {plan.reason}", data=result)
        version = _train(space, name, plan, anew, tuned)
        steps.sign_version(version, plan)
        report = steps.pass_gate(space, version, gate, plan.target)
    result = replace(result, version=version, promoted=report.promoted, verdict=report.reason)
    return Completed(message=f"{version.address} {report.reason}", data=result)


def _retrain_every_corpus(workspace: Workspace, raw: list[str], settings: dict[str, Any]) -> State[None]:
    """Retrain one corpus after the other; one that fails does not hold up the next, and fails the whole in the end."""
    if raw:
        raise ConfigError("text was given without a name; name the corpus that it is for")
    states = {name: retrain(name, **settings, return_state=True) for name in corpora_in_use(workspace)}
    said = "; ".join(f"{name}: {state.message or state.name}" for name, state in states.items())
    if any(not state.is_completed() for state in states.values()):
        return Failed(message=said)
    return Completed(message=said or "no corpus has a champion")


def _train(
    workspace: Workspace, name: str, plan: RetrainingPlan, anew: TrainingConfig, tuned: TrainingConfig
) -> RegisteredVersion:
    """Train what the plan asks for and register it."""
    if plan.action == "train-anew" or plan.champion is None:
        if plan.champion is not None:  # the text is foreign to its dictionary too
            finish_corpus(workspace, name, extend_dictionary=True)
        version = train_pair(workspace, name, _BOTH, anew, register=True).version
    else:
        extend = plan.action == "finetune-extended"
        address = plan.champion.address
        version = finetune_pair(workspace, name, address, tuned, extend_dictionary=extend).pair.version
    assert version is not None
    return version


def _limited(training: TrainingConfig, minutes: float | None) -> TrainingConfig:
    """`training`, which ends after so many minutes at the latest."""
    limits = [limit for limit in (minutes, training.max_minutes) if limit is not None]
    return replace(training, max_minutes=min(limits, default=None))
