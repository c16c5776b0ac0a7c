"""A corpus that needs approval: what the gate would promote waits for a person, on a real MLflow."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from charlm.artifacts import Workspace
from charlm.config import CorpusMetadata
from charlm.text.corpus.manifest import load_manifest, record_metadata
from tasks.promotion.approval import Answer, note_question, question_of, set_approval
from tasks.promotion.gate import pass_gate
from tasks.registry.versions import RegisteredVersion, find_champion, find_version
from tasks.tracking.client import mlflow_client
from tests.conftest import Charlm, TrainedWorkspace, own_workspace, run_charlm
from tests.tasks.promotion.test_gate import register_noisy

pytestmark = pytest.mark.service
ANN = Answer(approved=True, by="Ann")
BEN = Answer(approved=False, by="Ben", reason="it learned tables")


@pytest.fixture
def workspace(trained_workspace: TrainedWorkspace, tmp_path: Path) -> Iterator[Workspace]:
    """A workspace whose corpus `tiny` needs approval, with one version, the challenger."""
    with own_workspace(trained_workspace, tmp_path / "copy") as workspace:
        set_approval(workspace, "tiny", required=True)
        yield workspace


def tags_of(version: RegisteredVersion) -> dict[str, str]:
    return dict(mlflow_client().get_model_version(version.name, str(version.version)).tags)


def challenger() -> RegisteredVersion:
    return find_version("models:/tiny@challenger")


def test_what_would_be_promoted_waits_and_is_champion_once_it_is_approved(workspace: Workspace) -> None:
    version = challenger()
    waiting = pass_gate(workspace, version)
    assert waiting.report.decision == "waiting"
    assert waiting.report.reason.startswith("waiting: a person has to approve it; the first version")
    assert find_champion("tiny") is None
    tags = tags_of(version)
    assert (tags["gate.decision"], tags["approval"]) == ("waiting", "waiting")
    again = pass_gate(workspace, version)
    assert (again.report, again.is_new) == (waiting.report, False)
    approved = pass_gate(workspace, version, answer=ANN)
    assert approved.report.reason == "promoted: the first version, and both directions are healthy; approved by Ann"
    assert find_champion("tiny") == version
    tags = tags_of(version)
    assert (tags["gate.decision"], tags["approval"], tags["approval.by"]) == ("promoted", "approved", "Ann")


def test_what_a_person_refuses_stays_refused(workspace: Workspace) -> None:
    version = challenger()
    pass_gate(workspace, version)
    refused = pass_gate(workspace, version, answer=BEN)
    assert (refused.report.decision, refused.report.reason) == ("refused", "refused: by Ben: it learned tables")
    assert pass_gate(workspace, version, answer=ANN).report == refused.report
    assert find_champion("tiny") is None
    assert tags_of(version)["approval.reason"] == "it learned tables"
    assert pass_gate(workspace, version, anew=True).report.decision == "waiting"


def test_the_gate_decides_again_where_the_champion_has_moved(workspace: Workspace) -> None:
    better = challenger()
    worse = register_noisy(workspace, 0.01)
    assert pass_gate(workspace, worse).report.decision == "waiting"  # nothing is champion yet
    pass_gate(workspace, better, answer=ANN)
    assert find_champion("tiny") == better
    decided = pass_gate(workspace, worse, answer=ANN)
    assert decided.report.decision == "refused"
    assert "worse than the champion" in decided.report.reason
    assert tags_of(worse)["approval.by"] == "Ann"  # what she answered stays known
    assert find_champion("tiny") == better


def test_a_refusal_of_the_gate_needs_no_person(workspace: Workspace) -> None:
    pass_gate(workspace, challenger(), answer=ANN)
    assert pass_gate(workspace, register_noisy(workspace, 0.5)).report.decision == "refused"


def test_a_corpus_that_needs_no_approval_any_more_promotes_what_waits(workspace: Workspace) -> None:
    version = challenger()
    pass_gate(workspace, version)
    set_approval(workspace, "tiny", required=False)
    assert pass_gate(workspace, version).report.promoted
    assert find_champion("tiny") == version


def test_the_setting_is_in_the_manifest_and_changes_nothing_else(workspace: Workspace) -> None:
    corpus = workspace.corpus("tiny")
    required = load_manifest(corpus)
    assert '"approval": "required"' in corpus.manifest.read_text()
    record_metadata(corpus, CorpusMetadata(licence="mit"))
    assert load_manifest(corpus).needs_approval
    set_approval(workspace, "tiny", required=False)
    assert "approval" not in corpus.manifest.read_text()
    assert load_manifest(corpus).fingerprint == required.fingerprint


def test_a_flow_run_knows_what_it_has_asked(workspace: Workspace) -> None:
    version = challenger()
    assert question_of("tiny", "a-run") is None
    assert note_question(version, "a-run")
    assert not note_question(version, "a-run")
    assert question_of("tiny", "a-run") == version
    assert question_of("tiny", "another-run") is None


def test_a_person_answers_on_the_command_line(charlm: Charlm, workspace: Workspace) -> None:
    place = ("--workspace", workspace.root)
    shown = charlm("approval", "tiny", *place, "--json")
    assert shown.json == {"corpus": "tiny", "approval": "required"}
    waiting = charlm("promote", "tiny", *place)
    assert waiting.code == 0, waiting.stderr
    assert "models:/tiny/1 waits for approval: charlm promote tiny --by YOUR-NAME" in waiting.stderr
    refused = charlm("promote", "tiny", "--by", "Ben", "--refuse", "too early", *place, "--json")
    assert (refused.json["decision"], refused.json["reason"]) == ("refused", "refused: by Ben: too early")
    assert mlflow_client().get_registered_model("tiny").aliases == {"challenger": 1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("promote", "tiny", "--refuse", "no"), "--refuse needs --by PERSON"),
        (("promote", "tiny", "--by", "Ann"), "tiny needs no approval; leave --by out"),
        (("approval", "nobody", "required"), "no corpus named 'nobody'"),
    ],
)
def test_an_answer_to_no_question_is_one_line(
    arguments: tuple[str, ...], said: str, trained_workspace: TrainedWorkspace
) -> None:
    outcome = run_charlm(*arguments, "--workspace", trained_workspace.root)
    assert outcome.code == 2
    (line,) = outcome.stderr.splitlines()
    assert said in line
