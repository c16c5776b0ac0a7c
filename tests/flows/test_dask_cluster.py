"""What the workers of a Dask cluster do not reach is one line, before any work is given to them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from charlm.errors import ConfigError
from flows.dask_cluster import _check_all_here, check_cluster
from flows.task_runners import keep_environment

NOBODY = "http://192.0.2.1:4200/api"  # an address of documentation


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    from distributed import LocalCluster

    with (
        keep_environment(),
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.mark.service
def test_workers_of_this_machine_reach_its_server(cluster: str, server: dict[str, str], tmp_path: Path) -> None:
    check_cluster(cluster, server["PREFECT_API_URL"], tmp_path)


@pytest.mark.service
def test_a_worker_without_the_folder_is_named(cluster: str, server: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the Dask worker \S+ does not see the workspace \S+/other; share"):
        check_cluster(cluster, server["PREFECT_API_URL"], tmp_path / "other")


def test_a_worker_that_does_not_reach_the_server_is_named(cluster: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not reach the Prefect server at http://127.0.0.1:1/api .*refused"):
        check_cluster(cluster, "http://127.0.0.1:1/api", tmp_path)


def test_an_address_of_this_machine_alone_is_told_to_no_worker_elsewhere() -> None:
    _check_all_here(["tcp://127.0.0.1:4000", "inproc://127.0.0.1/7/1"], "http://localhost:4200/api")
    with pytest.raises(ConfigError, match=r"tcp://192.0.2.7:4000 is on another machine, and the Prefect server"):
        _check_all_here(["tcp://127.0.0.1:4000", "tcp://192.0.2.7:4000"], "http://127.0.0.1:4200/api")


def test_a_scheduler_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.dask_cluster._CONNECT_SECONDS", 1)
    with pytest.raises(ConfigError, match=r"no Dask scheduler answers at DASK_SCHEDULER_ADDRESS=tcp://127.0.0.1:1"):
        check_cluster("tcp://127.0.0.1:1", NOBODY, tmp_path)
