"""End a process when its parent has died, for whatever reason."""

import os
import threading
import time
from collections.abc import Callable
from typing import NoReturn

PARENT_VARIABLE = "CHARLM_PARENT_PID"
"""Id of the process to end with; the parent's own when the variable is not set."""
_GRACE_SECONDS = 30.0


def end_with_parent(request_stop: Callable[[], None]) -> None:
    """Call `request_stop` when the parent has died, and end the process 30 seconds later if it is still there."""
    parent = int(os.environ.get(PARENT_VARIABLE) or os.getppid())

    def watch() -> NoReturn:
        while os.getppid() == parent:
            time.sleep(0.5)
        request_stop()
        time.sleep(_GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
