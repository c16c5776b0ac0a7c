"""Prefect's tasks as the workers of a split: they read raw text for the one process that takes it in order."""

import inspect
import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from charlm.text.corpus import groups, measuring
from charlm.text.corpus.groups import Awaited, GroupRequest, ReadSource, Workers
from charlm.text.corpus.measuring import MeasuredFiles

_GROUPS_AHEAD = 8
"""Groups of sources that tasks read beyond the one that is taken, on however many workers a cluster has."""

P = ParamSpec("P")
R = TypeVar("R")


@task(task_run_name="read {request.title}", cache_policy=NO_CACHE)
def read_group(request: GroupRequest) -> dict[int, ReadSource]:
    """Read some sources of a split, for the process that takes their documents in order."""
    return groups.read_group(request)


@task(task_run_name="measure {files.title}", cache_policy=NO_CACHE)
def measure_files(files: MeasuredFiles) -> list[tuple[str, int]]:
    """The digests of files of a split, and the numbers of their characters."""
    return measuring.measure_files(files)


_TASKS: dict[Callable[..., Any], Any] = {groups.read_group: read_group, measuring.measure_files: measure_files}


def workers_of(runner: TaskRunner[Any]) -> Workers | None:
    """The workers of a task runner; none for threads, which would share the interpreter of the one that waits."""
    return None if isinstance(runner, ThreadPoolTaskRunner) else _TaskWorkers(runner)


class _TaskWorkers:
    number = max(_GROUPS_AHEAD, len(os.sched_getaffinity(0)))

    def __init__(self, runner: TaskRunner[Any]) -> None:
        self._runner = runner

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Prefect sends the parameters of the task that splits along with each task that it submits."""
        return {}

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Awaited[R]:
        arguments = inspect.signature(function).bind(*args, **kwargs).arguments
        submitted: Awaited[R] = self._runner.submit(_TASKS[function], arguments)
        return submitted
