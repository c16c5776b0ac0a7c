"""What has to be true before the workers of this machine work for a service that runs elsewhere.

Reads  PREFECT_API_URL, MLFLOW_TRACKING_URI    where both servers of the service are
"""

import os
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

import charlm
from charlm.errors import ConfigError
from charlm.storage.atomic import JsonObject
from deployments.machines import machine_of, service_deployments, workers_of
from deployments.prefect_setup import check_pool_has_type
from deployments.settings import CPU_POOL, GPU_POOL, ServiceSettings
from deployments.work_pools import PROCESS, check_worker_package
from tasks.services.environment import access_variables, is_loopback
from tasks.services.rest import Server, ServerError, mlflow_server, prefect_server

_NAMES = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")
_BEAT_SECONDS = 35.0
"""Longer than from one heartbeat of a worker to the next."""
_LOOK_SECONDS = 1.0


def service_of(settings: ServiceSettings, variables: Mapping[str, str], log: Callable[[str], None]) -> Server:
    """The Prefect server of the service that `variables` name, once this machine can work for it.

    Raises ConfigError, in one line, for servers that do not answer or are not those of a service, for a service with
    another workspace, version or type of work pool.
    """
    check_addresses(variables, settings)
    check_worker_package(settings.pool_type)
    given = {**variables, **access_variables(settings.password)}
    prefect = prefect_server(given)
    _check_prefect(prefect)
    _check_mlflow(given)
    check_deployments(prefect, settings)
    for pool in (CPU_POOL, GPU_POOL):
        if (found := _pool(prefect, pool)) is not None:
            check_pool_has_type(pool, str(found["type"]), settings)
    _check_workspace(settings, log)
    return prefect


def check_addresses(variables: Mapping[str, str], settings: ServiceSettings) -> None:
    """Raise ConfigError for addresses that lead to no service, or that only the machine of the service can reach."""
    missing = [name for name in _NAMES if not variables.get(name)]
    if missing:
        raise ConfigError(
            f"set {' and '.join(missing)} to the servers of the service, as `charlm up` prints them for other machines"
        )
    prefect, mlflow = (urlsplit(variables[name]) for name in _NAMES)
    for name, parts in zip(_NAMES, (prefect, mlflow), strict=True):
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"{name}={variables[name]} is not the address of a server that several machines can reach; set it to"
                f" {'http://HEAD:4200/api' if name == _NAMES[0] else 'http://HEAD:5000'}"
            )
    local = [is_loopback(str(parts.hostname)) for parts in (prefect, mlflow)]
    if settings.pool_type != PROCESS and any(local):
        name = _NAMES[local.index(True)]
        raise ConfigError(
            f"{name}={variables[name]} is in each container the container itself; give an address that other machines"
            " reach"
        )
    if local[0] != local[1]:
        here, there = (_NAMES[0], _NAMES[1]) if local[0] else (_NAMES[1], _NAMES[0])
        raise ConfigError(
            f"{here}={variables[here]} is this machine, and {there}={variables[there]} another one; both have to be the"
            " servers of one service"
        )


def _check_prefect(server: Server) -> None:
    try:
        version = server.get("/admin/version")
    except ServerError as error:
        if error.status in (401, 403):
            reason = "refuses this machine; set CHARLM_PASSWORD to the password of the service"
        else:
            reason = f"is no Prefect server (it answers {error.status}); its address ends with /api"
        raise ConfigError(f"PREFECT_API_URL={server.url} {reason}") from error
    except OSError as error:
        raise ConfigError(f"PREFECT_API_URL={server.url} does not answer: {_reason(error)}") from error
    from importlib.metadata import version as installed

    own = installed("prefect")
    if str(version).partition(".")[0] != own.partition(".")[0]:
        raise ConfigError(
            f"PREFECT_API_URL={server.url} is Prefect {version}, this machine has {own}; install the same"
        )


def _check_mlflow(variables: Mapping[str, str]) -> None:
    url, server = variables["MLFLOW_TRACKING_URI"], mlflow_server(variables)
    try:
        server.get("/experiments/search", max_results="1")
    except ServerError as error:
        host = urlsplit(url).hostname
        remedy = {
            401: "refuses this machine; set CHARLM_PASSWORD to the password of the service",
            403: f"refuses the name {host}; start the service with CHARLM_ALLOWED_HOSTS={host}",
        }.get(error.status, f"is no MLflow server (it answers {error.status})")
        raise ConfigError(f"MLFLOW_TRACKING_URI={url} {remedy}") from error
    except OSError as error:
        raise ConfigError(f"MLFLOW_TRACKING_URI={url} does not answer: {_reason(error)}") from error


def check_deployments(server: Server, settings: ServiceSettings) -> None:
    """Raise ConfigError where the service has another workspace or version, both of which its deployments have."""
    found = service_deployments(server)
    if not found:
        raise ConfigError(f"{server.url} has no deployments of charlm; run `charlm up` on the machine of the service")
    places = sorted({str(one["parameters"].get("workspace")) for one in found})
    if settings.place not in places:
        raise ConfigError(
            f"the service of {server.url} has the workspace {', '.join(places)}, and this machine {settings.place};"
            " set CHARLM_WORKSPACE to the same"
        )
    versions = sorted({str(one["version"] or "before 0.2") for one in found})
    if versions != [charlm.__version__]:
        raise ConfigError(
            f"the service of {server.url} is charlm {', '.join(versions)}, this machine has {charlm.__version__};"
            " install the same on both, and run charlm up again where that is the newer one"
        )


def _check_workspace(settings: ServiceSettings, log: Callable[[str], None]) -> None:
    """Raise ConfigError where this machine cannot reach the workspace of the service."""
    if settings.address is not None:
        settings.open_workspace(log)
    elif not settings.workspace.service.deployed.is_file():
        raise ConfigError(
            f"the folder {settings.place} of this machine is not the one of the service; share it under the same path,"
            " or use a workspace in an object store (s3://BUCKET/FOLDER)"
        )


def check_name(server: Server, machine: str, log: Callable[[str], None]) -> None:
    """Raise ConfigError where another machine of this name works for the service.

    What this machine has left behind when it was killed is online for a while too, but its heartbeat does not change.
    """

    def beats() -> dict[str, str]:
        found = [one for pool in (CPU_POOL, GPU_POOL) for one in workers_of(server, pool) if one["status"] == "ONLINE"]
        return {
            str(one["name"]): str(one["last_heartbeat_time"]) for one in found if machine_of(one["name"]) == machine
        }

    first = beats()
    if not first:
        return
    log(f"a machine named {machine} was online a moment ago; waiting for {_BEAT_SECONDS:.0f} s whether it still is …")
    deadline = time.monotonic() + _BEAT_SECONDS
    while time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        changed = [name for name, beat in beats().items() if first.get(name) != beat]
        if changed:
            raise ConfigError(
                f"{changed[0]} works for {server.url} already; stop it there, or give this machine another name with"
                " --name"
            )


def _pool(server: Server, name: str) -> JsonObject | None:
    try:
        return server.get(f"/work_pools/{quote(name)}")
    except ServerError as error:
        if error.status == 404:
            return None
        raise


def _reason(error: OSError) -> str:
    cause = error.__cause__ or error
    return " ".join(str(getattr(cause, "reason", cause)).split())


def join_line(settings: ServiceSettings) -> str | None:
    """The command that makes another machine a worker of this service; none where its servers cannot be reached."""
    addresses = settings.public_addresses()
    if not addresses:
        return None
    words = [*(f"{name}={value}" for name, value in addresses.items()), f"CHARLM_WORKSPACE={settings.place}"]
    return f"make join {' '.join(words)}"


def environment_addresses() -> dict[str, str]:
    """Where both servers are, of the environment of this process."""
    return {name: os.environ[name] for name in _NAMES if os.environ.get(name)}
