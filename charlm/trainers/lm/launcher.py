"""Start the processes that train one model, through torch's launcher, and end with their exit code.

The processes report a user's mistake themselves; this one reports which of them was lost.
"""

import logging
import os
import signal
import sys
import tempfile
import uuid

from charlm.artifacts import RunFiles
from charlm.distributed.group import PEER_TIMEOUT_VARIABLE, peer_timeout_minutes
from charlm.distributed.watchdog import PARENT_VARIABLE, end_with_parent
from charlm.trainers.lm.manifest import RunManifest

USER_MISTAKE = 2
PEER_LOST = 3
"""Exit code of a process whose peer has ended; the peer's own exit code gives the reason."""
PEER_SILENT = 4
"""Exit code of a process whose peer did not answer in time."""
_INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


def launch(run: RunFiles, *, resume: bool, num_processes: int) -> int:
    """Train `run` with `num_processes` processes on this machine; the exit code of `python -m charlm.trainers.run`.

    SIGINT and SIGTERM are passed on: the processes write a checkpoint first. A process that was lost is not restarted.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    peer_timeout_minutes()  # a wrong value is refused once, and not by every process
    logging.disable()  # the launcher's own report of a failure is forty lines long
    end_with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    command = ["-m", "charlm.trainers.run", str(run.manifest), *(["--resume"] if resume else [])]
    try:
        with tempfile.TemporaryDirectory(prefix="charlm-launch-") as folder:  # the launcher would leave its own behind
            config = LaunchConfig(
                min_nodes=1,
                max_nodes=1,
                nproc_per_node=num_processes,
                run_id=uuid.uuid4().hex,
                rdzv_backend="c10d",
                rdzv_endpoint="localhost:0",
                max_restarts=0,
                logs_specs=DefaultLogsSpecs(log_dir=folder),
            )
            elastic_launch(config, sys.executable)(*command)
    except SignalException as stopped:
        return 128 + stopped.sigval
    except ChildFailedError as failed:
        codes = {rank: failure.exitcode for rank, failure in failed.failures.items()}
        for code in (USER_MISTAKE, *_INTERRUPTED):
            if code in codes.values():
                return code
        if PEER_SILENT in codes.values():
            return _report_loss(
                f"a process of the training in {run.root} has not answered the others for "
                f"{peer_timeout_minutes():g} minutes ({PEER_TIMEOUT_VARIABLE})"
            )
        lost = {rank: code for rank, code in codes.items() if code != PEER_LOST}
        if not lost:
            return _report_loss(f"the processes of the training in {run.root} have lost their connection")
        rank, code = next(iter(lost.items()))
        end = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return _report_loss(f"process {rank + 1} of {num_processes} of the training in {run.root} was ended {end}")
    if RunManifest.load(run).state != "finished":
        return _report_loss(f"the processes of the training in {run.root} ended before the training did")
    return 0


def _report_loss(what: str) -> int:
    print(f"error: {what}; --resume goes on from the last checkpoint", file=sys.stderr)
    return 1
