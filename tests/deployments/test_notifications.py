"""What happens in the service reaches the receiver of notifications, each message once, with real servers."""

import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Cancelled, Completed, Crashed, Failed

from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from deployments.notifications import Message, Outbox
from deployments.settings import ServiceSettings
from deployments.watch_events import DiskWatch, EventsWatch
from tasks.services.rest import prefect_server
from tests.live_service import wait_until

SECRET = "/hooks/secret"


class Receiver:
    """A webhook that people read; it may be away."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.messages: list[dict[str, Any]] = []
        self.answer = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{SECRET}"

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.messages]

    @contextmanager
    def there(self) -> Iterator[None]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if receiver.answer == 200:
                    receiver.messages.append(body)
                self.send_response(receiver.answer)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class House:
    """A Prefect server whose events are watched for a receiver."""

    def __init__(self, client: SyncPrefectClient, variables: dict[str, str], folder: Path) -> None:
        self.client, self.variables, self.folder = client, variables, folder
        self.receiver, self.lines = Receiver(), list[str]()
        flow_id = client.create_flow(flow(lambda: None, name="charlm-retrain"))
        self.deployment = client.create_deployment(flow_id, "retrain")
        self.flow = flow(lambda: None, name="charlm-retrain")
        self.start()

    def start(self) -> None:
        """Begin to watch, as a watcher does that was started again."""
        self.outbox = Outbox(self.folder / "notifications.json", self.receiver.url, self.lines.append)
        self.events = EventsWatch(prefect_server(self.variables), "http://mlflow.example", self.outbox)

    def end_run(self, name: str, state: Any, *, deployed: bool = True) -> None:
        if deployed:
            run = self.client.create_flow_run_from_deployment(self.deployment, name=name)
        else:
            run = self.client.create_flow_run(self.flow, name=name)
        self.client.set_flow_run_state(run.id, state, force=True)

    def send(self, event: str, **payload: object) -> None:
        resource = {"prefect.resource.id": "charlm.model.books", "prefect.resource.name": "books"}
        occurred = datetime.now(UTC).isoformat()
        body = {"id": str(uuid4()), "occurred": occurred, "event": event, "resource": resource, "payload": payload}
        self.client.request("POST", "/events", json=[body])

    def wait_for(self, count: int) -> None:
        """Look and send until so many messages have arrived."""

        def arrived() -> bool:
            self.events.look()
            self.outbox.send()
            return len(self.receiver.messages) >= count

        wait_until(arrived, seconds=60, what=f"{count} messages")


@pytest.fixture(scope="module")
def client(server: dict[str, str]) -> Iterator[SyncPrefectClient]:
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    with SyncPrefectClient(server["PREFECT_API_URL"]) as client:
        yield client


@pytest.fixture
def house(server: dict[str, str], client: SyncPrefectClient, tmp_path: Path) -> House:
    return House(client, server, tmp_path)


@pytest.mark.service
def test_people_hear_of_what_failed_and_of_every_decision_and_of_nothing_else(house: House) -> None:
    with house.receiver.there():
        house.end_run("retrain books", Failed(message="there is no file 'a.txt'"))
        house.end_run("retrain papers", Crashed(message="no heartbeat for 300 seconds"))
        house.end_run("retrain laws", Completed())
        house.end_run("retrain poems", Cancelled())
        house.end_run("from a terminal", Failed(message="its caller sees this"), deployed=False)
        model = {"name": "books", "version": 3, "address": "models:/books/3"}
        house.send("charlm.model.refused", **model, reason="refused: 0.1 worse than the champion")
        house.send("charlm.model.promoted", **model, reason="promoted: the first version")
        house.send("charlm.model.promoted", **model, reason="rolled back")
        house.wait_for(5)
        house.start()  # a watcher that was stopped
        house.events.look()
        house.outbox.send()
    assert sorted(house.receiver.texts) == [
        "models:/books/3 is champion: rolled back",
        "models:/books/3 promoted: the first version",
        "models:/books/3 refused: 0.1 worse than the champion",
        "retrain books failed: there is no file 'a.txt'",
        "retrain papers crashed: no heartbeat for 300 seconds",
    ]
    pages = {message["kind"]: message["page"] for message in house.receiver.messages}
    assert "/runs/flow-run/" in pages["failed"]
    assert pages["refused"].startswith("http://mlflow.example/#/models/books/versions/3")


@pytest.mark.service
def test_a_receiver_that_was_away_gets_everything_once(house: House) -> None:
    house.end_run("retrain one", Failed(message="first"))
    with pytest.raises(OSError, match=r"the receiver of notifications at 127\.0\.0\.1 takes no messages") as away:
        house.wait_for(1)
    assert SECRET not in str(away.value)
    house.end_run("retrain two", Failed(message="second"))
    house.start()
    with house.receiver.there():
        house.receiver.answer = 503
        with pytest.raises(OSError, match="503"):
            house.wait_for(1)
        house.receiver.answer = 200
        house.wait_for(2)
        house.wait_for(2)
    assert house.receiver.texts == ["retrain one failed: first", "retrain two failed: second"]


def test_a_message_that_nobody_takes_for_days_is_given_up(tmp_path: Path) -> None:
    receiver, lines = Receiver(), list[str]()
    outbox = Outbox(tmp_path / "notifications.json", receiver.url, lines.append)
    now = datetime.now(UTC)
    for number, days in enumerate((4, 1)):
        occurred = (now - timedelta(days=days)).isoformat()
        outbox.put(Message(id=str(number), kind="failed", text=f"{days} days old", page=None, occurred=occurred))
    with pytest.raises(OSError, match="takes no messages"):
        outbox.send()
    assert lines == ["! given up after 3 days: 4 days old"]
    with receiver.there():
        outbox.send()
    assert receiver.texts == ["1 days old"]


def test_a_full_disk_is_reported_once_until_it_has_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver()
    outbox = Outbox(tmp_path / "notifications.json", receiver.url, print)
    real = shutil.disk_usage(tmp_path)

    def look(free: float) -> None:
        usage = type(real)(100_000_000_000, 0, int(free * 1e9))
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
        DiskWatch(Workspace(tmp_path), outbox).look()

    with receiver.there():
        for free in (50.0, 4.0, 3.0, 5.5, 4.5, 40.0, 4.9):
            look(free)
            outbox.send()
    assert [text.partition(" is nearly full: ")[2] for text in receiver.texts] == [
        "4.0 GB (4%) are free; `charlm prune` makes room",
        "4.9 GB (5%) are free; `charlm prune` makes room",
    ]


def test_the_setting_is_the_address_of_a_webhook() -> None:
    assert ServiceSettings.from_environment({"CHARLM_NOTIFY": "https://chat.example.org/hooks/1"}).notify is not None
    with pytest.raises(ConfigError, match="CHARLM_NOTIFY is the address of a webhook"):
        ServiceSettings.from_environment({"CHARLM_NOTIFY": "me@example.org"})
