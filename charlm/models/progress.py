"""A progress bar on stderr for the batches of a prediction."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")
_SECONDS = 0.1
_WIDTH = 30


def progress_bar(batches: Iterable[_T], *, total: int) -> Iterator[_T]:
    """The same batches; a line on stderr shows how many of `total` are done."""
    last = 0.0
    for number, batch in enumerate(batches, 1):
        yield batch
        if time.monotonic() - last > _SECONDS or number == total:
            last = time.monotonic()
            filled = _WIDTH * min(number, total) // max(total, 1)
            sys.stderr.write(f"\rpredict [{'#' * filled}{'.' * (_WIDTH - filled)}] {number}/{total} batches")
            sys.stderr.flush()
    if last:
        sys.stderr.write("\n")
