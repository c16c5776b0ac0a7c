"""A decision about a version: the gate's, and where the corpus needs it, then that of a person.

gate --> the flow run is suspended, and no process waits --> a person fills its form --> gate, with the answer

A flow run that is resumed begins again. It knows by the tags of the version what it has asked, and goes on from there.
"""

from dataclasses import dataclass
from itertools import count
from typing import Literal

from prefect.context import FlowRunContext
from prefect.deployments import run_deployment
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment, flow_run
from pydantic import Field

from charlm.artifacts import Workspace
from charlm.config import GateConfig
from charlm.errors import decoration
from tasks import steps
from tasks.promotion.approval import Answer
from tasks.promotion.report import gate_markdown
from tasks.registry.versions import RegisteredVersion
from tasks.services.session import has_lasting_prefect

_DAY_SECONDS = 86_400
_ASKING = "charlm-promote/promote"
"""The deployment that asks where a flow run cannot: one that another flow run has called."""


class Approval(RunInput):
    """The form of a flow run that waits for a person."""

    decision: Literal["approve", "refuse"] = Field(description="Whether the version becomes the champion.")
    by: str = Field(min_length=1, max_length=100, description="Your name; it is kept with the version.")
    reason: str = Field(default="", max_length=1000, description="Why; required for a refusal.")


@dataclass(frozen=True)
class Decision:
    """What became of a version."""

    promoted: bool
    reason: str


def version_in_question(name: str) -> RegisteredVersion | None:
    """The version that this flow run has asked about; none of a run that was not suspended."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or not context.flow_run.empirical_policy.pause_keys:
        return None
    return steps.version_in_question(name)


def decide(
    space: Workspace,
    version: RegisteredVersion,
    gate: GateConfig,
    target: str | None = None,
    *,
    anew: bool = False,
    days: float,
) -> Decision:
    """Let the version pass the gate, and wait for a person where the corpus needs one; after `days` the run fails.

    A run without a page with a form, as in a terminal, does not wait: its version keeps waiting.
    """
    report = steps.pass_gate(space, version, gate, target, anew=anew)
    if report.decision == "waiting" and has_lasting_prefect():
        if flow_run.parent_flow_run_id is not None:
            with decoration(f"the flow run that asks about {version.address}"):
                run_deployment(_ASKING, parameters={"name": version.name}, timeout=0, as_subflow=False)
        elif deployment.id is not None:
            steps.ask_for_approval(version, report)
            return decide_with_answer(space, version, gate, gate_markdown(report), days=days)
    return Decision(report.promoted, report.reason)


def decide_with_answer(
    space: Workspace, version: RegisteredVersion, gate: GateConfig, details: str = "", *, days: float
) -> Decision:
    """Wait for the answer to a version that waits, and let it pass the gate, which decides again if need be.

    The first call of a flow run ends its process. When the run is resumed, the same call returns.
    """
    answer = _answer(version, f"# Does {version.address} become the champion?\n\n{details}", days)
    report = steps.pass_gate(space, version, gate, answer=answer)
    return Decision(report.promoted, report.reason)


def _answer(version: RegisteredVersion, question: str, days: float) -> Answer:
    """What a person answers; a refusal without a reason is asked about again."""
    remark = ""
    for number in count(1):
        given = suspend_flow_run(
            wait_for_input=Approval.with_initial_data(description=question + remark),
            timeout=round(days * _DAY_SECONDS),
            key=f"approval-{version.version}-{number}",
        )
        if given.decision == "approve" or given.reason.strip():
            break
        remark = "\n\n**A refusal needs a reason.**"
    return Answer(approved=given.decision == "approve", by=given.by.strip(), reason=given.reason.strip())
