"""The flows that decide which version is the champion: the gate once more, or a rollback."""

from pathlib import Path

from prefect.client.schemas.objects import State
from prefect.states import Completed

from charlm.config import GateConfig
from flows.approval import decide, decide_with_answer, version_in_question
from flows.parameters import CorpusName, Days
from flows.workspace_flow import flow
from tasks import steps
from tasks.promotion.gate import Rollback
from tasks.registry.versions import CHALLENGER, RegisteredVersion, find_version
from tasks.services.session import use_workspace


@flow(name="charlm-promote", flow_run_name="promote {name}")
def promote(
    name: CorpusName,
    anew: bool = False,
    gate: GateConfig = GateConfig(),  # noqa: B008  # never changed; the form in the UI shows it
    approval_days: Days = 7.0,
    workspace: Path = Path("workspace"),
) -> State[RegisteredVersion]:
    """Let the newest version of a model pass the promotion gate: it becomes champion if it is better on held-out text.

    Args:
        name: Name of the registered model.
        anew: Decide again about a version that has been decided on, as after a change of the gate's conditions.
        gate: What the promotion gate requires.
        approval_days: Days that the run waits for a person, where the corpus needs an approval.
        workspace: Folder that holds everything a run leaves.
    """
    space = use_workspace(workspace)
    version = version_in_question(name)
    if version is not None:
        decision = decide_with_answer(space, version, gate, days=approval_days)
    else:
        version = find_version(f"models:/{name}@{CHALLENGER}")
        decision = decide(space, version, gate, anew=anew, days=approval_days)
    return Completed(message=f"{version.address} {decision.reason}", data=version)


@flow(name="charlm-roll-back", flow_run_name="roll back {name}")
def roll_back(name: CorpusName, workspace: Path = Path("workspace")) -> State[Rollback]:
    """Make the version champion again that the current champion has replaced.

    Args:
        name: Name of the registered model.
        workspace: Folder that holds everything a run leaves.
    """
    done = steps.roll_back(use_workspace(workspace), name)
    return Completed(message=f"{done.champion.address} is champion again, not {done.replaced.address}", data=done)
