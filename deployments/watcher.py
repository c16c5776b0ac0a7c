"""The watcher: the program of the service that looks for what nobody reports, and acts only where there is something.

It looks at the inbox, the flow runs, the machines, the corpora and the champions, each at its own pace, and reaches
both servers without their client libraries. With CHARLM_NOTIFY it sends messages about what happens. What it cannot
look at, because a server is not available, it looks at later.

Usage: python -m deployments.watcher    (with the variables of a worker)
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from charlm.errors import CharLMError
from deployments.notifications import Outbox
from deployments.settings import ServiceSettings
from deployments.watch_champions import ChampionsWatch
from deployments.watch_corpora import CorpusChoices
from deployments.watch_events import DiskWatch, EventsWatch
from deployments.watch_inbox import InboxWatch
from deployments.watch_machines import MachinesWatch
from deployments.watch_runs import LostRunsWatch
from tasks.services.environment import ask_loopback_directly
from tasks.services.rest import mlflow_server, prefect_server

_PAUSE_SECONDS = 1.0
_SEND_SECONDS = 10.0


@dataclass
class Watch:
    """Something to look at, again and again; a look that fails is reported once, and its recovery too."""

    name: str
    seconds: float
    """From one look to the next."""
    look: Callable[[], None]
    _next: float = field(default=0.0, init=False)
    _trouble: str | None = field(default=None, init=False)

    def look_when_due(self, now: float) -> None:
        if now < self._next:
            return
        self._next = now + self.seconds
        try:
            self.look()
            trouble = None
        except (CharLMError, OSError) as error:
            trouble = " ".join(str(error).split())
        except Exception as error:  # a fault in one watch must not end the others
            trouble = " ".join(f"{type(error).__name__}: {error}".split())
        if trouble != self._trouble:
            log(f"! {self.name}: {trouble}; it is tried again" if trouble else f"{self.name}: works again")
        self._trouble = trouble


def log(line: str) -> None:
    """Write a line with the time to the log of the watcher."""
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}  {line}", flush=True)


def watches(settings: ServiceSettings) -> list[Watch]:
    """Everything that is looked at in the service."""
    workspace, prefect, mlflow = settings.open_workspace(log), prefect_server(), mlflow_server()
    inbox, lost = InboxWatch(workspace, prefect, log), LostRunsWatch(prefect, log)
    machines = MachinesWatch(replace(prefect, attempts=3), log)  # it writes, and SQLite may be busy
    champions, choices = ChampionsWatch(prefect, mlflow, log), CorpusChoices(workspace, prefect)
    watched = [
        Watch("the inbox", inbox.seconds, inbox.look),
        Watch("the champions", champions.seconds, champions.look),
        Watch("the choices of forms", choices.seconds, choices.look),
        Watch("runs without a heartbeat", lost.seconds, lost.look),
        Watch("the machines", machines.seconds, machines.look),
    ]
    if settings.notify is not None:
        outbox = Outbox(settings.workspace.service.notifications, settings.notify, log)
        events = EventsWatch(prefect, os.environ["MLFLOW_TRACKING_URI"], outbox)
        disk = DiskWatch(workspace, outbox)
        watched += [
            Watch("the events", events.seconds, events.look),
            Watch("the disk", disk.seconds, disk.look),
            Watch("notifications", _SEND_SECONDS, outbox.send),
        ]
    return watched


def run(watched: Sequence[Watch]) -> None:
    """Look at everything, until the process is ended."""
    while True:
        for watch in watched:
            watch.look_when_due(time.monotonic())
        time.sleep(_PAUSE_SECONDS)


def main() -> None:
    ask_loopback_directly()
    settings = ServiceSettings.from_environment(os.environ)
    log(f"watches the workspace {settings.place}")
    run(watches(settings))


if __name__ == "__main__":
    main()
