"""The flow that keeps a model up to date: it takes in new text, and promotes a better champion or reports why not.

text arrives --> revision --> drift --> decision --> training --> gate --> promotion --> embeddings, evaluation
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from charlm.artifacts import Workspace
from charlm.config import ARCHITECTURE, DictionaryChange, DriftConfig, GateConfig, ReadConfig, TrainingConfig
from charlm.errors import ConfigError
from charlm.recipes import changed_recipe
from flows.approval import Decision, decide, decide_with_answer, version_in_question
from flows.parameters import CorpusName, Days, Minutes, RecipeName
from flows.prepare import prepare_corpus
from flows.task_runners import open_task_runner
from flows.workspace_flow import flow
from tasks import steps
from tasks.corpus.filtering import without_missing_champion
from tasks.corpus.prepare import extend_corpus
from tasks.registry.versions import RegisteredVersion
from tasks.retraining.arrivals import Arrival
from tasks.retraining.plan import Retraining, RetrainingPlan, asked_retraining, corpora_in_use, one_retraining
from tasks.retraining.report import ACTIONS
from tasks.services.session import use_workspace
from tasks.steps import PrefectSteps
from tasks.terminal import terminal
from tasks.training.finetuning import finetune_pair
from tasks.training.pair import train_pair

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
    approval_days: Days = 7.0,
) -> State[Retraining] | State[None]:
    """Bring new text into a corpus, and train and promote a new pair of models if the text differs enough.

    The same text again changes nothing. Retrainings of one corpus wait for each other.

    Args:
        name: Name of the corpus, and of the registered model; without one, every corpus that has a champion.
        raw: New text: files, folders, globs, fsspec addresses, or `hf:NAME[:SPLIT[:COLUMN]]`. Without any, the run
            checks the text that arrived since the champion was trained.
        domain: Kind of text that this is; the corpus name by default.
        digests: SHA-256 of the announced files; the report names those whose content had changed.
        workspace: Folder that holds everything a run leaves.
        recipe: Settings of a training from scratch.
        finetune_recipe: Settings of a training that continues the champion.
        settings: Changes to the recipe, as `field=value`; width and depth only for a training from scratch.
        limit_minutes: Minutes of training after which a direction ends, unless the recipe ends it earlier.
        reading: How raw text is read; `min_bits_per_byte` and `max_bits_per_byte` leave out documents that the champion
            finds too easy or too foreign.
        drift: How much new text may differ before a new model is trained.
        gate: What the promotion gate requires.
        approval_days: Days that the run waits for a person, where the corpus needs an approval.
    """
    space = use_workspace(workspace)
    if name is None:
        common = {"workspace": workspace, "recipe": recipe, "finetune_recipe": finetune_recipe, "settings": settings}
        common |= {"limit_minutes": limit_minutes, "reading": reading, "drift": drift, "gate": gate}
        common |= {"approval_days": approval_days}
        return _retrain_every_corpus(space, raw, common)
    asked = version_in_question(name)
    if asked is not None:
        decision = decide_with_answer(space, asked, gate, days=approval_days)
        return _closed(asked, decision, asked_retraining(asked))
    kept = [setting for setting in settings if setting.partition("=")[0].strip() not in ARCHITECTURE]
    anew = _limited(changed_recipe(recipe, settings), limit_minutes)
    tuned = _limited(changed_recipe(finetune_recipe, kept), limit_minutes)
    with one_retraining(space, name):
        own = Arrival(corpus=name, domain=domain, addresses=tuple(raw), digests=tuple(digests))
        arrivals = steps.gather_arrivals(space, own)
        usable = without_missing_champion(name, reading) if arrivals else reading
        for arrival in arrivals:
            prepare_corpus(list(arrival.addresses), name, workspace, reading=usable, domain=arrival.domain)
        answered_by = {"recipes": [anew.to_json(), tuned.to_json()], "gate": gate.to_json()}
        announced = [digest for arrival in arrivals for digest in arrival.digests]
        plan = steps.plan_retraining(space, name, answered_by, drift, announced)
        result = Retraining(action=plan.action, reason=plan.reason, revision=plan.revision)
        if plan.action == "nothing":
            return Completed(message=f"nothing to do: {plan.reason}", data=result)
        terminal.print_line(f"{ACTIONS[plan.action]}: {plan.reason}")
        version = _train(space, name, plan, anew, tuned)
        steps.sign_version(version, plan)
        decision = decide(space, version, gate, plan.target, days=approval_days)
    return _closed(version, decision, result)


def _closed(version: RegisteredVersion, decision: Decision, result: Retraining) -> State[Retraining]:
    """The final state of a retraining that has made a version."""
    done = replace(result, version=version, promoted=decision.promoted, verdict=decision.reason)
    return Completed(message=f"{version.address} {decision.reason}", data=done)


def _retrain_every_corpus(workspace: Workspace, raw: list[str], settings: dict[str, Any]) -> State[None]:
    """Retrain one corpus after the other; one that fails does not stop the others, but fails the run in the end."""
    if raw:
        raise ConfigError("raw text was given without a name; give the name of its corpus")
    states = {name: retrain(name, **settings, return_state=True) for name in corpora_in_use(workspace)}
    message = "; ".join(f"{name}: {state.message or state.name}" for name, state in states.items())
    if any(not state.is_completed() for state in states.values()):
        return Failed(message=message)
    return Completed(message=message or "no corpus has a champion")


def _train(
    workspace: Workspace, name: str, plan: RetrainingPlan, anew: TrainingConfig, tuned: TrainingConfig
) -> RegisteredVersion:
    """Train and register what the plan has decided."""
    run = PrefectSteps(partial(open_task_runner, "threads", workspace))
    champion = plan.champion
    if champion is None:
        pair = train_pair(workspace, name, _BOTH, anew, reuse=True, resume=True, register=True, steps=run)
    elif plan.action == "train-anew":  # its dictionary does not fit the text either
        extend_corpus(workspace, name, steps=run)
        pair = train_pair(workspace, name, _BOTH, anew, reuse=True, resume=True, register=True, steps=run)
    else:
        pair = finetune_pair(
            workspace,
            name,
            champion.address,
            (),  # all directions that it has
            tuned,
            change=DictionaryChange(kind="extend" if plan.action == "finetune-extended" else "keep"),
            reuse=True,
            resume=True,
            register=True,
            steps=run,
        ).pair
    assert pair.version is not None
    return pair.version


def _limited(training: TrainingConfig, minutes: float | None) -> TrainingConfig:
    """`training`, which ends after so many minutes at the latest."""
    limits = [limit for limit in (minutes, training.max_minutes) if limit is not None]
    return replace(training, max_minutes=min(limits, default=None))
