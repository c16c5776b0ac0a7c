"""Locks between processes, held on a file and released by the system when the holder ends."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import lock_descriptor

from charlm.errors import RunError


@contextmanager
def exclusive_lock(path: Path, *, busy: str | None, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold `path` alone for the block.

    When another process holds it, raises RunError with the text `busy`. If that is None, calls `on_wait` and waits.

    The kernel releases the lock when the process ends, however it ends.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            if not lock_descriptor(file.fileno(), blocking=False):
                if busy is not None:
                    raise RunError(busy)
                if on_wait is not None:
                    on_wait()
                    on_wait = None
                lock_descriptor(file.fileno())
            if _is_still(file, path):  # else its holder has removed it, and another process may hold a new one
                yield
                return


def remove_lock(path: Path) -> None:
    """Delete a lock file that no process holds; leave it where one does.

    A process that waited for it locks a new file of that name.
    """
    if path.exists():
        with path.open("ab") as file:
            if lock_descriptor(file.fileno(), blocking=False) and _is_still(file, path):
                path.unlink()


def _is_still(file: BinaryIO, path: Path) -> bool:
    """True when an open file is the one that has the name `path` now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
