"""Start the processes that train one model, through torch's launcher, and end as they end.

They say themselves what a user can mend; this process says which of them was lost otherwise.
"""

import logging
import os
import signal
import sys
import tempfile
import uuid

from charlm.artifacts import RunFiles
from charlm.distributed.watchdog import PARENT_VARIABLE, end_with_parent
from charlm.trainers.lm.manifest import RunManifest

USER_MISTAKE = 2
_INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


def launch(run: RunFiles, *, resume: bool, num_processes: int) -> int:
    """Train `run` with so many processes on this machine; the exit code of `python -m charlm.trainers.run`.

    SIGINT and SIGTERM are handed on: the processes write a checkpoint first. It never restarts anything.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable()  # the launcher's own account of a failure is forty lines long
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
        rank, code = next(iter(codes.items()))
        end = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return _lost(f"process {rank + 1} of {num_processes} of the training in {run.root} was ended {end}")
    if RunManifest.load(run).state != "finished":
        return _lost(f"the processes of the training in {run.root} have lost each other")
    return 0


def _lost(what: str) -> int:
    print(f"error: {what}; --resume goes on from the last checkpoint", file=sys.stderr)
    return 1
