"""Start the deployment `scan-inbox` when text has arrived in the inbox, and only then.

Reads  the inbox that is the deployment's parameter, and the memory of what was announced
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from charlm.artifacts import Workspace
from charlm.storage.fingerprints import fingerprint
from tasks.retraining.inbox import InboxFile, inbox_of, scan, unseen_files
from tasks.services.rest import Server

_DEPLOYMENT = "/deployments/name/charlm-scan-inbox/scan-inbox"
_SETTLE_SECONDS = 15.0


class InboxWatch:
    """Looks into the inbox; a file counts when it has not changed for the `settle_seconds` of the deployment."""

    seconds = 10.0

    def __init__(self, workspace: Workspace, prefect: Server, log: Callable[[str], None]) -> None:
        self._workspace, self._prefect, self._log = workspace, prefect, log
        self._since: dict[InboxFile, float] = {}
        self._misplaced: set[str] = set()
        self._started: str | None = None

    def look(self) -> None:
        """Start one run for the files that have settled; the same files again start none for the next hour."""
        deployment = self._prefect.get(_DEPLOYMENT)
        if deployment["paused"]:
            return
        parameters = deployment["parameters"]
        place = parameters.get("inbox") or inbox_of(self._workspace)
        files = unseen_files(self._workspace, scan(place, on_misplaced=self._report_misplaced))
        now = time.monotonic()
        self._since = {file: self._since.get(file, now) for file in files}
        wait = parameters.get("settle_seconds", _SETTLE_SECONDS)
        settled = [file for file in files if now - self._since[file] >= wait]
        if not settled:
            return
        # The server makes one run of a key. Without the hour, files whose announcement failed would wait for ever.
        key = fingerprint([f"{datetime.now(UTC):%Y-%m-%dT%H}", *sorted([file.address, file.stamp] for file in settled)])
        if key == self._started:
            return
        self._prefect.post(
            f"/deployments/{deployment['id']}/create_flow_run", {"idempotency_key": f"inbox {key}", "parameters": {}}
        )
        self._started = key
        self._log(f"the inbox {place} has {len(settled)} new files; scan-inbox starts")

    def _report_misplaced(self, path: str) -> None:
        if path not in self._misplaced:
            self._misplaced.add(path)
            self._log(f"! {path} is not in a folder; move it into the folder of its corpus")
