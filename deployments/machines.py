"""The machines of a service, as the Prefect server knows them: by the names of their workers.

A worker is named PROGRAM@MACHINE, and one with GPUs has their numbers in its name: `charlm-gpu-0+1@node7` has two. What
all machines can do together follows from the workers that are online, so nothing else is kept that a machine could
leave behind when it dies.
"""

from collections.abc import Iterable
from functools import partial
from urllib.parse import quote

from charlm.storage.atomic import JsonObject
from deployments.pages import all_pages
from deployments.settings import CPU_POOL, GPU_POOL
from tasks.services.rest import Server, ServerError

GPU_LIMIT = "gpu"
BUSY_ATTEMPTS = 7
"""How often a server is asked whose SQLite database is locked: for a minute."""
SHORT_QUEUE = "short"
"""The queue of deployments whose runs take seconds or minutes, and which people wait for."""
LONG_RUNS, SHORT_RUNS = 3, 2
"""Runs at a time on a machine: of everything else, such as trainings, and of the short queue with slots of its own."""
_QUEUES = {"default": LONG_RUNS, SHORT_QUEUE: SHORT_RUNS}
WORKER_LABEL = "prefect.worker.name"
"""The label by which Prefect says which worker has taken a run."""
TRAINING_TAG = "training"
"""Deployments with this tag go to the workers with GPUs, while there are some."""


def worker_name(pool: str, machine: str, gpus: str = "") -> str:
    """`charlm-gpu, node7, 0,1 -> charlm-gpu-0+1@node7`"""
    return f"{pool}{'-' if gpus else ''}{gpus.replace(',', '+')}@{machine}"


def machine_of(worker: str) -> str | None:
    """The machine that a worker is named after; none of an older version, which named no machine."""
    return worker.rpartition("@")[2] if "@" in worker else None


def gpus_of(worker: str) -> int:
    """How many GPUs a worker of the pool with GPUs has."""
    return worker.partition("@")[0].count("+") + 1


def workers_of(server: Server, pool: str) -> list[JsonObject]:
    """What the server has recorded of the workers of a pool; none where there is no such pool."""
    try:
        return list(all_pages(partial(_page, server, f"/work_pools/{quote(pool)}/workers/filter")))
    except ServerError as error:
        if error.status == 404:
            return []
        raise


def online_workers(server: Server, *pools: str) -> list[str]:
    """The names of the workers whose heartbeat is recent."""
    return [str(found["name"]) for pool in pools for found in workers_of(server, pool) if found["status"] == "ONLINE"]


def forget_workers(server: Server, names: Iterable[tuple[str, str]]) -> None:
    """Remove workers that have ended, each given as pool and name, so that they do not count any more."""
    for pool, name in names:
        try:
            server.delete(f"/work_pools/{quote(pool)}/workers/{quote(name)}")
        except ServerError as error:
            if error.status != 404:
                raise


def follow_workers(server: Server) -> list[str]:
    """Let the limits of the server be those of the workers that are online; a line about each that has changed.

    A queue whose limit is no multiple of what one machine has keeps it: somebody has chosen it.
    """
    lines = []
    gpus = sum(map(gpus_of, online_workers(server, GPU_POOL)))
    limit = server.get(f"/v2/concurrency_limits/{GPU_LIMIT}")
    if limit["limit"] != max(1, gpus):  # without a slot a training on a CPU could not begin
        server.patch(f"/v2/concurrency_limits/{GPU_LIMIT}", {"limit": max(1, gpus)})
        lines.append(f"the limit {GPU_LIMIT} is {max(1, gpus)}, it was {limit['limit']}")
    machines = max(1, len(online_workers(server, CPU_POOL)))
    for name, runs in _QUEUES.items():
        path = f"/work_pools/{CPU_POOL}/queues/{name}"
        found = server.get(path)["concurrency_limit"]
        if found is not None and found % runs == 0 and found not in (0, runs * machines):
            server.patch(path, {"concurrency_limit": runs * machines})
            lines.append(f"the queue {name} has {runs * machines} slots, it had {found}")
    return lines


def place_trainings(server: Server, *, may_leave_gpus: bool = True) -> list[str]:
    """Let the deployments that train be in the pool with GPUs while a worker of it is online; a line where any moves.

    Without `may_leave_gpus` they wait there for a machine that was lost.
    """
    there = bool(online_workers(server, GPU_POOL))
    if not there and not may_leave_gpus:
        return []
    old, new = (CPU_POOL, GPU_POOL) if there else (GPU_POOL, CPU_POOL)
    trainings = [found for found in service_deployments(server) if TRAINING_TAG in found["tags"]]
    moving = [found for found in trainings if found["work_pool_name"] == old]
    for found in moving:
        server.patch(f"/deployments/{found['id']}", {"work_pool_name": new})
    return [f"trainings are in the work pool {new} from now on, they were in {old}"] if moving else []


def service_deployments(server: Server) -> list[JsonObject]:
    """The deployments of our flows."""
    return list(all_pages(partial(_page, server, "/deployments/filter", flows={"name": {"like_": "charlm-"}})))


def _page(server: Server, path: str, *, limit: int, offset: int, **wanted: object) -> list[JsonObject]:
    return server.find(path, {"limit": limit, "offset": offset, **wanted})
