"""Keep the memory that one step of some work frees for the next step.

glibc takes large blocks from the operating system each time and gives them back when they are freed, so every step of a
training on a CPU, and every chunk of a text, pays again for fresh pages: a tenth to a third of the time
(docs/lab-notebook.md).
"""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = -1
_MEGABYTE = 1 << 20

_lock = threading.Lock()
_num_users = 0


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Let this process keep what it frees until the end, when all of it is given back.

    Results stay the same. It may be used inside another use, and by several threads; the last one to end gives the
    memory back. Does nothing without glibc, or where its environment variables configure malloc.
    """
    libc = _glibc()
    if libc is None or _is_set_by_user():
        yield
        return
    _count_user(libc, 1)
    try:
        yield
    finally:
        _count_user(libc, -1)


def give_back_freed_memory() -> None:
    """Give back what `keep_freed_memory` has kept so far, before work of another kind needs blocks of other sizes.

    Otherwise the two would fill the gaps that the other leaves with small blocks, and memory would grow with both.
    """
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def peak_memory_bytes() -> int:
    """The most memory that this process has held so far; 0 where the system does not count it, as Windows."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts kB


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process, where it is glibc."""
    libc = None if os.name == "nt" else ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") else None


def _count_user(libc: ctypes.CDLL, change: int) -> None:
    global _num_users
    with _lock:
        was_used, _num_users = _num_users > 0, _num_users + change
        if not was_used:
            libc.mallopt(_MMAP_MAX, 0)  # no block comes from the operating system by itself
            libc.mallopt(_TRIM_THRESHOLD, _NEVER)
        elif not _num_users:
            # The default, and what glibc comes to by itself as blocks are freed.
            libc.mallopt(_MMAP_MAX, 65_536)
            libc.mallopt(_MMAP_THRESHOLD, 32 * _MEGABYTE)
            libc.mallopt(_TRIM_THRESHOLD, 64 * _MEGABYTE)
            libc.malloc_trim(0)


def _is_set_by_user() -> bool:
    names = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    return any(name in os.environ for name in names) or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")
