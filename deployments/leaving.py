"""End the flow runs of workers that are about to be stopped, truly: crashed, with a checkpoint; or hand them over.

Prefect's workers kill their runs when they are stopped, and the runs stay `Running` until heartbeats are missed.
"""

import time
from collections.abc import Iterable
from contextlib import suppress

import psutil

from charlm.artifacts import ServiceFiles
from deployments.machines import online_workers
from deployments.work_pools import LEAVE_SIGNAL
from tasks.services.own_service import running
from tasks.services.rest import Server

_CHECKPOINT_SECONDS = 60.0
_REPORT_SECONDS = 5.0
"""For the workers, to report how their runs have ended."""
_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"
"""The variable by which the process of a flow run knows which one it executes."""


def end_runs(names: Iterable[str], files: ServiceFiles) -> list[str]:
    """End the flow runs of these workers, which take no more and report their end; the ids of the runs."""
    runs: dict[str, psutil.Process] = {}
    for worker in filter(None, (running(name, files) for name in names)):
        with suppress(psutil.NoSuchProcess):
            worker.send_signal(LEAVE_SIGNAL)
            for child in worker.children():
                with suppress(psutil.NoSuchProcess, KeyError):
                    runs[child.environ()[_RUN_VARIABLE]] = child
    for process in runs.values():
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(list(runs.values()), timeout=_CHECKPOINT_SECONDS)
    if runs:
        time.sleep(_REPORT_SECONDS)
    return list(runs)


def hand_over(server: Server, runs: Iterable[str]) -> int:
    """Schedule those of `runs` again that were ended, and that a worker of another machine can take; their number."""
    num_scheduled = 0
    for run in runs:
        found = server.get(f"/flow_runs/{run}")
        if found["state"]["type"] == "CRASHED" and online_workers(server, found["work_pool_name"]):
            state = {"type": "SCHEDULED", "message": "its machine has left; another one resumes it"}
            server.post(f"/flow_runs/{run}/set_state", {"state": state, "force": True})
            num_scheduled += 1
    return num_scheduled
