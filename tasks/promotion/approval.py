"""A person's answer to a version that the gate would promote, where its corpus requires one.

Reads and writes tags `approval`, `approval.by`, `approval.reason`, `approval.flow_run` of the version
"""

from dataclasses import dataclass, replace

from charlm.artifacts import Workspace
from charlm.evaluation.gate_report import GateReport
from charlm.remote.workspace import alone, push
from charlm.text.corpus.manifest import load_manifest, record_approval
from tasks.registry.versions import RegisteredVersion, find_tagged, set_version_tags, version_tags

APPROVAL = "approval"
"""The tag with `waiting`, `approved` or `refused`."""
WAITING, APPROVED, REFUSED = "waiting", "approved", "refused"
_FLOW_RUN = "approval.flow_run"
_WAITING_REASON = "waiting: a person has to approve it; "


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a person has decided, and who it was."""

    approved: bool
    by: str
    reason: str = ""

    @property
    def tags(self) -> dict[str, str]:
        """As it is kept with the version."""
        tags = {APPROVAL: APPROVED if self.approved else REFUSED, "approval.by": self.by}
        return tags | ({"approval.reason": self.reason} if self.reason else {})


def needs_approval(workspace: Workspace, name: str) -> bool:
    """Whether a person has to approve the versions of the corpus `name`."""
    return load_manifest(workspace.prepared_corpus(name, train_text=False)).needs_approval


def set_approval(workspace: Workspace, name: str, *, required: bool) -> None:
    """Require the approval of a person for every version of the corpus `name` from now on, or no longer."""
    with alone(workspace, workspace.lock_of(f"{name}.prepare")):
        corpus = workspace.prepared_corpus(name)
        record_approval(corpus, required=required)
        push(workspace, corpus.root)


def waiting_report(report: GateReport) -> GateReport:
    """The report about a version that would be promoted, and that a person has to approve."""
    return replace(report, decision="waiting", reason=_WAITING_REASON + report.reason.removeprefix("promoted: "))


def answered_report(report: GateReport, answer: Answer | None) -> GateReport:
    """The report about a version that was waiting; without an answer it needs none any more."""
    why = report.reason.removeprefix(_WAITING_REASON)
    if answer is None:
        return replace(report, decision="promoted", reason=f"promoted: {why}")
    if answer.approved:
        return replace(report, decision="promoted", reason=f"promoted: {why}; approved by {answer.by}")
    return replace(report, decision="refused", reason=f"refused: by {answer.by}: {answer.reason or 'no reason given'}")


def approval_tags(report: GateReport, answer: Answer | None) -> dict[str, str]:
    """What is kept of the question and its answer with the version that a report is about."""
    if report.decision == "waiting":
        return {APPROVAL: WAITING}
    return {} if answer is None else answer.tags


def question_of(name: str, flow_run: str) -> RegisteredVersion | None:
    """The version of `name` that this flow run has asked about; none where it has asked nothing yet."""
    found = find_tagged(name, _FLOW_RUN, flow_run)
    return found[-1] if found else None


def note_question(version: RegisteredVersion, flow_run: str) -> bool:
    """Note which flow run asks about a version; False when it did before."""
    if version_tags(version).get(_FLOW_RUN) == flow_run:
        return False
    set_version_tags(version, {_FLOW_RUN: flow_run})
    return True
