"""What a service has follows the workers that are online, and what cannot work for it is told why, on real servers."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending

import charlm
from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from deployments import joining, lost_runs
from deployments.joining import check_name, join_line, service_of
from deployments.lost_runs import end_lost_runs
from deployments.machines import (
    BUSY_ATTEMPTS,
    follow_workers,
    forget_workers,
    gpus_of,
    machine_of,
    online_workers,
    place_trainings,
    worker_name,
)
from deployments.prefect_setup import add_pools
from deployments.settings import CPU_POOL, GPU_POOL, ServiceSettings
from deployments.watch_machines import MachinesWatch
from deployments.watch_runs import LostRunsWatch
from tasks.services.rest import Server
from tests.live_service import wait_until
from tests.mlflow_server import running_mlflow
from tests.prefect_server import prefect_server

HEAD, NODE = worker_name(CPU_POOL, "head"), worker_name(CPU_POOL, "node7")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> ServiceSettings:
    return ServiceSettings(workspace=Workspace(tmp_path_factory.mktemp("machines")), gpus=("0",), machine="node7")


@pytest.fixture(scope="module")
def variables(settings: ServiceSettings, new_prefect_home: Path) -> Iterator[dict[str, str]]:
    """The variables that lead to the two servers of a service."""
    home = settings.workspace.prefect_home
    shutil.copytree(new_prefect_home, home)
    foreman = {"PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "true", "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "1"}
    with prefect_server(home, **foreman) as prefect, running_mlflow(settings.workspace.root / "mlflow") as mlflow:
        yield {"PREFECT_API_URL": prefect["PREFECT_API_URL"], "MLFLOW_TRACKING_URI": mlflow}


@pytest.fixture(scope="module")
def client(variables: dict[str, str], settings: ServiceSettings) -> Iterator[SyncPrefectClient]:
    """A client of a Prefect server with pools, limits and two deployments."""
    with temporary_settings({PREFECT_API_URL: variables["PREFECT_API_URL"]}):
        add_pools(settings)
        with SyncPrefectClient(variables["PREFECT_API_URL"]) as client:
            flow_id = client.create_flow(flow(lambda: None, name="charlm-nothing"))
            for name, tags in (("train", ["training"]), ("scan", ["service"])):
                client.create_deployment(
                    flow_id,
                    name,
                    version=charlm.__version__,
                    work_pool_name=CPU_POOL,
                    tags=tags,
                    parameters={"workspace": settings.place},
                )
            yield client


@pytest.fixture
def server(client: SyncPrefectClient, variables: dict[str, str]) -> Iterator[Server]:
    """The same server without workers."""
    server = Server(variables["PREFECT_API_URL"], attempts=BUSY_ATTEMPTS)
    yield server
    for pool in (CPU_POOL, GPU_POOL):
        forget_workers(server, [(pool, worker.name) for worker in client.read_workers_for_work_pool(pool)])


def beat(client: SyncPrefectClient, *names: str, seconds: int = 30) -> None:
    for name in names:
        pool = GPU_POOL if name.startswith(GPU_POOL) else CPU_POOL
        client._client.post(
            f"/work_pools/{pool}/workers/heartbeat", json={"name": name, "heartbeat_interval_seconds": seconds}
        ).raise_for_status()


def limits(client: SyncPrefectClient) -> tuple[int, int | None, int | None]:
    """The slots of GPUs, of long runs and of short ones."""
    queues = [client.read_work_queue_by_name(name, work_pool_name=CPU_POOL) for name in ("default", "short")]
    gpus = client.read_global_concurrency_limit_by_name("gpu").limit
    return gpus, queues[0].concurrency_limit, queues[1].concurrency_limit


def test_the_name_of_a_worker_says_its_machine_and_how_many_gpus_it_has() -> None:
    assert worker_name(GPU_POOL, "node7", "0,1") == "charlm-gpu-0+1@node7"
    assert gpus_of("charlm-gpu-0+1@node7") == 2
    assert gpus_of("charlm-gpu-GPU-8932f937-d72c@node-7.example.org") == 1
    assert machine_of("charlm-gpu-0@node-7.example.org") == "node-7.example.org"
    assert (machine_of("charlm-gpu-0"), gpus_of("charlm-gpu-0")) == (None, 1)  # of an older version


@pytest.mark.service
def test_the_limits_follow_machines_that_come_and_leave_and_die(
    client: SyncPrefectClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat(client, HEAD)
    follow_workers(server)
    assert limits(client) == (1, 3, 2)
    beat(client, NODE, worker_name(GPU_POOL, "node7", "0,1"), worker_name(GPU_POOL, "node7", "2"))
    assert follow_workers(server)[0] == "the limit gpu is 3, it was 1"
    assert limits(client) == (3, 6, 4)
    assert follow_workers(server) == []
    forget_workers(server, [(GPU_POOL, "charlm-gpu-2@node7")])
    follow_workers(server)
    assert limits(client) == (2, 6, 4)
    lost = [(CPU_POOL, NODE), (GPU_POOL, "charlm-gpu-0+1@node7")]
    forget_workers(server, lost)
    beat(client, *(name for _, name in lost), seconds=1)  # the last ones: after three seconds it is offline
    follow_workers(server)
    assert limits(client) == (2, 6, 4)
    wait_until(lambda: online_workers(server, CPU_POOL, GPU_POOL) == [HEAD], seconds=20, what="machine that is lost")
    lines: list[str] = []
    MachinesWatch(server, lines.append).look()
    assert limits(client) == (1, 3, 2)
    assert len(lines) == 3
    assert [worker.name for worker in client.read_workers_for_work_pool(GPU_POOL)] == ["charlm-gpu-0+1@node7"]
    monkeypatch.setattr(MachinesWatch, "remembered", timedelta(0))
    MachinesWatch(server, lines.append).look()
    assert client.read_workers_for_work_pool(GPU_POOL) == []


@pytest.mark.service
def test_a_number_of_slots_that_somebody_has_chosen_stays(client: SyncPrefectClient, server: Server) -> None:
    queue = client.read_work_queue_by_name("default", work_pool_name=CPU_POOL)
    client.update_work_queue(queue.id, concurrency_limit=1)
    try:
        beat(client, HEAD, NODE)
        follow_workers(server)
        assert limits(client) == (1, 1, 4)
    finally:
        client.update_work_queue(queue.id, concurrency_limit=3)


@pytest.mark.service
def test_trainings_go_to_gpus_while_there_are_some(client: SyncPrefectClient, server: Server) -> None:
    def pools() -> dict[str, str | None]:
        found = [client.read_deployment_by_name(f"charlm-nothing/{name}") for name in ("train", "scan")]
        return {one.name: one.work_pool_name for one in found}

    assert place_trainings(server) == []
    beat(client, "charlm-gpu-0@node7")
    (line,) = place_trainings(server)
    assert line == "trainings are in the work pool charlm-gpu from now on, they were in charlm-cpu"
    assert pools() == {"train": GPU_POOL, "scan": CPU_POOL}
    forget_workers(server, [(GPU_POOL, "charlm-gpu-0@node7")])
    assert place_trainings(server, may_leave_gpus=False) == []
    assert pools()["train"] == GPU_POOL  # they wait for the machine that was lost
    place_trainings(server)
    assert pools()["train"] == CPU_POOL


# ---- what a worker has taken and not begun --------------------------------------------------------------------------


@pytest.mark.service
def test_a_container_that_starts_slowly_is_no_lost_run(
    client: SyncPrefectClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker pulls the image for longer than any limit, then is lost."""
    monkeypatch.setattr(lost_runs, "_LONGEST_SUBMISSION", timedelta(0))
    taken = taken_run(client, NODE)
    beat(client, HEAD, NODE)
    lines: list[str] = []
    watch = LostRunsWatch(server, lines.append, lost_after_seconds=0.5)
    watch.look()
    time.sleep(1)
    watch.look()
    assert lines == []
    assert end_lost_runs(client, "head") == 0  # `make up` of the head, while its own workers do not run
    assert client.read_flow_run(taken).state_type.value == "PENDING"  # type: ignore[union-attr]
    forget_workers(server, [(CPU_POOL, NODE)])
    watch.look()
    assert lines == [f"{client.read_flow_run(taken).name} has crashed: its worker {NODE} is gone, and it has not begun"]
    assert client.read_flow_run(taken).state_type.value == "CRASHED"  # type: ignore[union-attr]


@pytest.mark.service
def test_what_workers_of_this_machine_left_behind_is_ended(
    client: SyncPrefectClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_runs, "_LONGEST_SUBMISSION", timedelta(0))
    beat(client, NODE)  # a moment before it was killed
    taken = taken_run(client, NODE)
    assert end_lost_runs(client, "node7") == 1
    assert client.read_flow_run(taken).state_type.value == "CRASHED"  # type: ignore[union-attr]


def taken_run(client: SyncPrefectClient, worker: str) -> Any:
    """A run as its worker marks it before it starts the process or container."""
    deployment = client.read_deployment_by_name("charlm-nothing/scan")
    run = client.create_flow_run_from_deployment(deployment.id, state=Pending()).id
    labels = {"prefect.worker.name": worker, "prefect.worker.type": "docker"}
    client._client.patch(f"/flow_runs/{run}/labels", json=labels).raise_for_status()
    return run


# ---- joining --------------------------------------------------------------------------------------------------------


@pytest.fixture
def node(client: SyncPrefectClient, settings: ServiceSettings) -> ServiceSettings:
    """The settings of a machine that could join."""
    settings.workspace.service.root.mkdir(exist_ok=True)
    settings.workspace.service.deployed.write_text("{}")
    return settings


def refusal(settings: ServiceSettings, variables: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as refused:
        service_of(settings, variables, print)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.service
def test_a_machine_that_reaches_everything_may_join(node: ServiceSettings, variables: dict[str, str]) -> None:
    assert service_of(node, variables, print).url == variables["PREFECT_API_URL"]


@pytest.mark.service
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PREFECT_API_URL": ""}, "set PREFECT_API_URL to the servers of the service"),
        ({"PREFECT_API_URL": "http://127.0.0.1:1/api"}, "does not answer: [Errno 111] Connection refused"),
        (
            {"PREFECT_API_URL": "http://x.invalid/api", "MLFLOW_TRACKING_URI": "http://x.invalid"},
            "not answer",
        ),
        (
            {"PREFECT_API_URL": "MLFLOW_TRACKING_URI"},
            "is no Prefect server (it answers 404); its address ends with /api",
        ),
        ({"MLFLOW_TRACKING_URI": "PREFECT_API_URL"}, "is no MLflow server (it answers 404)"),
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}, "does not answer: [Errno 111] Connection refused"),
        ({"MLFLOW_TRACKING_URI": "sqlite:////data/mlflow.db"}, "is not the address of a server that several machines"),
        ({"MLFLOW_TRACKING_URI": "file:///data/mlruns"}, "is not the address of a server that several machines"),
        (
            {"PREFECT_API_URL": "http://head.example/api"},
            "is this machine, and PREFECT_API_URL=http://head.example/api",
        ),
    ],
)
def test_an_address_that_leads_nowhere_is_one_line(
    node: ServiceSettings, variables: dict[str, str], changes: dict[str, str], message: str
) -> None:
    given = {**variables, **{name: variables.get(value, value) for name, value in changes.items()}}
    assert message in refusal(node, given)


@pytest.mark.service
def test_a_service_that_does_not_fit_is_one_line(
    node: ServiceSettings, variables: dict[str, str], client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(node, workspace=Workspace(Path("/data/other")))
    assert f"has the workspace {node.place}, and this machine /data/other" in refusal(other, variables)
    monkeypatch.setattr(charlm, "__version__", "0.1.0")
    assert "this machine has 0.1.0; install the same on both" in refusal(node, variables)
    monkeypatch.undo()
    in_store = {"address": "s3://bucket/ws", "image": "charlm:1", "pool_type": "docker", "public_host": "head"}
    monkeypatch.setattr(joining, "check_worker_package", lambda pool_type: None)
    assert "is in each container the container itself" in refusal(replace(node, **in_store), variables)  # type: ignore[arg-type]
    node.workspace.service.deployed.unlink()
    assert "of this machine is not the one of the service; share it" in refusal(node, variables)


@pytest.mark.service
def test_a_pool_of_another_type_is_one_line(
    node: ServiceSettings, variables: dict[str, str], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", variables["PREFECT_API_URL"])
    odd = replace(node)
    object.__setattr__(odd, "pool_type", "ecs")
    with pytest.raises(ConfigError, match=r"the work pool charlm-cpu of \S+ has the type process, and CHARLM_WORK"):
        add_pools(odd)


@pytest.mark.service
def test_two_machines_of_one_name_are_told_apart_by_the_heartbeat(
    client: SyncPrefectClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "_BEAT_SECONDS", 2.0)
    monkeypatch.setattr(joining, "_LOOK_SECONDS", 0.2)
    beat(client, NODE)
    lines: list[str] = []
    check_name(server, "node7", lines.append)  # it was killed a moment ago, and comes again
    assert lines[0].startswith("a machine named node7 was online a moment ago")
    check_name(server, "node8", lines.append)
    assert len(lines) == 1

    def other_machine(line: str) -> None:
        beat(client, NODE)

    with pytest.raises(ConfigError, match=f"{NODE} works for .* already; stop it there, or give this machine another"):
        check_name(server, "node7", other_machine)


def test_the_command_for_other_machines_is_shown_where_they_reach_the_servers() -> None:
    alone = ServiceSettings(workspace=Workspace(Path("/data/ws")))
    assert join_line(alone) is None
    given = {"CHARLM_WORKSPACE": "/data/ws", "CHARLM_HOST": "10.0.0.5", "CHARLM_PASSWORD": "p" * 12}
    assert join_line(ServiceSettings.from_environment(given)) == (
        "make join PREFECT_API_URL=http://10.0.0.5:4200/api MLFLOW_TRACKING_URI=http://10.0.0.5:5000"
        " CHARLM_WORKSPACE=/data/ws"
    )
