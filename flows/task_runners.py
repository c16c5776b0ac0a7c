"""Where the mapped tasks of a flow run: threads, processes, or a Dask cluster.

Prefect and Dask load only when a runner is opened, so that a mistake is reported before the wait for them.
"""

import os
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from charlm.errors import ConfigError, how_to_install
from flows.dask_cluster import check_cluster

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

    from charlm.artifacts import Workspace

TaskRunnerName = Literal["threads", "processes", "dask"]
DASK_ADDRESS_VARIABLE = "DASK_SCHEDULER_ADDRESS"  # which Dask itself reads


def check_task_runner(name: str) -> TaskRunnerName:
    """`name`; raises ConfigError for one that does not exist or is not installed."""
    names = typing.get_args(TaskRunnerName)
    if name not in names:
        raise ConfigError(f"task_runner is one of {', '.join(names)}; got {name!r}")
    if name == "dask" and find_spec("prefect_dask") is None:
        raise ConfigError(f"the task runner dask needs the package prefect-dask; {how_to_install('dask')}")
    return typing.cast(TaskRunnerName, name)


def check_workers_reach(workspace: "Workspace", name: TaskRunnerName) -> None:
    """Raise ConfigError where the workers are on other machines, and the files of the workspace on this one alone."""
    if name == "dask" and os.environ.get(DASK_ADDRESS_VARIABLE) and workspace.place != workspace.root:
        raise ConfigError(
            f"the workers at {DASK_ADDRESS_VARIABLE} cannot reach the cache of an object store on this machine;"
            " take the task runner processes, or unset it for workers on this machine"
        )


@contextmanager
def open_task_runner(name: TaskRunnerName, workspace: "Workspace") -> "Iterator[TaskRunner[Any]]":
    """A task runner with a worker per core; `dask` uses the cluster at DASK_SCHEDULER_ADDRESS where that is set.

    Raises ConfigError for a cluster whose workers do not reach the server or `workspace`.

    Workers in other processes report to the server that this process uses: without its address each of them would
    start a temporary server of its own on the same database.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with get_client(sync_client=True) as client:
        server = str(client.api_url).rstrip("/")
    if name == "dask" and (cluster := os.environ.get(DASK_ADDRESS_VARIABLE)):
        check_cluster(cluster, server, workspace.root)
    settings = {} if name == "threads" else {PREFECT_API_URL: server}
    with keep_environment(), temporary_settings(settings), _new_task_runner(check_task_runner(name)) as runner:
        yield runner


@contextmanager
def keep_environment() -> Iterator[None]:
    """Restore the environment after the block.

    A local Dask cluster leaves settings for its workers there: one thread, and memory that is returned at every step.
    The next training would inherit them.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _new_task_runner(name: TaskRunnerName) -> "TaskRunner[Any]":
    num_workers = len(os.sched_getaffinity(0))
    if name == "dask":
        from prefect_dask.task_runners import DaskTaskRunner

        if address := os.environ.get(DASK_ADDRESS_VARIABLE):
            return DaskTaskRunner(address=address)
        local = {"n_workers": num_workers, "threads_per_worker": 1, "dashboard_address": None}
        return DaskTaskRunner(cluster_kwargs=local)
    from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

    if name == "processes":
        return ProcessPoolTaskRunner(max_workers=num_workers)
    return ThreadPoolTaskRunner(max_workers=num_workers)
