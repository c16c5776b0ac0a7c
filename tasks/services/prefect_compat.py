"""What we use of Prefect that is not part of its documented API; written for Prefect 3.8.

A new release may rename any of it: `SYMBOLS` and `SETTINGS` are checked by tests/tasks/services/test_compat.py.
"""

import asyncio
import functools
import gc
import logging
import os
import ssl
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any

SERVER_APP = "prefect.server.api.server:create_app"
"""The factory of the server, for uvicorn."""
LEASES_ON_DISK = "prefect.server.concurrency.lease_storage.filesystem"
"""Keeps the leases of concurrency slots over a restart of the server."""
SYMBOLS = (
    SERVER_APP,
    f"{LEASES_ON_DISK}:ConcurrencyLeaseStorage",
    "prefect.context:refresh_global_settings_context",
    "prefect.events.worker:EventsWorker.drain_all",
    "prefect.logging.configuration:setup_logging",
    "prefect.logging.handlers:APILogWorker.drain_all",
    "prefect.logging.loggers:flow_run_logger",
    "prefect.logging.loggers:task_run_logger",
    "prefect.client.orchestration:SyncPrefectClient.raise_for_api_version_mismatch",
    "prefect.client.orchestration:SyncPrefectClient.read_events_page",
    "prefect.client.orchestration:SyncPrefectClient.request",
    "prefect.client.schemas.objects:FlowRun.infrastructure_pid",
    "prefect.server.utilities.messaging.memory:METRICS",
    "prefect.workers.base:BaseJobConfiguration._base_environment",
    "prefect.workers.base:BaseWorker._give_worker_labels_to_flow_run",
    "prefect.workers.base:BaseWorker._submit_scheduled_flow_runs",
)
"""`module:name` of every such object."""
SETTINGS = (
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_BLOCKS_REGISTER_ON_START",
    "PREFECT_API_URL",
    "PREFECT_CLIENT_MAX_RETRIES",
    "PREFECT_CLIENT_RETRY_EXTRA_CODES",
    "PREFECT_CLIENT_RETRY_JITTER_FACTOR",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY",
    "PREFECT_HOME",
    "PREFECT_LOGGING_EXTRA_LOGGERS",
    "PREFECT_SERVER_ANALYTICS_ENABLED",
    "PREFECT_SERVER_API_AUTH_STRING",
    "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_DATABASE_TIMEOUT",
    "PREFECT_SERVER_LOGGING_LEVEL",
    "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_LOOP_SECONDS",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_LOOP_SECONDS",
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS",
    "PREFECT_SERVER_UI_API_URL",
    "PREFECT_UI_ENABLED",
)
"""The settings that we write; Prefect would ignore one that it has renamed."""
CONSOLE_LEVEL = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"
"""Not a setting: it overrides handlers.console.level of Prefect's logging.yml."""

_DRAIN_SECONDS = 10.0
_RECORD_SECONDS = 45.0
_START_SECONDS = 30.0
_GARBAGE_SECONDS = 1.0
_YOUNG_COLLECTIONS = 300  # looks at young objects between two at all of them
_MANY_OBJECTS = 20_000  # made since the last collection, as get_count counts


def temporary_server_variables() -> dict[str, str]:
    """How a server of Prefect 3.8 learns that it is temporary, alone in its process, and has no UI."""
    return {
        "PREFECT_UI_ENABLED": "0",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",  # our flows use no blocks
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # the servers of other commands write to it too
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
    }


def reload_settings() -> None:
    """Let Prefect, where it is loaded, read its variables again, and send logs and events to the server they name.

    Prefect reads them when it is imported, and keeps one connection for logs and one for events per process.
    """
    if "prefect.context" not in sys.modules:
        return
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging

    send_what_waits()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a workspace that does not exist yet, and holds Prefect's folder later
        refresh_global_settings_context()
    setup_logging(incremental=False)


def send_what_waits() -> None:
    """Send the logs and events that wait in this process, and end the connections for them."""
    if "prefect.context" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=_DRAIN_SECONDS)
    EventsWorker.drain_all(timeout=_DRAIN_SECONDS)


async def record_what_waits() -> None:
    """In a server that ends: wait until its services have recorded the events that it has received.

    Prefect 3.8 cancels them at once, and the last tasks of a flow run would stay pending for ever.
    """
    from prefect.server.utilities.messaging.memory import METRICS

    deadline = time.monotonic() + _RECORD_SECONDS
    while any(topic["consumed"] < topic["published"] for topic in METRICS.values()) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)


def prefect_server_variables() -> list[str | None]:
    """The variables that choose Prefect's server and database, and open it, as they are now."""
    return [os.environ.get(f"PREFECT_{name}") for name in ("API_URL", "API_AUTH_STRING", "HOME")]


def skip_runs_in_progress(is_leaving: threading.Event) -> None:
    """Let a worker leave a run that it is to start for later while it still waits for the last process of this run.

    A run that is suspended ends its process in a few seconds. Prefect 3.8 ends the whole worker, with `this borrower is
    already holding one of this CapacityLimiter's tokens`, where the run is resumed within that time.

    When `is_leaving` is set, all runs are left to other workers. Prefect has no other way to let a worker take no more
    runs and report how those end that it has: on SIGTERM it kills them, and they stay `Running`.
    """
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import WorkerFlowRunResponse
    from prefect.workers.base import BaseWorker

    submit = BaseWorker._submit_scheduled_flow_runs

    async def submit_others(worker: Any, flow_run_response: list[WorkerFlowRunResponse]) -> list[FlowRun]:
        if is_leaving.is_set():
            return []
        held = set() if worker._limiter is None else set(worker._limiter.statistics().borrowers)
        return await submit(worker, [found for found in flow_run_response if found.flow_run.id not in held])

    BaseWorker._submit_scheduled_flow_runs = submit_others  # type: ignore[method-assign, assignment]


def hand_on_variables(names: Sequence[str]) -> None:
    """Let the containers that a worker starts have its variables of these names besides Prefect's.

    A name that ends with `_` is a prefix. They would be in the job variables of deployments otherwise, which everybody
    reads who opens the page of the server. The folder of the worker's Prefect is none of a container.
    """
    from prefect.workers.base import BaseJobConfiguration

    settings = BaseJobConfiguration._base_environment.__func__  # type: ignore[attr-defined]

    def base_environment(cls: type[BaseJobConfiguration]) -> dict[str, str]:
        found = {
            name: value
            for name, value in os.environ.items()
            if any(name == wanted or (wanted.endswith("_") and name.startswith(wanted)) for wanted in names)
        }
        given = {name: value for name, value in settings(cls).items() if name != "PREFECT_HOME"}
        return {**given, **found}

    BaseJobConfiguration._base_environment = classmethod(base_environment)  # type: ignore[method-assign, assignment]


def read_certificates_once() -> None:
    """Let all clients of this process share what they know of certificates.

    `prefect deploy` makes forty clients, and each would read all certificates again, which takes 60 ms.
    """
    ssl.create_default_context = functools.cache(ssl.create_default_context)  # type: ignore[assignment]


def flow_run_page() -> str | None:
    """The page of the flow run that this process was started for by a worker; none elsewhere."""
    run, api = os.environ.get("PREFECT__FLOW_RUN_ID"), os.environ.get("PREFECT_API_URL")
    return f"{api.removesuffix('/api')}/runs/flow-run/{run}" if run and api else None


class _MistakeFilter(logging.Filter):
    """Leaves out what the log of a run has of errors of a kind, but for the final state of the flow run."""

    def __init__(self, kind: type[Exception]) -> None:
        super().__init__()
        self._kind = kind
        self._failed: set[str] = set()  # task runs

    def filter(self, record: logging.LogRecord) -> bool:
        task_run = getattr(record, "task_run_id", None)
        ends_failed = record.msg.startswith("Finished in state Failed")
        if record.exc_info and isinstance(record.exc_info[1], self._kind):
            self._failed.add(str(task_run))
            return False
        if task_run is None and ends_failed:
            record.levelno, record.levelname = logging.ERROR, "ERROR"
        return not (ends_failed and str(task_run) in self._failed)


def log_without_traceback(kind: type[Exception]) -> None:
    """Let an error of this kind be one line in the log of a flow run: its final state.

    Prefect 3.8 logs every exception with its traceback, once for the task and once for each flow above it.
    """
    for name in ("prefect.task_runs", "prefect.flow_runs"):
        logger = logging.getLogger(name)
        if not any(isinstance(known, _MistakeFilter) for known in logger.filters):
            logger.addFilter(_MistakeFilter(kind))


def collect_garbage_beside() -> None:
    """Have a thread of its own collect the garbage of this process, which is a server with a database in SQLite.

    SQLAlchemy leaves cursors of failed statements open. One that is collected waits until its connection is free; the
    connection may wait for the only writer of the database, and the writer for the event loop. Where that is what
    collects, all stand still until the timeout of the database: a minute at one of fifteen first starts (Prefect 3.8).
    """
    gc.disable()
    threading.Thread(target=_collect_garbage, name="garbage", daemon=True).start()


def _collect_garbage() -> None:
    time.sleep(_START_SECONDS)
    gc.collect()
    gc.freeze()  # what is there after the start stays; collections look at what came later
    while True:
        for _ in range(_YOUNG_COLLECTIONS):
            time.sleep(_GARBAGE_SECONDS)
            if gc.get_count()[0] > _MANY_OBJECTS:
                gc.collect(1)
        gc.collect()
