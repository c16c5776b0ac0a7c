"""`prefect worker start`, for runs that are suspended and resumed.

Usage: python deployments/worker.py worker start --pool NAME ...    (as of Prefect's own command)
"""

import os
import signal
import sys
import threading
from pathlib import Path

# A script has its own folder here, whose files have common names. What the worker starts does not inherit this.
sys.path[0] = str(Path(__file__).absolute().parent.parent)

from charlm.distributed.watchdog import PARENT_VARIABLE, end_with_parent  # noqa: E402
from deployments.work_pools import HANDED_ON, LEAVE_SIGNAL, PROCESS  # noqa: E402
from tasks.services.prefect_compat import hand_on_variables, skip_runs_in_progress  # noqa: E402


def main() -> None:
    if os.environ.pop(PARENT_VARIABLE, None):  # the machine's `charlm worker`; its death is the end of this one
        end_with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
    is_leaving = threading.Event()
    signal.signal(LEAVE_SIGNAL, lambda signum, frame: is_leaving.set())
    skip_runs_in_progress(is_leaving)
    if os.environ.get("CHARLM_WORK_POOL_TYPE", PROCESS) != PROCESS:
        hand_on_variables(HANDED_ON)
    from prefect.cli import app

    app()


if __name__ == "__main__":
    main()
