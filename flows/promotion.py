"""The flows that decide which version is the champion: the gate once more, or a rollback."""

from pathlib import Path

from prefect.client.schemas.objects import State
from prefect.states import Completed

from charlm.config import GateConfig
from flows.parameters import CorpusName
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
    workspace: Path = Path("workspace"),
) -> State[RegisteredVersion]:
    """Let the newest version of a model pass the promotion gate: it becomes champion if it is better on held-out text.

    Args:
        name: Name of the registered model.
        anew: Decide again about a version that has been decided on, as after a change of the gate's conditions.
        gate: What the promotion gate requires.
        workspace: Folder that holds everything a run leaves.
    """
    space = use_workspace(workspace)
    version = find_version(f"models:/{name}@{CHALLENGER}")
    report = steps.pass_gate(space, version, gate, anew=anew)
    return Completed(message=f"{version.address} {report.reason}", data=version)


@flow(name="charlm-roll-back", flow_run_name="roll back {name}")
def roll_back(name: CorpusName, workspace: Path = Path("workspace")) -> State[Rollback]:
    """Make the version champion again that the current champion has replaced.

    Args:
        name: Name of the registered model.
        workspace: Folder that holds everything a run leaves.
    """
    done = steps.roll_back(use_workspace(workspace), name)
    return Completed(message=f"{done.champion.address} is champion again, not {done.replaced.address}", data=done)
