"""Send the checkpoints of a training to the object store of its workspace, while it goes on.

A thread looks every second whether there is a new checkpoint, and sends the run folder as it is then: the training
never waits for the store. Where the store does not answer, the training continues, and what has not been sent is sent
when it does, or by the next command that names the run.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from charlm.artifacts import TrainingFiles, Workspace
from charlm.errors import StoreError
from charlm.remote.workspace import RemoteWorkspace, push
from tasks.terminal import terminal

_LOOK_SECONDS = 1.0
_SECONDS_AFTER_FAILURE = 15.0


@contextmanager
def pushing(workspace: Workspace, run: TrainingFiles) -> Iterator[None]:
    """Send every checkpoint of `run` during the block, and what it has become at the end.

    Does nothing for a workspace on this machine. Raises StoreError where the end cannot be sent; if the block raises,
    that error goes first.
    """
    if not isinstance(workspace, RemoteWorkspace):
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=_keep_pushing, args=(workspace, run, stop), name="charlm-push", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        stop.set()
        thread.join()
        if run.checkpoint.is_file():
            _try_to_push(workspace, run)
        raise
    stop.set()
    thread.join()
    push(workspace, run.root)


def _keep_pushing(workspace: Workspace, run: TrainingFiles, stop: threading.Event) -> None:
    pushed, seconds = 0, _LOOK_SECONDS
    while not stop.wait(seconds):
        seconds = _LOOK_SECONDS
        saved = run.checkpoint.stat().st_mtime_ns if run.checkpoint.is_file() else 0
        if saved > pushed:
            if _try_to_push(workspace, run):
                pushed = saved
            else:
                seconds = _SECONDS_AFTER_FAILURE


def _try_to_push(workspace: Workspace, run: TrainingFiles) -> bool:
    try:
        push(workspace, run.root)
    except StoreError as error:
        terminal.print_line(f"! {run.root.name}: its newest checkpoint is on this machine alone: {error}")
        return False
    return True
