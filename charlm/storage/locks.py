"""Locks between processes, held on a file and released by the system when the holder ends."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from charlm.errors import RunError


@contextmanager
def exclusive_lock(path: Path, *, busy: str | None, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold `path` alone for the block; raises RunError with the text `busy` when another process holds it.

    Without such a text it waits for its turn, after calling `on_wait`.

    The kernel frees the lock when the process ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if busy is not None:
                raise RunError(busy) from None
            if on_wait is not None:
                on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
