"""The server answers with one page of results at a time; nothing behind the first page is overlooked."""

import os
from collections.abc import Iterator
from datetime import timedelta

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.states import Pending

from deployments import lost_runs
from deployments.lost_runs import end_lost_runs
from deployments.machines import GPU_LIMIT
from deployments.pages import all_pages
from deployments.prefect_setup import _add_gpu_limit
from deployments.settings import CPU_POOL

FIRST_PAGE = 200  # of flow runs, by default


def test_pages_are_read_to_the_end() -> None:
    def query(*, limit: int, offset: int) -> list[int]:
        return list(range(250))[offset : offset + limit]

    assert list(all_pages(query)) == list(range(250))


@pytest.fixture(scope="module")
def client(server: dict[str, str]) -> Iterator[SyncPrefectClient]:
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    with SyncPrefectClient(server["PREFECT_API_URL"]) as client:
        yield client


@pytest.mark.service
def test_the_gpu_limit_is_found_among_many_limits(client: SyncPrefectClient) -> None:
    for number in range(12):
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=f"a{number:02d}", limit=1))
    assert _add_gpu_limit(client, 1)
    assert not _add_gpu_limit(client, 1)  # a second one would be an error of the server
    assert client.read_global_concurrency_limit_by_name(GPU_LIMIT).limit == 1


@pytest.mark.service
def test_every_lost_run_is_ended(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_runs, "_LONGEST_SUBMISSION", timedelta(0))
    client.create_work_pool(WorkPoolCreate(name=CPU_POOL, type="process"))
    flow_id = client.create_flow(flow(lambda: None, name="nothing"))
    deployment = client.create_deployment(flow_id, "nothing", work_pool_name=CPU_POOL)
    for _ in range(FIRST_PAGE + 1):
        client.create_flow_run_from_deployment(deployment, state=Pending())
    assert end_lost_runs(client, "here") == FIRST_PAGE + 1
    assert end_lost_runs(client, "here") == 0
