"""Give a Prefect server what the service needs: pools, the limit `gpu`, the automation for lost runs, the deployments.

Reads  deployments/prefect.yaml
Writes service/prefect.yaml     the same with this machine's folders, and the pool that trains

What exists is left as it is, so that a change that somebody has made in the UI survives the next `make up`.
"""

import copy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import charlm.config
from charlm.errors import ConfigError
from charlm.storage.atomic import read_json, write_json, write_text
from charlm.storage.fingerprints import fingerprint, sha256_of
from deployments.pages import all_pages
from deployments.settings import CPU_POOL, GPU_POOL, ROOT, ServiceSettings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore

DEPLOYMENTS_FILE = ROOT / "deployments" / "prefect.yaml"
GPU_LIMIT = "gpu"
_FLOWS = "charlm-"
"""What the names of our flows begin with."""
HEARTBEAT_SECONDS = 30
# As long as Prefect 3.8 keeps the slot of a run without heartbeats. With three heartbeats a server that was away for 90
# seconds marked all runs as lost when it was back, and gave their slots away, which ended those that were alive.
_LOST_AFTER_SECONDS = 10 * HEARTBEAT_SECONDS
_TRAINING_TAG = "training"
"""Deployments with this tag go to the workers that own a GPU, where there are some."""
_RUN_PROCESS = {
    # It waits eight minutes (2 + 4 + ... + 256 s) for a server that is away; Prefect's default is one.
    "env": {"PREFECT_CLIENT_MAX_RETRIES": "8"},
    # Its log goes to the server. A pipe to its worker would break with the worker, and end the run.
    "stream_output": False,
}
"""How the process of a flow run is started."""
_POOLS = {
    CPU_POOL: "Text, scores and embeddings; training too where no machine has a GPU.",
    GPU_POOL: "Training, one worker for each GPU.",
}


def set_up_prefect(settings: ServiceSettings) -> bool:
    """Make what is missing on the server; False when nothing was."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        changes = [_add_pools(client, settings), _add_gpu_limit(client, max(1, settings.num_gpus))]
        changes.append(_keep_automation(client, lost_runs_automation()))
        changes.append(_deploy(client, settings))
    return any(changes)


def settle_lost_runs() -> int:
    """Give the runs that the last worker left unfinished a final state; the number of these."""
    from prefect.client.orchestration import get_client

    from deployments.lost_runs import end_lost_runs

    with get_client(sync_client=True) as client:
        return end_lost_runs(client)


def has_worker(name: str) -> bool:
    """True when the worker `name` is online on the server."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import WorkerStatus

    pool = GPU_POOL if name.startswith(GPU_POOL) else CPU_POOL
    with get_client(sync_client=True) as client:
        workers = list(all_pages(partial(client.read_workers_for_work_pool, pool)))
    return any(worker.name == name and worker.status == WorkerStatus.ONLINE for worker in workers)


def lost_runs_automation() -> "AutomationCore":
    """Mark a run without a heartbeat as crashed: its worker and its process are gone."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    return AutomationCore(
        name="charlm: a run without a heartbeat has crashed",
        description=f"A flow run sends a heartbeat every {HEARTBEAT_SECONDS} seconds. One that has stopped is lost.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={
                "prefect.flow-run.heartbeat",
                "prefect.flow-run.Completed",
                "prefect.flow-run.Failed",
                "prefect.flow-run.Cancelled",
                "prefect.flow-run.Crashed",
            },
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=_LOST_AFTER_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(
                name=None,
                state=StateType.CRASHED,
                force=False,
                message=f"no heartbeat for {_LOST_AFTER_SECONDS} seconds: its process or its machine is gone",
            )
        ],
    )


def machine_deployments(settings: ServiceSettings) -> dict[str, Any]:
    """The deployments with this machine's folders; those that train go to the GPU workers where there are some."""
    config: dict[str, Any] = yaml.safe_load(DEPLOYMENTS_FILE.read_text(encoding="utf-8"))
    config["pull"] = [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}]
    for deployment in config["deployments"]:
        deployment.setdefault("parameters", {})["workspace"] = str(settings.workspace.root)
        deployment["work_pool"]["job_variables"] = copy.deepcopy(_RUN_PROCESS)
        if settings.gpus and _TRAINING_TAG in deployment["tags"]:
            deployment["work_pool"]["name"] = GPU_POOL
    return config


def _add_pools(client: "SyncPrefectClient", settings: ServiceSettings) -> bool:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

    required = {CPU_POOL, GPU_POOL} if settings.gpus else {CPU_POOL}  # a pool without a worker looks like an error
    named = WorkPoolFilter(name=WorkPoolFilterName(any_=sorted(required)))
    known = {pool.name for pool in client.read_work_pools(work_pool_filter=named)}
    missing = {name: text for name, text in _POOLS.items() if name in required - known}
    for name, description in missing.items():
        client.create_work_pool(WorkPoolCreate(name=name, type="process", description=description))
    return bool(missing)


def _add_gpu_limit(client: "SyncPrefectClient", slots: int) -> bool:
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.exceptions import ObjectNotFound

    with suppress(ObjectNotFound):
        client.read_global_concurrency_limit_by_name(GPU_LIMIT)
        return False
    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=slots))
    return True


def _keep_automation(client: "SyncPrefectClient", automation: "AutomationCore") -> bool:
    """Create or update the automation: the server would accept a second one of its name."""
    found = client.read_automations_by_name(automation.name)
    if not found:
        client.create_automation(automation)
        return True
    old = found[0]
    if (old.description, old.trigger, old.actions) == (automation.description, automation.trigger, automation.actions):
        return False
    client.update_automation(old.id, automation)
    return True


def _deploy(client: "SyncPrefectClient", settings: ServiceSettings) -> bool:
    """Deploy all flows, unless the server holds them and neither they nor this machine have changed since."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowFilter, FlowFilterName

    files = settings.workspace.service
    config = machine_deployments(settings)
    deployed_from = {
        "fingerprint": fingerprint([config, *(sha256_of(path) for path in _sources_of_forms())]),
        "server": str(client.api_url),
    }
    names = {deployment["name"] for deployment in config["deployments"]}
    named = DeploymentFilter(name=DeploymentFilterName(any_=sorted(names)))
    ours = FlowFilter(name=FlowFilterName(like_=_FLOWS))
    found = all_pages(partial(client.read_deployments, flow_filter=ours, deployment_filter=named))
    deployed = {deployment.name for deployment in found}
    if names <= deployed and files.deployed.is_file() and read_json(files.deployed) == deployed_from:
        return False
    write_text(files.deployments, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    prefect = Path(sys.executable).with_name("prefect")
    with files.log("deploy").open("wb") as log:
        command = [str(prefect), "--no-prompt", "deploy", "--prefect-file", str(files.deployments), "--all"]
        code = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode
    if code != 0:
        raise ConfigError(f"prefect deploy has failed; its output is in {files.log('deploy')}")
    write_json(files.deployed, deployed_from)
    return True


def _sources_of_forms() -> Iterator[Path]:
    """The files that define parameters and their limits."""
    yield from sorted(Path(charlm.config.__file__).parent.glob("*.py"))
    yield from sorted((ROOT / "flows").glob("*.py"))
