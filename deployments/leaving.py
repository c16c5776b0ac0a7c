"""End the flow runs of workers that are about to be stopped, so that they end truly: crashed, with a checkpoint.

Prefect's workers kill their runs when they are stopped, and the runs stay `Running` until heartbeats are missed.
"""

import time
from collections.abc import Iterable
from contextlib import suppress

import psutil

from charlm.artifacts import ServiceFiles
from deployments.work_pools import LEAVE_SIGNAL
from tasks.services.own_service import running

_CHECKPOINT_SECONDS = 60.0
_REPORT_SECONDS = 5.0
"""For the workers, to report how their runs have ended."""


def end_runs(names: Iterable[str], files: ServiceFiles) -> int:
    """End the flow runs of these workers, which take no more and report their end; how many there were."""
    runs = []
    for worker in filter(None, (running(name, files) for name in names)):
        with suppress(psutil.NoSuchProcess):
            worker.send_signal(LEAVE_SIGNAL)
            runs += worker.children()
    for run in runs:
        with suppress(psutil.NoSuchProcess):
            run.terminate()
    psutil.wait_procs(runs, timeout=_CHECKPOINT_SECONDS)
    if runs:
        time.sleep(_REPORT_SECONDS)
    return len(runs)
