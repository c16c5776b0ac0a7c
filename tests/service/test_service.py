"""The service as `make up` starts it, with a real Prefect server, worker and MLflow server: text in, a champion out."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from charlm.storage.atomic import read_json
from tasks.registry.tags import read_tags
from tests.browser import browser_page
from tests.conftest import (
    QUICK,
    ROOT,
    TrainedWorkspace,
    copy_prefect_home,
    environment,
    write_sentences,
)
from tests.deployments.test_mlflow_pages import place_of
from tests.deployments.test_notifications import Receiver
from tests.live_service import ASKING, FINAL, LiveService, wait_until
from tests.service.forms import answering, offered, open_form, submit
from tests.service.looking import (
    LONG_TRAINING,
    PATIENCE_SECONDS,
    SETTINGS_OF_QUICK,
    artifact,
    charlm,
    deployment,
    end_of,
    ended_runs,
    has_process,
    make,
    newest_version,
    of_model,
    quicken,
    runs,
    suspended,
    write_laws,
)

pytestmark = [pytest.mark.service, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Whom the service sends notifications to."""
    receiver = Receiver()
    with receiver.there():
        yield receiver


@pytest.fixture(scope="module")
def service(
    receiver: Receiver,
    trained_workspace: TrainedWorkspace,
    new_prefect_home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LiveService]:
    """A service for a workspace that was trained without one, whose retrainings take seconds.

    The corpus `tiny` gets its champion by a run that finds everything trained.
    """
    folder = tmp_path_factory.mktemp("service")
    # `#` and blanks mean something in addresses.
    service = LiveService.on_free_ports(folder / "work #1 here", CHARLM_NOTIFY=receiver.url)
    shutil.copytree(trained_workspace.root, service.workspace.root)
    copy_prefect_home(new_prefect_home, service.workspace.root)
    try:
        service.up()
        service.workspace.texts_dir("tiny").mkdir(parents=True)
        write_sentences(service.workspace.texts_dir("tiny") / "sentences.txt", seed=9, num_lines=20)
        charlm(service, "run", trained_workspace.text, "--name", "tiny", *QUICK)
        quicken(service)
        yield service
    finally:
        service.down()


@pytest.fixture(scope="module")
def arrived(service: LiveService) -> Any:
    """The retraining that a file in the inbox has started, once everything that follows from it has ended."""
    write_laws(service.workspace.inbox_dir / "tiny" / "laws" / "laws.txt", seed=3)
    (run,) = ended_runs(service, "retrain", 1)
    ended_runs(service, "embed-corpus", 2)  # the first champion was embedded with too
    ended_runs(service, "evaluate-champion", 2)
    return run


def test_a_file_in_the_inbox_becomes_a_champion_that_is_used(service: LiveService, arrived: Any) -> None:
    assert arrived.state_type.value == "COMPLETED", arrived.state
    assert service.champion("tiny") == 2
    tags = read_tags(newest_version(service).tags)
    assert tags["parent.version"] == "1"
    assert tags["gate.decision"] == "promoted"
    assert tags["retrain.action"].startswith("finetune")
    assert arrived.state.message == f"models:/tiny/2 {tags['gate.reason']}"
    assert "**Promoted**" in artifact(service, "gate-tiny")
    for key in ("gate-tiny", "evaluation-tiny", "versions-tiny"):
        assert f"[version 2 of tiny]({service.addresses['MLFLOW_TRACKING_URI']}/#/models/tiny" in artifact(service, key)
    made_by = service.mlflow().get_run(newest_version(service).run_id).data.tags["mlflow.note.content"]
    assert f"/runs/flow-run/{arrived.id})" in made_by
    for name in ("embed-corpus", "evaluate-champion"):
        assert [run.state_type.value for run in runs(service, name)] == ["COMPLETED"] * 2
    assert (service.workspace.embeddings_dir("tiny", 2) / "sentences.txt.parquet").is_file()
    assert len(runs(service, "scan-inbox")) == 1  # nothing is started where nothing has arrived


def test_the_log_of_a_retraining_begins_with_why_it_trains_and_ends_with_its_outcome(
    service: LiveService, arrived: Any
) -> None:
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    with service.prefect() as client:
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[arrived.id])), limit=200)
    lines = [log.message for log in sorted(logs, key=lambda log: log.timestamp)]
    reason = read_tags(newest_version(service).tags)["retrain.reason"]
    assert any(line.endswith(f": {reason}") for line in lines), lines
    assert arrived.state.message in lines[-1]


def test_a_scheduled_run_appears_and_runs(service: LiveService, arrived: Any) -> None:
    from prefect.client.schemas.schedules import IntervalSchedule

    scan = deployment(service, "scan-inbox").id
    with service.prefect() as client:
        (schedule,) = client.create_deployment_schedules(
            scan, [(IntervalSchedule(interval=timedelta(seconds=30)), True)]
        )

    def ended() -> bool:
        scheduled = [run for run in runs(service, "scan-inbox") if run.auto_scheduled]
        return "COMPLETED" in {run.state_type.value for run in scheduled}

    wait_until(ended, seconds=PATIENCE_SECONDS, what="run of a schedule", pause=ASKING)
    with service.prefect() as client:
        client.delete_deployment_schedule(scan, schedule.id)
        coming = [run.name for run in client.read_flow_runs(limit=200) if run.deployment_id == arrived.deployment_id]
    assert len(coming) > 1  # the next Mondays


def test_the_same_text_again_changes_nothing(service: LiveService, arrived: Any) -> None:
    inbox = service.workspace.inbox_dir / "tiny"
    copy = inbox / "a-copy.txt"
    copy.write_bytes((inbox / "laws" / "laws.txt").read_bytes())
    dropped = datetime.now(UTC)

    def later_looks() -> list[str]:
        found = [run for run in runs(service, "scan-inbox") if run.start_time > dropped]
        return [run.state.message for run in found if run.state_type.value == "COMPLETED"]

    wait_until(later_looks, seconds=PATIENCE_SECONDS, what="look into the inbox", pause=ASKING)
    assert set(later_looks()) == {"nothing new"}
    assert len(runs(service, "retrain")) == 1
    again = end_of(service, "retrain", name="tiny", raw=[str(copy)], domain="laws")
    assert again.message.startswith("nothing to do: ")
    assert newest_version(service).version == "2"


def test_a_challenger_that_is_worse_is_refused_with_its_reason(
    service: LiveService, arrived: Any, tmp_path: Path
) -> None:
    champion = service.champion("tiny")
    state = end_of(
        service,
        "retrain",
        name="tiny",
        raw=[str(write_laws(tmp_path / "more-laws.txt", seed=4))],
        domain="laws",
        drift={"growth": 1.1},
        settings=["max_characters=20000", "sequence_length=50", "learning_rate=0.5"],
    )
    assert state.type.value == "COMPLETED", state
    assert service.champion("tiny") == champion
    refused = newest_version(service)
    assert int(refused.version) != champion
    assert refused.tags["gate.decision"] == "refused"
    assert state.message == f"models:/tiny/{refused.version} {refused.tags['gate.reason']}"
    assert "**Refused**" in artifact(service, "gate-tiny")


def test_a_corpus_that_needs_approval_waits_for_a_person_without_a_process(
    service: LiveService, arrived: Any, receiver: Receiver, tmp_path: Path
) -> None:
    charlm(service, "prepare", write_sentences(tmp_path / "text.txt", seed=6), "--name", "asked")
    charlm(service, "approval", "asked", "required")
    run = service.start_run("charlm-retrain/retrain", name="asked", settings=SETTINGS_OF_QUICK)
    waits = suspended(service, run)
    assert service.champion("asked") is None
    assert "**Waiting**" in artifact(service, "gate-asked")
    wait_until(lambda: not has_process(service, run), seconds=60, what="end of its process")
    with service.prefect() as client:
        client.resume_flow_run(run, run_input={"decision": "refuse", "by": "Ben"})
    suspended(service, run, other_than=waits)  # a refusal needs a reason
    trained = sorted(service.workspace.runs_dir.iterdir())
    with service.prefect() as client:
        client.resume_flow_run(run, run_input={"decision": "approve", "by": "Ann"})
    state = service.wait_for_end(run, seconds=PATIENCE_SECONDS)
    assert state.type.value == "COMPLETED", state.message
    assert state.message.startswith("models:/asked/1 promoted: the first version")
    assert state.message.endswith("approved by Ann")
    assert service.champion("asked") == 1
    tags = read_tags(service.mlflow().get_model_version("asked", "1").tags)
    assert (tags["approval"], tags["approval.by"], tags["flow_run.id"]) == ("approved", "Ann", str(run))
    assert sorted(service.workspace.runs_dir.iterdir()) == trained  # nothing is trained twice
    wait_until(lambda: len(of_model(receiver, "models:/asked/1")) >= 2, seconds=120, what="two notifications")
    told = of_model(receiver, "models:/asked/1")
    assert [message["kind"] for message in told] == ["waiting", "promoted"]
    assert told[0]["page"].endswith(f"/runs/flow-run/{run}")
    assert len(of_model(receiver, "models:/tiny/2")) == 1


def test_a_champion_that_was_moved_by_hand_starts_what_a_promotion_starts(service: LiveService, arrived: Any) -> None:
    def evaluated() -> list[str]:
        found = [run for run in runs(service, "evaluate-champion") if run.parameters["name"] == "tiny"]
        return [run.state.message for run in found if run.state_type.value in FINAL]

    champion, before = service.champion("tiny"), len(evaluated())
    for moves, version in enumerate(("1", str(champion)), start=1):
        service.mlflow().set_registered_model_alias("tiny", "champion", version)
        wait_until(
            lambda number=moves: len(evaluated()) == before + number,
            seconds=PATIENCE_SECONDS,
            what="evaluation of the champion",
            pause=ASKING,
        )
        assert evaluated()[-1].startswith(f"models:/tiny/{version} is scored on ")


@pytest.mark.slow
def test_a_person_retrains_approves_and_rolls_back_on_forms(service: LiveService, arrived: Any, tmp_path: Path) -> None:
    charlm(service, "prepare", write_sentences(tmp_path / "text.txt", seed=7), "--name", "formed")
    charlm(service, "approval", "formed", "required")
    wait_until(lambda: "formed" in offered(service, "retrain"), seconds=120, what="choice", pause=ASKING)
    more = write_sentences(tmp_path / "more.txt", seed=8)
    with browser_page(hosts={}) as page:
        form = open_form(page, service, "retrain")
        page.click_text("a corpus")
        form.choose("name", "formed")
        page.click_text("Add item")
        form.write("raw", str(more))
        run = submit(page)
        suspended(service, run)
        with answering(page, service, run) as form:
            form.choose("Decision", "approve")
            form.write("By", "Ann")
        state = service.wait_for_end(run, seconds=PATIENCE_SECONDS)
        assert state.message.endswith("approved by Ann")
        assert service.champion("formed") == 1
        page.open(f"{service.addresses['MLFLOW_TRACKING_URI']}/#/models/formed/versions/1")
        page.wait_for_text("all, backward")
        for text in ("Promoted: ", "all, forward", "all, backward"):
            place = place_of(page, text)
            assert 0 < place["top"] < place["bottom"] < place["screen"], (text, place)
        champion = service.champion("tiny")
        form = open_form(page, service, "roll-back")
        form.choose("name", "tiny")
        rolled = service.wait_for_end(submit(page), seconds=PATIENCE_SECONDS)
    assert rolled.message == f"models:/tiny/1 is champion again, not models:/tiny/{champion}"
    assert len(read_json(service.workspace.corpus("formed").manifest)["revisions"]) == 2


def test_make_up_again_changes_nothing(service: LiveService, arrived: Any) -> None:
    def standing() -> Any:
        with service.prefect() as client:
            things = [*client.read_deployments(limit=200), *client.read_automations(), *client.read_work_pools()]
        notes = sorted(service.workspace.service.root.glob("*.process.json"))
        return sorted((one.name, one.id) for one in things), [read_json(note) for note in notes]

    before = standing()
    outcome = make(service, "up")
    assert outcome.stderr.splitlines()[0] == "everything runs already"
    assert dict(line.split("=", 1) for line in outcome.stdout.splitlines()) == service.addresses
    assert standing() == before


def test_an_address_is_read_in_place(service: LiveService, arrived: Any) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom charlm.artifacts import Workspace\n"
        "from tasks.registry.download import locate_model\n"
        "path, version = locate_model('models:/tiny@champion', Workspace(Path(sys.argv[1])))\n"
        "print(version.version, path.is_relative_to(sys.argv[1]), 'mlflow' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program, str(service.workspace.root)]
    done = subprocess.run(command, cwd=ROOT, env=environment() | service.variables, capture_output=True, text=True)
    assert done.stdout == f"{service.champion('tiny')} True False\n", done.stderr


def test_every_pool_has_a_worker(service: LiveService, arrived: Any) -> None:
    with service.prefect() as client:
        assert all(client.read_workers_for_work_pool(pool.name) for pool in client.read_work_pools())


@pytest.mark.slow
def test_a_training_ends_when_its_run_is_cancelled(service: LiveService, arrived: Any) -> None:
    from prefect.states import Cancelling

    with service.prefect() as client:
        run = client.create_flow_run_from_deployment(
            deployment(service, "train-language-model").id,
            parameters={"name": "tiny", "settings": LONG_TRAINING, "directions": ["forward"]},
        )
    wait_until(service.trainers, seconds=PATIENCE_SECONDS, what="training")
    with service.prefect() as client:
        client.set_flow_run_state(run.id, Cancelling())
    assert service.wait_for_end(run.id).type.value == "CANCELLED"
    wait_until(lambda: not service.trainers(), seconds=60, what="end of the training")


@pytest.mark.slow
def test_a_short_run_waits_for_no_training(service: LiveService, arrived: Any) -> None:
    from prefect.states import Cancelling

    long = {"name": "tiny", "settings": LONG_TRAINING, "directions": ["forward"]}
    started = [service.start_run("charlm-train/train-language-model", **long) for _ in range(4)]

    def states() -> list[str]:
        return sorted(service.state(run).type.value for run in started)

    wait_until(lambda: states().count("RUNNING") == 3, seconds=PATIENCE_SECONDS, what="three trainings", pause=ASKING)
    assert end_of(service, "promote", name="tiny").type.value == "COMPLETED"
    assert states().count("RUNNING") == 3  # and the fourth waits
    for run in started:
        with service.prefect() as client:
            client.set_flow_run_state(run, Cancelling())
    for run in started:
        assert service.wait_for_end(run).type.value == "CANCELLED"


@pytest.mark.slow
def test_arrivals_within_a_minute_make_one_retraining(service: LiveService, arrived: Any, tmp_path: Path) -> None:
    before, ended = int(newest_version(service).version), len(ended_runs(service, "retrain", 1))
    for seed in (11, 12, 13):
        charlm(service, "notify", "tiny", write_laws(tmp_path / f"{seed}.txt", seed=seed), "--domain", "laws")
    states = [run.state for run in ended_runs(service, "retrain", ended + 3)[-3:]]
    assert sum((state.message or "").startswith("nothing to do") for state in states) >= 2
    assert int(newest_version(service).version) <= before + 1
    newest = read_json(service.workspace.corpus("tiny").manifest)["revisions"][-1]
    assert len(newest["sources"]) == 3
