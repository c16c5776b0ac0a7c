"""The loop that runs for years: new text, drift, decision, training, gate, promotion, with a real server and MLflow."""

import json
import re
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from charlm.artifacts import Workspace
from charlm.config import DriftConfig
from charlm.text.corpus.manifest import load_manifest
from tasks.promotion.history import PICTURE
from tasks.registry.descriptions import COLUMN_PADDING
from tasks.registry.versions import find_version
from tasks.retraining.plan import RetrainingPlan, plan_retraining, sign_version
from tasks.tracking.client import mlflow_client
from tests.command_server import ForkedProgram
from tests.conftest import TrainedWorkspace, own_workspace, run_program, start_program, write_sentences
from tests.prefect_server import ask

service = pytest.mark.service
# Those of the corpus `tiny`, so that its first pair is the one that the fixture has trained.
QUICK = ["max_characters=60000", "hidden_size=16", "sequence_length=50"]
# One retraining after the other in one process: workspace, then their parameters as JSON.
PROGRAM = """
import json, sys
from pathlib import Path
from tasks.services.session import start_prefect, use_workspace
use_workspace(sys.argv[1])
start_prefect()
from flows.retrain import retrain
for parameters in json.loads(sys.argv[2]):
    state = retrain(workspace=Path(sys.argv[1]), return_state=True, **parameters)
    print(json.dumps({"state": state.name, "message": state.message}), flush=True)
"""


# ---- what was answered ---------------------------------------------------------------------------------------------


@service
def test_only_a_decision_of_the_gate_is_an_answer(trained_workspace: TrainedWorkspace, tmp_path: Path) -> None:
    def plan(**settings: int) -> RetrainingPlan:
        return plan_retraining(workspace, "tiny", settings, DriftConfig(), digests=["ab12", digest])

    with own_workspace(trained_workspace, tmp_path / "copy") as workspace:
        digest = load_manifest(workspace.corpus("tiny")).revisions[0].sources[0].sha256
        asked = plan(seed=1)
        assert (asked.action, asked.reason) == ("train-anew", "there is no champion yet")
        assert asked.unknown_digests == ("ab12",)
        version = find_version("models:/tiny/1")
        sign_version(version, asked, flow_run=None)
        assert plan(seed=1) == asked  # the run was cut short before the gate

        client = mlflow_client()
        for tag, value in (("gate.decision", "refused"), ("gate.reason", "refused: it is ill")):
            client.set_model_version_tag("tiny", "1", tag, value)
        answered = plan(seed=1)
        assert (answered.action, answered.drift) == ("nothing", None)
        assert answered.reason == "models:/tiny/1 was made from the same text, and was refused: it is ill"
        assert plan(seed=2).action == "train-anew"  # another question

        client.set_model_version_tag("tiny", "1", "gate.rolled_back", "true")
        assert plan(seed=1).reason == "models:/tiny/1 was made from the same text, and was rolled back"


# ---- the loop ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A workspace, and the variables that lead to a Prefect server."""

    workspace: Workspace
    server: dict[str, str]

    def start(self, *runs: dict[str, Any]) -> ForkedProgram:
        """Retrain in a process of its own, once for each set of parameters."""
        parameters = [{"name": "tiny", "settings": QUICK, **run} for run in runs]
        return start_program(PROGRAM, self.workspace.root, json.dumps(parameters), **self.server)

    def retrain(self, *runs: dict[str, Any]) -> list[dict[str, str]]:
        return results(self.start(*runs))


def results(process: ForkedProgram) -> list[dict[str, str]]:
    """What each retraining of a process came to."""
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    return [json.loads(line) for line in stdout.splitlines()]


def wait_until(is_so: Callable[[], bool], *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def versions(workspace: Workspace) -> dict[int, dict[str, Any]]:
    """Tags and description of every version of `tiny`, and under 0 its aliases."""
    program = """
import json, sys
from tasks.services.session import use_workspace
use_workspace(sys.argv[1])
from tasks.registry.tags import read_tags
from tasks.tracking.client import mlflow_client
client = mlflow_client()
versions = client.search_model_versions("name='tiny'")
found = {v.version: {"tags": read_tags(v.tags), "description": v.description} for v in versions}
print(json.dumps({**found, "0": client.get_registered_model("tiny").aliases}))
"""
    done = run_program(program, workspace.root)
    assert done.code == 0, done.stderr
    return {int(number): value for number, value in json.loads(done.stdout.splitlines()[-1]).items()}


def loud(path: Path, word: str, *, seed: int) -> Path:
    """Sentences in which one word is written in upper case, which has no id, and nothing else is new."""
    text = write_sentences(path, seed=seed)
    text.write_text(re.sub(rf"\b{word}\b", word.upper(), text.read_text()))
    return text


@dataclass(frozen=True)
class Story:
    """A few retrainings one after the other, and what they came to."""

    place: Place
    begun: datetime
    first: dict[str, str]
    again: dict[str, str]
    new_domain: dict[str, str]
    same_file: dict[str, str]
    worse: dict[str, str]
    worse_again: dict[str, str]
    versions: dict[int, dict[str, Any]]


@pytest.fixture(scope="module")
def story(
    trained_workspace: TrainedWorkspace, server: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Story:
    folder = tmp_path_factory.mktemp("story")
    shutil.copytree(trained_workspace.root, folder / "workspace")
    place = Place(Workspace(folder / "workspace"), server)
    new = {"raw": [str(loud(folder / "loud.txt", "the", seed=2))], "domain": "loud"}
    # A training that changes nothing leaves the new characters that it gives ids to unlearned.
    worse = {
        "raw": [str(loud(folder / "louder.txt", "file", seed=3))],
        "domain": "louder",
        "settings": [*QUICK, "learning_rate=1e-9"],
    }
    begun = datetime.now(UTC)
    done = place.retrain({}, {}, new, new, worse, {key: worse[key] for key in ("settings",)})
    return Story(place, begun, *done, versions=versions(place.workspace))


def artifacts(story: Story, flow_run: str) -> dict[str, Any]:
    """What a flow run has left in Prefect, by key."""
    found = ask(story.place.server, "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [flow_run]}}})
    return {artifact["key"]: artifact["data"] for artifact in found}


@service
def test_a_corpus_without_a_champion_gets_one(story: Story) -> None:
    assert story.first == {
        "state": "Completed",
        "message": "models:/tiny/1 promoted: the first version, and both directions are healthy",
    }
    assert story.versions[1]["tags"]["retrain.action"] == "train-anew"
    assert story.versions[1]["tags"]["retrain.reason"] == "there is no champion yet"


@service
def test_no_new_text_is_nothing_to_do(story: Story) -> None:
    assert story.again["state"] == story.same_file["state"] == "Completed"
    assert story.again["message"] == "nothing to do: models:/tiny/1 was trained on the newest revision, 1"
    assert story.same_file["message"] == "nothing to do: models:/tiny/2 was trained on the newest revision, 2"


@service
def test_text_of_a_new_domain_makes_a_better_champion(story: Story) -> None:
    assert story.new_domain["message"].startswith("models:/tiny/2 promoted: ")
    assert "bits per byte on loud" in story.new_domain["message"]
    tags = story.versions[2]["tags"]
    assert (tags["retrain.action"], tags["parent.version"], tags["corpus.revision"]) == ("finetune-extended", "1", "2")
    assert {len(tags[f"{direction}.run_id"]) for direction in ("forward", "backward")} == {32}
    assert tags["forward.run_id"] != tags["backward.run_id"]
    assert len(tags["flow_run.id"]) == 36


@service
def test_a_version_says_what_changed_since_its_parent(story: Story) -> None:
    description = story.versions[2]["description"].replace(COLUMN_PADDING, "")
    assert "| what | tiny version 1 | this version |" in description
    assert "| corpus documents | 3,000 | 6,000 (+100 %) |" in description
    assert "| recipe | demo | finetune |" in description
    assert re.search(r"\| loud \| \d\.\d{4} \| \d\.\d{4} \| \+\d\.\d{4} \|", description)
    assert description.index("\nWhy: ") < description.index("## What changed") < description.index("## Training")


@service
def test_a_model_that_is_no_better_is_refused_and_the_champion_stays(story: Story) -> None:
    assert story.worse["state"] == "Completed"
    assert story.worse["message"].startswith("models:/tiny/3 refused: ")
    assert "worse than the champion" in story.worse["message"]
    assert story.versions[0] == {"champion": 2, "challenger": 3}
    assert story.versions[3]["tags"]["gate.decision"] == "refused"


@service
def test_a_question_that_was_answered_is_not_asked_again(story: Story) -> None:
    assert story.worse_again["state"] == "Completed"
    assert story.worse_again["message"].startswith(
        "nothing to do: models:/tiny/3 was made from the same text, and was refused: "
    )
    assert sorted(story.versions) == [0, 1, 2, 3]


@service
def test_every_promotion_is_told_once_to_whoever_listens(story: Story) -> None:
    wanted = {"event": {"name": ["charlm.model.promoted"]}, "occurred": {"since": story.begun.isoformat()}}
    events = ask(story.place.server, "/events/filter", {"filter": wanted | {"order": "ASC"}, "limit": 50})["events"]
    assert [event["resource"]["prefect.resource.id"] for event in events] == ["charlm.model.tiny"] * 2
    payloads = [event["payload"] for event in events]
    assert [(payload["address"], payload["previous_champion"], payload["corpus_revision"]) for payload in payloads] == [
        ("models:/tiny/1", None, 1),
        ("models:/tiny/2", "models:/tiny/1", 2),
    ]
    assert payloads[1]["flow_run_id"] == story.versions[2]["tags"]["flow_run.id"]


@service
def test_the_decision_and_its_numbers_are_artifacts_of_the_run(story: Story) -> None:
    reports = artifacts(story, story.versions[2]["tags"]["flow_run.id"])
    assert "**Fine-tune the champion, with ids for new characters**" in reports["retrain-tiny"]
    assert "**Promoted**: " in reports["gate-tiny"]


@service
def test_the_newest_version_has_the_picture_of_all(story: Story) -> None:
    report = artifacts(story, story.versions[2]["tags"]["flow_run.id"])["versions-tiny"]
    assert report.index("| 2 | promoted |") < report.index("| 1 | promoted |")
    pictures = list(story.place.workspace.mlflow_artifacts_dir.rglob(PICTURE))
    assert len(pictures) == 3  # each version has the one of its time
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


@service
def test_a_champion_is_evaluated_and_continued_by_flows_of_their_own(story: Story) -> None:
    program = """
import json, sys
from pathlib import Path
from tasks.services.session import start_prefect, use_workspace
workspace = Path(sys.argv[1])
use_workspace(workspace)
start_prefect()
from flows.evaluate import evaluate_champion
from flows.finetune import finetune_language_model
scores = evaluate_champion("tiny", workspace)
settings = ["max_characters=20000", "sequence_length=50"]
tuned = finetune_language_model("tiny", "models:/tiny@champion", workspace, settings=settings)
from tasks.tracking.client import mlflow_client
client = mlflow_client()
(run,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id], "tags.model = 'models:/tiny/2'")
print(json.dumps([scores.domains, run.data.metrics, tuned.to_json()["model"]]))
"""
    copy = story.place.workspace.root.with_name("copy")
    shutil.copytree(story.place.workspace.root, copy)
    done = run_program(program, copy, **story.place.server)
    assert done.code == 0, done.stderr
    domains, metrics, model = json.loads(done.stdout.splitlines()[-1])
    assert {direction: list(scores) for direction, scores in domains.items()} == {
        "forward": ["tiny", "loud", "louder"],
        "backward": ["tiny", "loud", "louder"],
    }
    assert metrics["forward.domain.loud.bits_per_byte"] == domains["forward"]["loud"]["bits_per_byte"]
    assert model == "models:/tiny/4"


@service
def test_two_retrainings_at_once_go_one_after_the_other(
    trained_workspace: TrainedWorkspace, server: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(trained_workspace.root, tmp_path / "workspace")
    place = Place(Workspace(tmp_path / "workspace"), server)
    text = {"raw": [str(write_sentences(tmp_path / "more.txt", seed=2))]}
    processes = [place.start(text), place.start(text)]
    done = sorted((results(process)[0] for process in processes), key=lambda result: result["message"])
    assert [result["state"] for result in done] == ["Completed", "Completed"]
    assert done[0]["message"].startswith("models:/tiny/2 promoted: ")
    assert done[1]["message"] == "nothing to do: models:/tiny/2 was trained on the newest revision, 2"
    found = versions(place.workspace)
    assert sorted(found) == [0, 1, 2]
    assert found[0] == {"champion": 2, "challenger": 2}


@service
def test_a_flow_that_is_ended_ends_its_trainings_and_the_next_one_goes_on(
    trained_workspace: TrainedWorkspace, server: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(trained_workspace.root, tmp_path / "workspace")
    place = Place(Workspace(tmp_path / "workspace"), server)
    long = {"settings": ["max_characters=250000", *QUICK[1:]]}
    process = place.start(long)
    before = set(place.workspace.runs_dir.iterdir())
    wait_until(lambda: len(training(place.workspace) - before) == 2)
    children = psutil.Process(process.pid).children()
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    assert time.monotonic() - started < 30
    assert not any(child.is_running() for child in children)
    runs = training(place.workspace) - before
    assert all((run / "checkpoint.pt").is_file() for run in runs)
    states = ask(server, "/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})
    assert states[0]["state"]["type"] == "CRASHED"
    assert versions(place.workspace)[0] == {"challenger": 1}
    assert place.retrain(long)[0]["message"].startswith("models:/tiny/2 promoted")
    assert training(place.workspace) - before == runs  # they went on


def training(workspace: Workspace) -> set[Path]:
    """The runs whose training has begun."""
    return {
        path.parent for path in workspace.runs_dir.glob("*/journal.jsonl") if b'"event": "train"' in path.read_bytes()
    }


@service
def test_a_mistake_is_one_line_and_leaves_nothing(
    trained_workspace: TrainedWorkspace, server: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(trained_workspace.root, tmp_path / "workspace")
    place = Place(Workspace(tmp_path / "workspace"), server)
    missing, unknown, setting = place.retrain({"raw": ["/nowhere.txt"]}, {"name": "nobody"}, {"settings": ["hidden=3"]})
    assert {missing["state"], unknown["state"], setting["state"]} == {"Failed"}
    assert "there is no file or folder '/nowhere.txt'" in missing["message"]
    assert "no corpus named 'nobody'" in unknown["message"]
    assert "there is no field 'hidden' to set" in setting["message"]
    assert not (place.workspace.root / "corpora" / "nobody").exists()
