"""Correct what the service believes to have, when machines come and go without a word."""

from collections.abc import Callable

from deployments.machines import follow_workers, place_trainings
from tasks.services.rest import Server


class MachinesWatch:
    """Looks at which workers are online: those of a machine that was lost are not, after three missing heartbeats."""

    seconds = 30.0

    def __init__(self, prefect: Server, log: Callable[[str], None]) -> None:
        self._prefect, self._log = prefect, log

    def look(self) -> None:
        """Let the limits of the server, and where trainings go, follow the workers that are online."""
        for line in place_trainings(self._prefect, may_leave_gpus=False) + follow_workers(self._prefect):
            self._log(line)
