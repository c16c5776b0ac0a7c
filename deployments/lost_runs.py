"""Mark the flow runs as crashed that a stopped worker had submitted and not begun.

They would stay `Submitting` for ever. A run that had begun is found by its missing heartbeat.
"""

import os
from datetime import UTC, datetime, timedelta
from functools import partial

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Crashed

from deployments.machines import WORKER_LABEL, machine_of, online_workers
from deployments.pages import all_pages
from deployments.settings import CPU_POOL, GPU_POOL
from tasks.services.rest import Server

_MESSAGE = "its worker was stopped before it began; start the same run again"
_LONGEST_SUBMISSION = timedelta(seconds=30)  # a worker of another machine may still start a younger one


def end_lost_runs(client: SyncPrefectClient, machine: str) -> int:
    """Mark what was submitted and never begun as crashed; the number of these.

    Call it while no worker runs on this machine. What a worker of another machine has submitted, and may still start,
    is left to it: a container whose image is pulled takes many minutes.
    """
    server = Server(str(client.api_url).rstrip("/"), os.environ.get("PREFECT_API_AUTH_STRING"))
    elsewhere = {name for name in online_workers(server, CPU_POOL, GPU_POOL) if machine_of(name) != machine}
    pending = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING]))
    pools = WorkPoolFilter(name=WorkPoolFilterName(any_=[CPU_POOL, GPU_POOL]))
    found = partial(
        client.read_flow_runs,
        flow_run_filter=FlowRunFilter(state=pending),
        work_pool_filter=pools,
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
    )
    lost = [run for run in all_pages(found) if _is_lost(run) and run.labels.get(WORKER_LABEL) not in elsewhere]
    for run in lost:
        client.set_flow_run_state(run.id, Crashed(message=_MESSAGE), force=True)
    return len(lost)


def _is_lost(run: FlowRun) -> bool:
    is_old = run.state is not None and run.state.timestamp < datetime.now(UTC) - _LONGEST_SUBMISSION
    return is_old and run.infrastructure_pid is None
