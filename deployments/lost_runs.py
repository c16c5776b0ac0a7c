"""Tell the Prefect server what became of the flow runs that a stopped worker had taken and not begun.

Nobody else does: they would be `Submitting` for ever. One that had begun is found by its missing heartbeat.
"""

from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Crashed

from deployments.settings import CPU_POOL, GPU_POOL

_MESSAGE = "its worker was stopped before it began; start the same run again"
_LONGEST_SUBMISSION = timedelta(seconds=30)  # what is younger may be in the hands of another machine's worker


def end_lost_runs(client: SyncPrefectClient) -> int:
    """Mark what was submitted and never begun as crashed; how many these were. Call it while no worker runs here."""
    pending = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING]))
    pools = WorkPoolFilter(name=WorkPoolFilterName(any_=[CPU_POOL, GPU_POOL]))
    found = client.read_flow_runs(flow_run_filter=FlowRunFilter(state=pending), work_pool_filter=pools)
    lost = [run for run in found if _is_lost(run)]
    for run in lost:
        client.set_flow_run_state(run.id, Crashed(message=_MESSAGE), force=True)
    return len(lost)


def _is_lost(run: FlowRun) -> bool:
    is_old = run.state is not None and run.state.timestamp < datetime.now(UTC) - _LONGEST_SUBMISSION
    return is_old and run.infrastructure_pid is None
