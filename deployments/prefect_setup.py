"""Give a Prefect server what the service needs: pools and their queues, the limit `gpu`, the deployments.

Reads  deployments/prefect.yaml
Writes service/prefect.yaml     the same with this machine's folders, and the pool that trains

What exists is left as it is, so that a change that somebody has made in the UI survives the next `make up`.
"""

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import charlm
import charlm.config
from charlm.errors import ConfigError
from charlm.storage.atomic import read_json, write_json, write_text
from charlm.storage.fingerprints import fingerprint, sha256_of
from deployments.machines import GPU_LIMIT, LONG_RUNS, SHORT_QUEUE, SHORT_RUNS, TRAINING_TAG
from deployments.pages import all_pages
from deployments.settings import CPU_POOL, GPU_POOL, ROOT, ServiceSettings
from deployments.work_pools import PROCESS, base_job_template

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

DEPLOYMENTS_FILE = ROOT / "deployments" / "prefect.yaml"
_FLOWS = "charlm-"
"""What the names of our flows begin with."""
ROOT_VARIABLE = "CHARLM_ROOT"
"""Where the code of the flows is, on each machine and in an image."""
_RUN_PROCESS = {
    # It waits eight minutes (2 + 4 + ... + 256 s) for a server that is away; Prefect's default is one.
    "env": {"PREFECT_CLIENT_MAX_RETRIES": "8"},
    # Its log goes to the server. A pipe to its worker would break with the worker, and end the run.
    "stream_output": False,
}
"""How the process of a flow run is started."""
_OLDER_AUTOMATION = "charlm: a run without a heartbeat has crashed"
"""What the watcher does now."""
_POOLS = {
    CPU_POOL: "Text, scores and embeddings; training too where no machine has a GPU.",
    GPU_POOL: "Training, one worker for each GPU.",
}


def add_pools(settings: ServiceSettings) -> bool:
    """Make the pools, queues and limits that workers need and the server lacks; False when it lacked none."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        changes = [_add_pools(client, settings), _add_short_queue(client)]
        changes.append(_add_gpu_limit(client, max(1, settings.num_gpus)))
        changes.append(_drop_older_automation(client))
    return any(changes)


class FlowDeployment:
    """The deployments of all flows.

    Where this machine or the flows have changed since the last ones, flows are loaded as soon as this is made, before
    there is a server.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._files = settings.workspace.service
        self._config = machine_deployments(settings)
        self._made_from = {
            "fingerprint": fingerprint([self._config, *(sha256_of(path) for path in _sources_of_forms())]),
            "server": os.environ.get("PREFECT_API_URL", settings.prefect_api_url),
        }
        is_made = self._files.deployed.is_file() and read_json(self._files.deployed) == self._made_from
        self._process = None if is_made else self._load()

    def make(self) -> bool:
        """Make them; False when the server holds them as they are."""
        process = self._process or (None if self._are_on_server() else self._load())
        if process is None:
            return False
        process.communicate(b"deploy\n")
        if process.returncode:
            raise ConfigError(f"prefect deploy has failed; its output is in {self._files.log('deploy')}")
        write_json(self._files.deployed, self._made_from)
        return True

    def _load(self) -> "subprocess.Popen[bytes]":
        self._files.root.mkdir(parents=True, exist_ok=True)
        write_text(self._files.deployments, yaml.safe_dump(self._config, sort_keys=False, allow_unicode=True))
        command = [sys.executable, "-m", "deployments.deploying", str(self._files.deployments)]
        with self._files.log("deploy").open("wb") as log:
            return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log)

    def _are_on_server(self) -> bool:
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowFilter, FlowFilterName

        names = {deployment["name"] for deployment in self._config["deployments"]}
        named = DeploymentFilter(name=DeploymentFilterName(any_=sorted(names)))
        ours = FlowFilter(name=FlowFilterName(like_=_FLOWS))
        with get_client(sync_client=True) as client:
            found = list(all_pages(partial(client.read_deployments, flow_filter=ours, deployment_filter=named)))
        return names <= {deployment.name for deployment in found}


def settle_lost_runs(settings: ServiceSettings) -> int:
    """Give the runs that the last workers of this machine left unfinished a final state; the number of these."""
    from prefect.client.orchestration import get_client

    from deployments.lost_runs import end_lost_runs

    with get_client(sync_client=True) as client:
        return end_lost_runs(client, settings.machine)


def machine_deployments(settings: ServiceSettings) -> dict[str, Any]:
    """The deployments with this machine's folders; those that train go to the GPU workers where there are some."""
    config: dict[str, Any] = yaml.safe_load(DEPLOYMENTS_FILE.read_text(encoding="utf-8"))
    # Each machine has its own: the place in its worker's environment.
    config["pull"] = [{"prefect.deployments.steps.set_working_directory": {"directory": f"{{{{ ${ROOT_VARIABLE} }}}}"}}]
    for deployment in config["deployments"]:
        deployment["version"] = charlm.__version__
        deployment.setdefault("parameters", {})["workspace"] = settings.place
        deployment["work_pool"]["job_variables"] = copy.deepcopy(_RUN_PROCESS)
        if settings.pool_type != PROCESS:
            deployment["work_pool"]["job_variables"] |= {"image": settings.image}
        if settings.gpus and TRAINING_TAG in deployment["tags"]:
            deployment["work_pool"]["name"] = GPU_POOL
    return config


def _add_pools(client: "SyncPrefectClient", settings: ServiceSettings) -> bool:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

    required = {CPU_POOL, GPU_POOL} if settings.gpus else {CPU_POOL}  # a pool without a worker looks like an error
    named = WorkPoolFilter(name=WorkPoolFilterName(any_=sorted(required)))
    found = client.read_work_pools(work_pool_filter=named)
    for pool in found:
        check_pool_has_type(pool.name, pool.type, settings)
    known = {pool.name for pool in found}
    missing = {name: text for name, text in _POOLS.items() if name in required - known}
    for name, description in missing.items():
        template = base_job_template(settings.pool_type, num_gpus=int(name == GPU_POOL))
        client.create_work_pool(
            WorkPoolCreate(
                name=name, type=settings.pool_type, description=description, base_job_template=template or {}
            )
        )
    return bool(missing)


def check_pool_has_type(name: str, found: str, settings: ServiceSettings) -> None:
    """Raise ConfigError for a pool of another type than the workers of this machine have."""
    if found != settings.pool_type:
        raise ConfigError(
            f"the work pool {name} of {os.environ['PREFECT_API_URL']} has the type {found}, and"
            f" CHARLM_WORK_POOL_TYPE is {settings.pool_type}; set it to {found}, or delete the pool and run charlm up"
        )


def _add_short_queue(client: "SyncPrefectClient") -> bool:
    """Give the pool for the CPU a queue for short runs, whose slots long ones cannot take."""
    from prefect.exceptions import ObjectNotFound

    with suppress(ObjectNotFound):
        client.read_work_queue_by_name(SHORT_QUEUE, work_pool_name=CPU_POOL)
        return False
    client.create_work_queue(
        SHORT_QUEUE,
        description="Runs of seconds or minutes that people wait for; long runs cannot take their slots.",
        concurrency_limit=SHORT_RUNS,
        priority=1,
        work_pool_name=CPU_POOL,
    )
    rest = client.read_work_queue_by_name("default", work_pool_name=CPU_POOL)
    if rest.concurrency_limit is None:
        client.update_work_queue(rest.id, concurrency_limit=LONG_RUNS)
    return True


def _drop_older_automation(client: "SyncPrefectClient") -> bool:
    """Remove the automation by which older versions found lost runs."""
    found = client.read_automations_by_name(_OLDER_AUTOMATION)
    for automation in found:
        client.delete_automation(automation.id)
    return bool(found)


def _add_gpu_limit(client: "SyncPrefectClient", slots: int) -> bool:
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.exceptions import ObjectNotFound

    with suppress(ObjectNotFound):
        client.read_global_concurrency_limit_by_name(GPU_LIMIT)
        return False
    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=slots))
    return True


def _sources_of_forms() -> Iterator[Path]:
    """The files that define parameters and their limits."""
    yield from sorted(Path(charlm.config.__file__).parent.glob("*.py"))
    yield from sorted((ROOT / "flows").glob("*.py"))
