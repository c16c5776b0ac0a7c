"""Mark flow runs as crashed whose process and worker are gone: they have stopped to send heartbeats, or never begun.

An automation of Prefect could do that, but a heartbeat that the server receives after the end of a run makes it fire
for a run that has completed, and it knows nothing of runs that are suspended.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from charlm.storage.atomic import JsonObject
from deployments.machines import WORKER_LABEL, online_workers
from deployments.pages import all_pages
from deployments.settings import CPU_POOL, GPU_POOL, HEARTBEAT_SECONDS
from deployments.work_pools import PROCESS
from tasks.services.rest import Server

# As long as Prefect 3.8 keeps the slot of a run without heartbeats. With three heartbeats a server that was away for 90
# seconds marked all runs as lost when it was back, and gave their slots away, which ended those that were alive.
LOST_AFTER_SECONDS = 10 * HEARTBEAT_SECONDS
_MESSAGE = f"no heartbeat for {LOST_AFTER_SECONDS} seconds: its process or its machine is gone"
_HEARTBEAT = "prefect.flow-run.heartbeat"
_WORKER_TYPE = "prefect.worker.type"
"""The label by which Prefect says what kind of worker has taken a run."""


class LostRunsWatch:
    """Looks at the runs that should be running; those without any heartbeat, as from a terminal, are left."""

    seconds = 60.0

    def __init__(
        self, prefect: Server, log: Callable[[str], None], *, lost_after_seconds: float = LOST_AFTER_SECONDS
    ) -> None:
        self._prefect, self._log = prefect, log
        self._lost_after = timedelta(seconds=lost_after_seconds)
        self._answers_since: float | None = None

    def look(self) -> None:
        """Mark runs as crashed whose last heartbeat is old, while the server has been there to receive newer ones."""
        try:
            running = list(all_pages(self._running))
        except OSError:
            self._answers_since = None
            raise
        now = time.monotonic()
        self._answers_since = self._answers_since or now
        if timedelta(seconds=now - self._answers_since) < self._lost_after:
            return
        oldest = datetime.now(UTC) - self._lost_after
        for run in running:
            if _since(run) > oldest:
                continue
            last = self._last_heartbeat(run)
            if last is not None and last < oldest:
                self._mark(run, _MESSAGE)
        self._end_what_never_began(oldest)

    def _end_what_never_began(self, oldest: datetime) -> None:
        """Mark runs as crashed that a worker has taken, and that it cannot begin any more, because it is gone.

        While the worker is there it decides: an image that is pulled takes longer than any number here. What was given
        to a cluster begins without the worker.
        """
        waiting = [run for run in all_pages(self._pending) if _since(run) < oldest and WORKER_LABEL in run["labels"]]
        if not waiting:
            return
        workers = online_workers(self._prefect, CPU_POOL, GPU_POOL)
        for run in waiting:
            is_beside_worker = run["labels"].get(_WORKER_TYPE) == PROCESS or run["infrastructure_pid"] is None
            if is_beside_worker and run["labels"][WORKER_LABEL] not in workers:
                self._mark(run, f"its worker {run['labels'][WORKER_LABEL]} is gone, and it has not begun")

    def _mark(self, run: dict[str, Any], message: str) -> None:
        state = {"type": "CRASHED", "message": message}
        self._prefect.post(f"/flow_runs/{run['id']}/set_state", {"state": state, "force": False})
        self._log(f"{run['name']} has crashed: {message}")

    def _running(self, *, limit: int, offset: int) -> list[JsonObject]:
        return self._of_type("RUNNING", limit, offset)

    def _pending(self, *, limit: int, offset: int) -> list[JsonObject]:
        return self._of_type("PENDING", limit, offset)

    def _of_type(self, name: str, limit: int, offset: int) -> list[JsonObject]:
        wanted = {"flow_runs": {"state": {"type": {"any_": [name]}}}, "sort": "START_TIME_ASC"}
        return self._prefect.find("/flow_runs/filter", wanted | {"limit": limit, "offset": offset})

    def _last_heartbeat(self, run: dict[str, Any]) -> datetime | None:
        found = self._prefect.post(
            "/events/filter",
            {
                "filter": {
                    "event": {"name": [_HEARTBEAT]},
                    "resource": {"id": [f"prefect.flow-run.{run['id']}"]},
                    "order": "DESC",
                },
                "limit": 1,
            },
        )["events"]
        return datetime.fromisoformat(found[0]["occurred"]) if found else None


def _since(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["state"]["timestamp"])
