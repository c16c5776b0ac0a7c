"""The watcher starts runs only where something has arrived, and ends only runs that are lost, on a real server."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Completed, Running, Suspended
from prefect.utilities.callables import parameter_schema

from charlm.artifacts import Workspace
from deployments.watch_corpora import CorpusChoices, with_choices
from deployments.watch_inbox import InboxWatch
from deployments.watch_runs import LostRunsWatch
from deployments.watcher import Watch
from tasks.retraining.inbox import announce_arrivals, scan
from tasks.services.rest import Server, prefect_server
from tests.live_service import wait_until
from tests.prefect_server import ask

LOST_AFTER = 5.0  # seconds


@pytest.fixture(scope="module")
def client(server: dict[str, str]) -> Iterator[SyncPrefectClient]:
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    with SyncPrefectClient(server["PREFECT_API_URL"]) as client:
        yield client


# ---- the inbox -----------------------------------------------------------------------------------------------------


class Inbox:
    """A workspace with an inbox, and the deployment that scans it."""

    def __init__(self, root: Path, client: SyncPrefectClient, server: Server) -> None:
        self.space, self.client = Workspace(root), client
        self.lines: list[str] = []
        flow_id = client.create_flow(flow(lambda: None, name="charlm-scan-inbox"))
        self.deployment = client.create_deployment(
            flow_id, "scan-inbox", parameters={"settle_seconds": 0.0, "workspace": str(root)}
        )
        client.update_deployment(self.deployment, deployment_update(paused=False))
        self.before = self._count()
        self.watch = InboxWatch(self.space, server, self.lines.append)

    def drop(self, name: str, text: str = "Some text.\n") -> None:
        path = self.space.inbox_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def look(self) -> int:
        """How many runs there are after two looks."""
        self.watch.look()
        self.watch.look()
        return self._count() - self.before

    def announce(self) -> None:
        announce_arrivals(self.space, scan(str(self.space.inbox_dir)), lambda arrival: None)

    def _count(self) -> int:
        return len(self._runs())

    def _runs(self) -> list[FlowRun]:
        mine = DeploymentFilter(id=DeploymentFilterId(any_=[self.deployment]))
        return self.client.read_flow_runs(deployment_filter=mine, limit=200, sort=FlowRunSort.EXPECTED_START_TIME_DESC)

    def newest(self) -> FlowRun:
        return self._runs()[0]


@pytest.fixture
def inbox(server: dict[str, str], client: SyncPrefectClient, tmp_path: Path) -> Inbox:
    return Inbox(tmp_path, client, prefect_server(server))


@pytest.mark.service
def test_an_inbox_without_new_text_starts_no_run(inbox: Inbox) -> None:
    assert inbox.look() == 0
    inbox.drop("books/old.txt")
    inbox.announce()
    assert inbox.look() == 0


@pytest.mark.service
def test_new_text_starts_one_run_however_often_it_is_seen(inbox: Inbox) -> None:
    inbox.drop("books/one.txt")
    assert inbox.look() == 1
    assert inbox.look() == 1
    restarted = InboxWatch(inbox.space, inbox.watch._prefect, inbox.lines.append)
    restarted.look()
    restarted.look()
    assert inbox.look() == 1
    inbox.announce()
    inbox.drop("books/two.txt")
    assert inbox.look() == 2
    assert inbox.newest().parameters == {
        "settle_seconds": 0.0,
        "workspace": str(inbox.space.root),
    }  # those of the deployment
    assert inbox.lines[0].endswith("has 1 new files; scan-inbox starts")


@pytest.mark.service
def test_a_file_that_is_being_written_waits(inbox: Inbox) -> None:
    inbox.client.update_deployment(inbox.deployment, deployment_update(parameters={"settle_seconds": 3600.0}))
    inbox.drop("books/one.txt")
    assert inbox.look() == 0
    inbox.client.update_deployment(inbox.deployment, deployment_update(parameters={"settle_seconds": 0.0}))
    assert inbox.look() == 1


@pytest.mark.service
def test_a_deployment_that_is_paused_is_not_started(inbox: Inbox) -> None:
    inbox.client.update_deployment(inbox.deployment, deployment_update(paused=True))
    inbox.drop("books/one.txt")
    assert inbox.look() == 0


@pytest.mark.service
def test_a_file_in_no_folder_is_reported_once(inbox: Inbox) -> None:
    inbox.drop("lost.txt")
    assert inbox.look() == 0
    (line,) = inbox.lines
    assert "lost.txt is not in a folder" in line


def deployment_update(**changes: object) -> Any:
    from prefect.client.schemas.actions import DeploymentUpdate

    return DeploymentUpdate.model_validate(changes)


# ---- runs without a heartbeat --------------------------------------------------------------------------------------


class Runs:
    """Runs whose heartbeats were the last sign of them."""

    def __init__(self, client: SyncPrefectClient, variables: dict[str, str]) -> None:
        self.client, self.variables = client, variables
        self.lines: list[str] = []
        self.watch = LostRunsWatch(prefect_server(variables), self.lines.append, lost_after_seconds=LOST_AFTER)

    def make(self, *, heartbeat: datetime | None, ends: Any = None) -> Any:
        """A run that has begun; `ends` is the state that it is in now."""
        run = self.client.create_flow_run(flow(lambda: None, name="long"))
        self.client.set_flow_run_state(run.id, Running(), force=True)
        if ends is not None:
            self.client.set_flow_run_state(run.id, ends, force=True)
        if heartbeat is not None:
            self.send_heartbeat(run.id, heartbeat)
        return run.id

    def states(self, *runs: Any) -> list[str]:
        return [self.client.read_flow_run(run).state.type.value for run in runs]  # type: ignore[union-attr]

    def send_heartbeat(self, run: Any, moment: datetime) -> None:
        resource = {"prefect.resource.id": f"prefect.flow-run.{run}"}
        event = {
            "id": str(uuid4()),
            "occurred": moment.isoformat(),
            "event": "prefect.flow-run.heartbeat",
            "resource": resource,
        }
        self.client.request("POST", "/events", json=[event])
        wanted = {"filter": {"event": {"name": [event["event"]]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}}

        def is_recorded() -> bool:
            found = ask(self.variables, "/events/filter", wanted)["events"]
            return any(one["id"] == event["id"] for one in found)

        wait_until(is_recorded, seconds=60, what="heartbeat")


@pytest.fixture
def runs(client: SyncPrefectClient, server: dict[str, str]) -> Runs:
    return Runs(client, server)


@pytest.mark.service
def test_only_a_run_whose_heartbeats_have_stopped_is_lost(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.pages._PAGE", 1)  # the last page counts as well
    old = datetime.now(UTC) - timedelta(seconds=60)
    lost, alive, in_terminal = runs.make(heartbeat=old), runs.make(heartbeat=old), runs.make(heartbeat=None)
    completed = runs.make(heartbeat=old, ends=Completed())
    suspended = runs.make(heartbeat=old, ends=Suspended(timeout_seconds=3600))
    resumed = runs.make(heartbeat=old, ends=Suspended(timeout_seconds=3600))
    everything = (lost, alive, in_terminal, completed, suspended)
    runs.watch.look()
    assert runs.states(*everything) == ["RUNNING", "RUNNING", "RUNNING", "COMPLETED", "PAUSED"]  # the server may be new
    time.sleep(1.2 * LOST_AFTER)
    runs.send_heartbeat(alive, datetime.now(UTC))
    runs.client.set_flow_run_state(resumed, Running(), force=True)
    runs.watch.look()
    assert runs.states(*everything) == ["CRASHED", "RUNNING", "RUNNING", "COMPLETED", "PAUSED"]
    assert runs.states(resumed) == ["RUNNING"]
    found = runs.client.read_flow_run(lost)
    assert "no heartbeat for 300 seconds" in found.state.message  # type: ignore[union-attr,operator]
    assert len([line for line in runs.lines if line.startswith(f"{found.name} has crashed")]) == 1


@pytest.mark.service
def test_no_run_is_lost_before_a_server_that_was_away_could_hear_of_it(runs: Runs) -> None:
    silent = runs.make(heartbeat=datetime.now(UTC) - timedelta(seconds=60))
    runs.watch.look()
    time.sleep(1.2 * LOST_AFTER)
    runs.watch._prefect, there = Server("http://127.0.0.1:1/api"), runs.watch._prefect
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1/api does not answer to /flow_runs/filter"):
        runs.watch.look()
    runs.watch._prefect = there
    runs.watch.look()
    assert runs.states(silent) == ["RUNNING"]


# ---- the program ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError("away"), "! the inbox: away; it is tried again"),
        (KeyError("parameters"), "! the inbox: KeyError: 'parameters'; it is tried again"),  # a fault of ours
    ],
)
def test_a_look_that_fails_is_reported_once_and_its_recovery_too(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = iter([error, error, None, None])

    def look() -> None:
        if (outcome := next(outcomes)) is not None:
            raise outcome

    watch = Watch("the inbox", 10, look)
    for now in (0.0, 5.0, 10.0, 20.0, 30.0):
        watch.look_when_due(now)
    assert next(outcomes, "all taken") == "all taken"  # one look every ten seconds
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(line)
    assert second.endswith("the inbox: works again")


# ---- choices of forms ----------------------------------------------------------------------------------------------


@pytest.mark.service
def test_a_form_offers_the_corpora_of_the_workspace(
    client: SyncPrefectClient, server: dict[str, str], tmp_path: Path
) -> None:
    from flows.promotion import promote

    deployment = client.create_deployment(
        client.create_flow(promote), "promote", parameter_openapi_schema=promote.parameters.model_dump()
    )
    for schema in ({"type": "object", "properties": {}}, None):  # somebody else's, which asks for no corpus
        client.create_deployment(client.create_flow(promote), "retrain", parameter_openapi_schema=schema)
    choices = CorpusChoices(Workspace(tmp_path), prefect_server(server))

    def offered() -> Any:
        choices.look()
        return client.read_deployment(deployment).parameter_openapi_schema["properties"]["name"].get("enum")  # type: ignore[index]

    assert offered() is None  # a name may be any where there are none
    for name in ("books", "papers"):
        manifest = Workspace(tmp_path).corpus(name).manifest
        manifest.parent.mkdir(parents=True)
        manifest.write_text("{}")
    assert offered() == ["books", "papers"]
    with pytest.raises(PrefectHTTPStatusError, match="409"):
        client.create_flow_run_from_deployment(deployment, parameters={"name": "boks"})
    run = client.create_flow_run_from_deployment(deployment, parameters={"name": "papers"})
    assert run.parameters["name"] == "papers"


@pytest.mark.parametrize("field", [{"type": "string"}, {"anyOf": [{"type": "string"}, {"type": "null"}]}])
def test_a_form_for_any_corpus_offers_those_that_there_are(field: dict[str, Any]) -> None:
    schema = {"properties": {"name": {"title": "name", "default": None, **field}}}
    one, two = (with_choices(schema, names, or_another=True) for names in (["books"], ["books", "laws"]))
    kinds = one["properties"]["name"]["anyOf"]
    assert kinds[:2] == [
        {"title": "a corpus", "type": "string", "enum": ["books"]},
        {"title": "another", "type": "string"},
    ]
    assert [kind["title"] for kind in kinds[2:]] == ["every corpus"] * ("anyOf" in field)
    assert with_choices(one, ["books"], or_another=True) == one
    assert with_choices(one, ["books", "laws"], or_another=True) == two
    assert with_choices(two, [], or_another=True) == schema


@pytest.mark.service
def test_an_event_starts_a_run_for_a_corpus_that_no_form_offers_yet(
    client: SyncPrefectClient, server: dict[str, str], tmp_path: Path
) -> None:
    from flows.retrain import retrain

    deployment = client.create_deployment(
        client.create_flow(retrain), "retrain", parameter_openapi_schema=parameter_schema(retrain).model_dump()
    )
    manifest = Workspace(tmp_path).corpus("books").manifest
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    CorpusChoices(Workspace(tmp_path), prefect_server(server)).look()
    schema = client.read_deployment(deployment).parameter_openapi_schema
    assert schema is not None
    assert schema["properties"]["name"]["anyOf"][0]["enum"] == ["books"]
    for name in ("books", "younger", None):
        run = client.create_flow_run_from_deployment(deployment, parameters={"name": name})
        assert run.parameters["name"] == name
    with pytest.raises(PrefectHTTPStatusError, match="409"):
        client.create_flow_run_from_deployment(deployment, parameters={"name": "no name"})
