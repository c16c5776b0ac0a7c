"""Tasks as the workers of a split: they read raw text for the one process that takes it in order."""

import inspect
import os
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar, cast

from charlm.text.corpus.groups import Awaited

_GROUPS_AHEAD = 8
"""Groups of sources that tasks read beyond the one that is taken, on however many workers a cluster has."""

P = ParamSpec("P")
R = TypeVar("R")


class TaskWorkers:
    """Workers that are given tasks.

    Args:
        submit: gives a worker a task and its arguments by name.
        tasks: the task of each function.
    """

    groups_ahead = max(_GROUPS_AHEAD, len(os.sched_getaffinity(0)))
    are_here = False  # for all that is known

    def __init__(self, submit: Callable[..., Awaited[object]], tasks: Mapping[Callable[..., object], object]) -> None:
        self._submit, self._tasks = submit, tasks

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Prefect sends the parameters of the task that splits along with each task that it submits."""
        return {}

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Awaited[R]:
        arguments = inspect.signature(function).bind(*args, **kwargs).arguments
        return cast("Awaited[R]", self._submit(self._tasks[function], arguments))
