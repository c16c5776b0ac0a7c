"""Keep the memory that one training step frees for the next one.

glibc takes large blocks from the operating system each time and gives them back when they are freed, so every step of a
training on a CPU pays again for fresh pages: a tenth to a third of its time (docs/lab-notebook.md).
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = -1
_MEGABYTE = 1 << 20


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Let this process keep what it frees until the end, when all of it is given back.

    Numbers stay the same. Does nothing without glibc, or where its variables say how memory is handled.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim") or _is_set_by_user():
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)  # no block comes from the operating system by itself
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        # The default, and what glibc comes to by itself as blocks are freed.
        libc.mallopt(_MMAP_MAX, 65_536)
        libc.mallopt(_MMAP_THRESHOLD, 32 * _MEGABYTE)
        libc.mallopt(_TRIM_THRESHOLD, 64 * _MEGABYTE)
        libc.malloc_trim(0)


def _is_set_by_user() -> bool:
    names = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    return any(name in os.environ for name in names) or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")
