"""Messages to people about what happens in the service, for a webhook: each once, also when its receiver was away.

Reads and writes service/notifications.json    what waits, which events are known, whether the disk was nearly full
"""

import http.client
import json
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from charlm.storage.atomic import read_json, write_json

_SECONDS = 10
_GIVEN_UP_AFTER = timedelta(days=3)
_SLACK = "hooks.slack.com"  # which takes the text alone


@dataclass(frozen=True, kw_only=True)
class Message:
    """What the receiver gets, as JSON."""

    id: str
    """The same when the message is sent again, because the answer to it was lost."""
    kind: str
    """`failed`, `crashed`, `promoted`, `refused`, `waiting` or `disk`."""
    text: str
    """One sentence; chats show it."""
    page: str | None
    """Where to read more."""
    occurred: str


class Outbox:
    """The messages that wait to be sent, on disk."""

    def __init__(self, path: Path, url: str, log: Callable[[str], None]) -> None:
        self._path, self._url, self._log = path, url, log
        stored: dict[str, Any] = {}
        if path.is_file():
            stored = read_json(path, remedy="delete it; what it holds is not sent")
        self.began: str = stored.get("began") or datetime.now(UTC).isoformat()
        """When there was a receiver for the first time: what occurred before is not reported."""
        self.since: str = stored.get("since") or self.began
        """The moment of the newest event that is known."""
        self.known: dict[str, str] = stored.get("known", {})
        """Events that were looked at, with their moment."""
        self.disk_was_full: bool = stored.get("disk_was_full", False)
        self._waiting = [Message(**message) for message in stored.get("waiting", [])]
        self.save()

    def put(self, message: Message) -> None:
        """Add a message to those that wait; `save` keeps it."""
        self._waiting.append(message)

    def save(self) -> None:
        """Write everything to the file."""
        waiting = [asdict(message) for message in self._waiting]
        state = {"began": self.began, "since": self.since, "known": self.known}
        write_json(self._path, state | {"disk_was_full": self.disk_was_full, "waiting": waiting})

    def send(self) -> None:
        """Send what waits, oldest first; raises OSError at the first message that the receiver does not take."""
        while self._waiting:
            message = self._waiting[0]
            try:
                self._post(message)
            except OSError:
                if datetime.fromisoformat(message.occurred) > datetime.now(UTC) - _GIVEN_UP_AFTER:
                    raise
                self._log(f"! given up after {_GIVEN_UP_AFTER.days} days: {message.text}")
            self._waiting.pop(0)
            self.save()

    def _post(self, message: Message) -> None:
        host = urlsplit(self._url).hostname or ""
        body = {"text": message.text} if host == _SLACK else asdict(message)
        request = urllib.request.Request(
            self._url, json.dumps(body).encode(), {"Content-Type": "application/json", "Idempotency-Key": message.id}
        )
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as response:
                response.read()
        except (OSError, http.client.HTTPException) as error:
            # Its path may be a secret.
            raise ConnectionError(f"the receiver of notifications at {host} takes no messages: {error}") from error
