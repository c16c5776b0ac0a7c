"""Turn what the Prefect server records, and a disk that fills, into messages to people.

Reads  the events of the Prefect server, the free space on the disk of the workspace
"""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from charlm.artifacts import Workspace
from deployments.notifications import Message, Outbox
from tasks.promotion.events import MODEL_PROMOTED, MODEL_REFUSED, MODEL_WAITS
from tasks.services.own_service import mlflow_page
from tasks.services.rest import Server

_ENDS = {
    "prefect.flow-run.Failed": "failed",
    "prefect.flow-run.TimedOut": "failed",
    "prefect.flow-run.Crashed": "crashed",
}
_MODELS = {MODEL_PROMOTED: "promoted", MODEL_REFUSED: "refused", MODEL_WAITS: "waiting"}
_LATE = timedelta(minutes=10)
"""An event may be recorded so long after it has occurred, and after others that occurred later."""
_PAGE = 50  # the server gives no more at a time
_LEAST_SHARE, _LEAST_BYTES = 0.05, 2_000_000_000
"""A disk is nearly full with less free space than one of these."""
_ROOM_AGAIN = 1.25


class EventsWatch:
    """Looks at new events; those that people should hear of go to the outbox."""

    seconds = 10.0

    def __init__(self, prefect: Server, mlflow_url: str, outbox: Outbox) -> None:
        self._prefect, self._mlflow_url, self._outbox = prefect, mlflow_url, outbox

    def look(self) -> None:
        """Put a message for each new event into the outbox."""
        is_new = False
        for event in self._events():
            if event["id"] in self._outbox.known:
                continue
            is_new = True
            self._outbox.known[event["id"]] = event["occurred"]
            self._outbox.since = max(self._outbox.since, event["occurred"], key=datetime.fromisoformat)
            if (message := self._message(event)) is not None:
                self._outbox.put(message)
        if is_new:
            oldest = datetime.fromisoformat(self._outbox.since) - 2 * _LATE
            known = self._outbox.known.items()
            self._outbox.known = {name: moment for name, moment in known if datetime.fromisoformat(moment) > oldest}
            self._outbox.save()

    def _events(self) -> Iterator[dict[str, Any]]:
        began, newest = (datetime.fromisoformat(moment) for moment in (self._outbox.began, self._outbox.since))
        since = max(began, newest - _LATE)
        wanted = {
            "event": {"name": [*_ENDS, *_MODELS]},
            "occurred": {"since": since.isoformat()},
            "order": "ASC",
        }
        page = self._prefect.post("/events/filter", {"filter": wanted, "limit": _PAGE})
        yield from page["events"]
        while page["next_page"]:
            page = self._prefect.get(f"/events/filter/next?{urlsplit(page['next_page']).query}")
            yield from page["events"]

    def _message(self, event: dict[str, Any]) -> Message | None:
        """What people should read about an event; none of runs without a deployment, whose caller sees the error."""
        resource, payload = event["resource"], event["payload"]
        if event["event"] in _MODELS:
            kind, name, version = _MODELS[event["event"]], payload["name"], payload["version"]
            reason = str(payload["reason"])
            text = f"{payload['address']} {reason if reason.startswith(kind) else f'is champion: {reason}'}"
            page = mlflow_page(self._mlflow_url, f"models/{name}/versions/{version}")
            if kind == "waiting" and payload.get("flow_run_id"):
                page = self._run_page(payload["flow_run_id"])  # which has the form
        else:
            if not any(one.get("prefect.resource.role") == "deployment" for one in event["related"]):
                return None
            kind = _ENDS[event["event"]]
            run = resource["prefect.resource.id"].removeprefix("prefect.flow-run.")
            text = f"{resource['prefect.resource.name']} {kind}: {resource.get('prefect.state-message') or 'no reason'}"
            page = self._run_page(run)
        return Message(id=event["id"], kind=kind, text=text, page=page, occurred=event["occurred"])

    def _run_page(self, run: str) -> str:
        return f"{self._prefect.url.removesuffix('/api')}/runs/flow-run/{run}"


class DiskWatch:
    """Looks at the free space on the disk of the workspace; a disk is reported again when it had room in between."""

    seconds = 60.0

    def __init__(self, workspace: Workspace, outbox: Outbox) -> None:
        self._root, self._outbox = workspace.root, outbox

    def look(self) -> None:
        """Put a message into the outbox when the disk has become nearly full."""
        disk = shutil.disk_usage(self._root)
        least = max(_LEAST_SHARE * disk.total, _LEAST_BYTES)
        if disk.free < least and not self._outbox.disk_was_full:
            now = datetime.now(UTC).isoformat()
            text = (
                f"the disk of {self._root} is nearly full: {disk.free / 1e9:.1f} GB ({disk.free / disk.total:.0%}) are"
                " free; `charlm prune` makes room"
            )
            self._outbox.put(Message(id=f"disk {now}", kind="disk", text=text, page=None, occurred=now))
            self._change(full=True)
        elif disk.free > _ROOM_AGAIN * least and self._outbox.disk_was_full:
            self._change(full=False)

    def _change(self, *, full: bool) -> None:
        self._outbox.disk_was_full = full
        self._outbox.save()
