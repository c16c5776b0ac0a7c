"""Correct what the service believes to have, when machines come and go without a word."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from deployments.machines import follow_workers, forget_workers, place_trainings, workers_of
from deployments.settings import CPU_POOL, GPU_POOL
from tasks.services.rest import Server


class MachinesWatch:
    """Looks at which workers are online: those of a machine that was lost are not, after three missing heartbeats."""

    seconds = 30.0
    remembered = timedelta(days=1)
    """Workers that have been offline for longer are removed: each container has a host name of its own."""

    def __init__(self, prefect: Server, log: Callable[[str], None]) -> None:
        self._prefect, self._log = prefect, log

    def look(self) -> None:
        """Let the limits of the server, and where trainings go, follow the workers that are online."""
        for line in place_trainings(self._prefect, may_leave_gpus=False) + follow_workers(self._prefect):
            self._log(line)
        oldest = datetime.now(UTC) - self.remembered
        for pool in (CPU_POOL, GPU_POOL):
            known = workers_of(self._prefect, pool)
            lost = [one["name"] for one in known if datetime.fromisoformat(one["last_heartbeat_time"]) < oldest]
            forget_workers(self._prefect, [(pool, name) for name in lost])
            for name in lost:
                self._log(f"{name} has been offline for a day; it is removed")
