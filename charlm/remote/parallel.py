"""Do something to many objects of a store at once."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

TRANSFERS_AT_ONCE = 8
R = TypeVar("R")
T = TypeVar("T")


def in_parallel(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """The results for all items in their order; the first error cancels what has not begun."""
    with ThreadPoolExecutor(TRANSFERS_AT_ONCE, thread_name_prefix="charlm-transfer") as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
