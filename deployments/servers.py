"""The programs of the service: how each is started.

Writes service/mlflow-access.ini, service/mlflow-users.db   (with a password)
"""

import configparser
import hashlib
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from charlm.errors import ConfigError
from charlm.storage.atomic import write_text
from deployments.machines import LONG_RUNS, SHORT_RUNS, worker_name
from deployments.prefect_setup import ROOT_VARIABLE
from deployments.programs import Program
from deployments.settings import CPU_POOL, GPU_POOL, HEARTBEAT_SECONDS, ROOT, ServiceSettings
from deployments.work_pools import PROCESS
from tasks.services.environment import USER_NAME, access_variables
from tasks.services.mlflow_database import SERVER_ARTIFACT_ROOT, move_artifact_root
from tasks.services.own_service import MLFLOW, PREFECT
from tasks.services.prefect_compat import LEASES_ON_DISK

WATCHER = "watcher"
_WORKER_NICENESS = 5
_DATABASE_SECONDS = 10
_CONTAINER_START_SECONDS = 3600  # Prefect accepts no more
_QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
_PRIVATE_ADDRESSES = ("10.*", "192.168.*", *(f"172.{number}.*" for number in range(16, 32)), "fc00:*", "fd00:*")
_BIN = Path(sys.executable).parent


def prefect_server(settings: ServiceSettings) -> Program:
    variables = {
        **_QUIET,
        "PREFECT_HOME": str(settings.workspace.prefect_home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": settings.database_urls()[0],
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # SQLite has one writer at a time
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_UI_API_URL": "/api",  # the page finds its server under whatever name it was opened
        # Slots of limits are leased. Leases in memory, the default, are lost in a restart: runs that hold one are ended
        # by their client, and the slot is never free again.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES_ON_DISK,
        # At rest most of a server's work is to look every five seconds for runs that are late or were suspended for too
        # long, for deployments that have changed, and for what cancelled runs have left.
        "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "15",
        "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_LOOP_SECONDS": "30",
        "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "15",
        "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_LOOP_SECONDS": "15",
        # Events that are older than a week and runs that ended 90 days ago are dropped.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    }
    if settings.pool_type != PROCESS:
        # The slot of a deployment is lost to a run that has not begun by then. An image may be pulled meanwhile, or a
        # node be waited for. Prefect's default is five minutes.
        variables["PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION"] = str(_CONTAINER_START_SECONDS)
    if settings.password is not None:
        auth = access_variables(settings.password)["PREFECT_API_AUTH_STRING"]
        # The server's own services are clients of it.
        variables |= {"PREFECT_SERVER_API_AUTH_STRING": auth, "PREFECT_API_AUTH_STRING": auth}
    address = ("--host", settings.host, "--port", str(settings.prefect_port))
    return Program(
        name=PREFECT,
        command=(sys.executable, str(ROOT / "deployments" / "prefect_server.py"), "server", "start", *address),
        variables=variables,
        port=settings.prefect_port,
    )


def mlflow_server(settings: ServiceSettings) -> Program:
    """Clients send and get artifacts through this server, so that only it needs access to their storage."""
    variables = {
        **_QUIET,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes that we do not need
        "MLFLOW_BACKEND_STORE_URI": settings.database_urls()[1],  # a command line is for all to read
    }
    command = [str(_BIN / "mlflow"), "server", "--host", settings.host, "--workers", "1"]
    command += ["--port", str(settings.mlflow_port)]
    artifacts = settings.artifacts or str(settings.workspace.mlflow_artifacts_dir)
    command += ["--serve-artifacts", "--artifacts-destination", artifacts]
    hosts = settings.allowed_hosts if settings.public_host is None else (*settings.allowed_hosts, settings.public_host)
    if hosts:
        variables |= _allowed_hosts(hosts)
    if settings.password is not None:
        command += ["--app-name", "basic-auth"]
        # It creates this user when it starts for the first time (deployments/passwords.py changes the password later).
        variables |= {"MLFLOW_AUTH_ADMIN_USERNAME": USER_NAME, "MLFLOW_AUTH_ADMIN_PASSWORD": settings.password}
        variables["MLFLOW_AUTH_CONFIG_PATH"] = str(settings.workspace.service.mlflow_access)
        # It signs the forms of the UI, and must be the same after a restart.
        variables["MLFLOW_FLASK_SERVER_SECRET_KEY"] = hashlib.sha256(settings.password.encode()).hexdigest()
    return Program(name=MLFLOW, command=tuple(command), variables=variables, port=settings.mlflow_port)


def check_databases(settings: ServiceSettings) -> None:
    """Raise ConfigError with the reason where a database of DATABASE cannot be used; the servers print pages of it."""
    if settings.database is None:
        return
    import psycopg

    for url in settings.database_urls():
        address = urlsplit(url)._replace(scheme="postgresql")
        try:
            psycopg.connect(address.geturl(), connect_timeout=_DATABASE_SECONDS).close()
        except psycopg.OperationalError as error:
            name, reason = address.path.removeprefix("/"), str(error).splitlines()[0]
            raise ConfigError(f"DATABASE: {name} cannot be used: {reason}") from error


def prepare_mlflow(settings: ServiceSettings) -> None:
    """Get the workspace ready for an MLflow server, which then serves what was trained without one too."""
    settings.workspace.mlflow_artifacts_dir.mkdir(parents=True, exist_ok=True)
    if settings.database is None:
        move_artifact_root(settings.workspace, SERVER_ARTIFACT_ROOT)
    if settings.password is not None:
        _write_mlflow_access(settings)


def workers(settings: ServiceSettings, addresses: Mapping[str, str] | None = None) -> list[Program]:
    """A worker without a GPU, and one for each GPU or group of GPUs, which sees only those.

    `addresses` are the variables that lead to both servers; by default those of this machine's own. Where runs are
    containers, which get their GPUs from elsewhere, one worker starts as many as there are GPUs.
    """
    own = settings.addresses() if settings.pool_type == PROCESS else settings.public_addresses()
    variables = {
        **_QUIET,
        **settings.client_variables(),
        **(own if addresses is None else addresses),
        ROOT_VARIABLE: str(ROOT),
        "CHARLM_WORK_POOL_TYPE": settings.pool_type,
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        # The Prefect server answers with 500 while its database is away: the worker and its runs retry, as they do
        # while the server itself is away.
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "charlm",  # our own lines reach the log of a flow run
    }
    programs = [_worker(settings, CPU_POOL, "", LONG_RUNS + SHORT_RUNS, variables)]
    if settings.pool_type != PROCESS and settings.gpus:
        return [*programs, _worker(settings, GPU_POOL, ",".join(settings.gpus), settings.num_gpus, variables)]
    return programs + [_worker(settings, GPU_POOL, gpus, 1, variables) for gpus in settings.gpus]


def pool_of(program: Program) -> str:
    """The work pool of a worker."""
    return GPU_POOL if program.name.startswith(GPU_POOL) else CPU_POOL


def recorded_name(program: Program) -> str:
    """The name by which the Prefect server knows a worker."""
    return program.command[program.command.index("--name") + 1]


def watcher(settings: ServiceSettings) -> Program:
    """The program that looks for new text, and for runs that are lost."""
    return Program(
        name=WATCHER,
        command=(sys.executable, "-m", "deployments.watcher"),
        variables=settings.client_variables() | {"PYTHONPATH": str(ROOT), "CHARLM_NOTIFY": settings.notify or ""},
    )


def _worker(settings: ServiceSettings, pool: str, gpus: str, limit: int, variables: dict[str, str]) -> Program:
    """A worker whose runs have a lower priority than the servers, which a training on every core would slow down."""
    prefect = (sys.executable, str(ROOT / "deployments" / "worker.py"))
    command = ("nice", "-n", str(_WORKER_NICENESS), *prefect, "worker", "start")
    named = worker_name(pool, settings.machine, gpus)
    options = ("--pool", pool, "--name", named, "--type", settings.pool_type, "--limit", str(limit))
    return Program(
        name="-".join([pool, *gpus.split(",")]) if gpus else pool,
        command=command + options,
        variables=variables | {"CUDA_VISIBLE_DEVICES": gpus},
    )


def _allowed_hosts(hosts: tuple[str, ...]) -> dict[str, str]:
    """The variables that let MLflow's pages be opened under these names: as host of a request, and as its origin.

    The names that MLflow admits by itself stay; its pages send requests with an origin, and only localhost's pass.
    """
    names = ("localhost", "127.0.0.1", "[::1]", *_PRIVATE_ADDRESSES, *hosts)
    origins = [f"{scheme}://{host}{port}" for host in hosts for scheme in ("http", "https") for port in ("", ":*")]
    everywhere = "*" in hosts
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*" if everywhere else ",".join(f"{name},{name}:*" for name in names),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "*" if everywhere else ",".join(origins),
    }


def _write_mlflow_access(settings: ServiceSettings) -> None:
    """Write the settings of MLflow's password check: where its users are, and what they may do."""
    files = settings.workspace.service
    access = configparser.ConfigParser()
    access["mlflow"] = {"default_permission": "READ", "database_uri": f"sqlite:///{files.mlflow_users}"}
    text = io.StringIO()
    access.write(text)
    write_text(files.mlflow_access, text.getvalue())
