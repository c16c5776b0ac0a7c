"""The settings of the service of one machine, from the environment: addresses, folders, databases, password.

Reads  CHARLM_WORKSPACE, CHARLM_PREFECT_PORT, CHARLM_MLFLOW_PORT, CHARLM_HOST, CHARLM_ALLOWED_HOSTS,
       CHARLM_PUBLIC_HOST, CHARLM_MACHINE, CHARLM_WORK_POOL_TYPE, CHARLM_IMAGE,
       CHARLM_PASSWORD, CHARLM_OLD_PASSWORD, CHARLM_NOTIFY, DATABASE, ARTIFACTS, CUDA_VISIBLE_DEVICES,
       CHARLM_GPUS, CHARLM_GPUS_PER_WORKER, and for a workspace in an object store what charlm/remote/settings.py reads
"""

import ctypes
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from charlm.artifacts import Workspace
from charlm.errors import ConfigError, how_to_install
from charlm.remote.object_store import check_store_address
from charlm.remote.settings import service_folder
from charlm.remote.workspace import open_remote
from charlm.storage.workspace_address import workspace_address, workspace_folder
from deployments.work_pools import PROCESS, check_pool_type
from tasks.services.environment import access_variables, check_workspace_path, is_loopback

HOST = "127.0.0.1"
_EVERYWHERE = ("0.0.0.0", "::")
VARIABLES = (
    "CHARLM_WORKSPACE",
    "CHARLM_WORKSPACE_CACHE",
    "CHARLM_WORKSPACE_CACHE_SIZE",
    "CHARLM_SERVICE_FOLDER",
    "CHARLM_LEASE_SECONDS",
    "CHARLM_PREFECT_PORT",
    "CHARLM_MLFLOW_PORT",
    "CHARLM_HOST",
    "CHARLM_PUBLIC_HOST",
    "CHARLM_MACHINE",
    "CHARLM_ALLOWED_HOSTS",
    "CHARLM_WORK_POOL_TYPE",
    "CHARLM_IMAGE",
    "CHARLM_GPUS",
    "CHARLM_PASSWORD",
    "CHARLM_NOTIFY",
    "DATABASE",
    "ARTIFACTS",
)
"""The settings, which hold from one start to the next; CHARLM_OLD_PASSWORD is for one start alone."""
HEARTBEAT_SECONDS = 30
"""From one heartbeat of a flow run to the next."""
CPU_POOL, GPU_POOL = "charlm-cpu", "charlm-gpu"
ROOT = Path(__file__).parent.parent
"""Where `flows` and `tasks` are: the top of the checkout, or the package `charlm_pipeline` of an installation."""
_HOST = re.compile(r"\*|\*?[\w.-]+|\[[0-9a-fA-F:]+\]")
_PUBLIC_HOST = re.compile(r"[\w.-]+|\[[0-9a-fA-F:]+\]")
_MACHINE = re.compile(r"[\w.-]+")
_SHORTEST_PASSWORD = 12  # MLflow refuses a shorter one


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """One service: two servers and the workers beside them, bound to this machine."""

    workspace: Workspace
    """The folder of the service, and of everything else where `address` is not given."""
    address: str | None = None
    """Where corpora and runs are, in an object store."""
    prefect_port: int = 4200
    mlflow_port: int = 5000
    host: str = HOST
    """Where both servers listen; `0.0.0.0` admits every machine that reaches this one."""
    public_host: str | None = None
    """The name or address by which other machines reach both servers; none where they listen for this machine alone."""
    machine: str = field(default_factory=lambda: machine_name(os.environ))
    """What the workers of this machine are named after."""
    pool_type: str = PROCESS
    """How flow runs start: as processes beside their worker, or as containers of `docker`, `kubernetes` or `ecs`."""
    image: str | None = None
    """The image of flow runs that are containers."""
    database: str | None = None
    """`postgresql://USER:PASSWORD@HOST/NAME`, which holds the databases NAME_prefect and NAME_mlflow; SQLite else."""
    artifacts: str | None = None
    """`s3://BUCKET/PREFIX`, where the MLflow server keeps its artifacts; in the workspace else."""
    password: str | None = None
    """The password of both servers; none means no password check."""
    old_password: str | None = field(default=None, repr=False)
    """The password that MLflow's user has, where `password` is a new one."""
    allowed_hosts: tuple[str, ...] = ()
    """Names and addresses besides localhost under which the pages of MLflow are opened; `*` for every one."""
    notify: str | None = field(default=None, repr=False)
    """The webhook that gets messages about what happens; its address may be a secret."""
    gpus: tuple[str, ...] = ()
    """The CUDA devices of each worker, such as `0` or `0,1`; `visible_gpus` finds them."""

    @property
    def num_gpus(self) -> int:
        return sum(len(gpus.split(",")) for gpus in self.gpus)

    def __post_init__(self) -> None:
        check_workspace_path(self.workspace.root)
        if self.address is not None:
            check_store_address(self.address)
        if self.database is not None:
            if urlsplit(self.database).scheme != "postgresql":
                raise ConfigError(
                    "DATABASE is an address like postgresql://USER:PASSWORD@HOST/NAME; unset it for SQLite"
                )
            if find_spec("psycopg") is None:
                raise ConfigError(f"DATABASE needs the package psycopg; {how_to_install('postgresql')}")
        if self.artifacts is not None:
            parts = urlsplit(self.artifacts)
            if parts.scheme != "s3" or not parts.netloc:
                raise ConfigError("ARTIFACTS is an address like s3://BUCKET/PREFIX; unset it for the workspace")
            if find_spec("boto3") is None:
                raise ConfigError(f"ARTIFACTS needs the package boto3; {how_to_install('s3')}")
        if self.notify is not None:
            address = urlsplit(self.notify)
            if address.scheme not in ("http", "https") or not address.hostname:
                raise ConfigError("CHARLM_NOTIFY is the address of a webhook, like https://chat.example.org/hooks/…")
        if self.public_host is not None and not _PUBLIC_HOST.fullmatch(self.public_host):
            raise ConfigError(
                f"CHARLM_PUBLIC_HOST is a name or an address like head.example.org, got {self.public_host!r}"
            )
        if not _MACHINE.fullmatch(self.machine):
            raise ConfigError(f"the name of a machine has letters, digits, '.', '_' and '-', got {self.machine!r}")
        check_pool_type(self.pool_type, image=self.image, workspace=self.place, is_address=self.address is not None)
        if self.host != HOST and self.password is None:
            raise ConfigError(f"CHARLM_HOST={self.host} opens the servers to others; set CHARLM_PASSWORD, or unset it")
        for host in self.allowed_hosts:
            if not _HOST.fullmatch(host):
                raise ConfigError(
                    f"CHARLM_ALLOWED_HOSTS are names or addresses like models.example.org, with commas, got {host!r}"
                )
        if self.password is not None and len(self.password) < _SHORTEST_PASSWORD:
            raise ConfigError(f"CHARLM_PASSWORD has {len(self.password)} characters; MLflow needs {_SHORTEST_PASSWORD}")

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> "ServiceSettings":
        place = variables.get("CHARLM_WORKSPACE") or "workspace"
        address = workspace_address(place)
        return cls(
            workspace=Workspace(workspace_folder(place) if address is None else service_folder(address)),
            address=address,
            prefect_port=_port(variables, "CHARLM_PREFECT_PORT", cls.prefect_port),
            mlflow_port=_port(variables, "CHARLM_MLFLOW_PORT", cls.mlflow_port),
            host=variables.get("CHARLM_HOST") or HOST,
            public_host=_public_host(variables),
            machine=machine_name(variables),
            pool_type=variables.get("CHARLM_WORK_POOL_TYPE") or PROCESS,
            image=variables.get("CHARLM_IMAGE") or None,
            database=variables.get("DATABASE") or None,
            artifacts=variables.get("ARTIFACTS") or None,
            password=variables.get("CHARLM_PASSWORD") or None,
            old_password=variables.get("CHARLM_OLD_PASSWORD") or None,
            notify=variables.get("CHARLM_NOTIFY") or None,
            allowed_hosts=tuple(re.findall(r"[^\s,]+", variables.get("CHARLM_ALLOWED_HOSTS", ""))),
        )

    @property
    def place(self) -> str:
        """What leads to corpora and runs, for every machine."""
        return str(self.workspace.root) if self.address is None else self.address

    def open_workspace(self, on_event: Callable[[str], None]) -> Workspace:
        """The workspace of corpora and runs; of one in an object store, `on_event` gets a line about what happens."""
        return self.workspace if self.address is None else open_remote(self.address, on_event)

    @property
    def prefect_api_url(self) -> str:
        return self.addresses()["PREFECT_API_URL"]

    @property
    def mlflow_url(self) -> str:
        return self.addresses()["MLFLOW_TRACKING_URI"]

    def addresses(self) -> dict[str, str]:
        """The variables that lead a program of this machine to both servers."""
        return self._addresses_at(HOST if self.host in _EVERYWHERE else self.host)

    def public_addresses(self) -> dict[str, str]:
        """The same for programs of other machines; none where the servers do not listen for them."""
        return {} if self.public_host is None else self._addresses_at(self.public_host)

    def _addresses_at(self, host: str) -> dict[str, str]:
        return {
            "PREFECT_API_URL": f"http://{host}:{self.prefect_port}/api",
            "MLFLOW_TRACKING_URI": f"http://{host}:{self.mlflow_port}",
        }

    def client_variables(self) -> dict[str, str]:
        """What a worker needs: the addresses, the password, and the folders."""
        return {
            **self.addresses(),
            **access_variables(self.password),
            "CHARLM_WORKSPACE": self.place,
            "PREFECT_HOME": str(self.workspace.prefect_home),
        }

    def database_urls(self) -> tuple[str, str]:
        """The addresses of Prefect's and of MLflow's database, each in the form that its server takes.

        They are two databases, because both keep a table `alembic_version`.
        """
        if self.database is None:
            embedded = self.workspace.prefect_home / "prefect.db"
            return f"sqlite+aiosqlite:///{embedded}", f"sqlite:///{self.workspace.mlflow_db}"
        parts = urlsplit(self.database)
        prefect = parts._replace(scheme="postgresql+asyncpg", path=f"{parts.path}_prefect")
        mlflow = parts._replace(scheme="postgresql+psycopg", path=f"{parts.path}_mlflow")
        return prefect.geturl(), mlflow.geturl()


def environment_settings(workspace: Path) -> ServiceSettings:
    """The settings of this process's environment, for a workspace that it does not name."""
    return ServiceSettings.from_environment({**os.environ, "CHARLM_WORKSPACE": str(workspace)})


def machine_name(variables: Mapping[str, str]) -> str:
    """What the workers of this machine are named after: CHARLM_MACHINE, or its host name."""
    return variables.get("CHARLM_MACHINE") or re.sub(r"[^\w.-]", "-", socket.gethostname()) or "localhost"


def _public_host(variables: Mapping[str, str]) -> str | None:
    """CHARLM_PUBLIC_HOST; else where the servers listen, or the host name where that is everywhere."""
    host = variables.get("CHARLM_HOST") or HOST
    if given := variables.get("CHARLM_PUBLIC_HOST"):
        if is_loopback(host):
            raise ConfigError(
                f"CHARLM_PUBLIC_HOST={given} is for servers that listen for other machines; set CHARLM_HOST=0.0.0.0 too"
            )
        return given
    if host in _EVERYWHERE:
        return socket.gethostname()
    return None if is_loopback(host) else host


def visible_gpus(variables: Mapping[str, str]) -> tuple[str, ...]:
    """The CUDA devices that this process may use, for each worker as CUDA_VISIBLE_DEVICES takes them.

    Each worker gets one, or CHARLM_GPUS_PER_WORKER of them for trainings with as many processes; what is left over goes
    to a last one. CHARLM_GPUS is their number where this process cannot see them, as those of containers.
    """
    given, visible = variables.get("CHARLM_GPUS"), variables.get("CUDA_VISIBLE_DEVICES")
    if given and not given.isdecimal():
        raise ConfigError(f"CHARLM_GPUS is a number of devices, got {given!r}")
    count = int(given) if given else num_gpus()
    names = visible.split(",")[:count] if visible else list(map(str, range(count)))
    value = variables.get("CHARLM_GPUS_PER_WORKER") or "1"
    size = int(value) if value.isdecimal() else 0
    if size < 1 or size > max(count, 1):
        raise ConfigError(f"CHARLM_GPUS_PER_WORKER is a number of GPUs, of which there are {count}; got {value!r}")
    return tuple(",".join(names[start : start + size]) for start in range(0, count, size))


def num_gpus() -> int:
    """The CUDA devices that torch sees; it is not asked, which takes seconds, where no driver is installed."""
    if not _has_gpu_driver():
        return 0
    import torch

    return torch.cuda.device_count()


def _has_gpu_driver() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists()  # of AMD
    return True


def _port(variables: Mapping[str, str], name: str, default: int) -> int:
    value = variables.get(name) or str(default)
    if not value.isdigit() or not 0 < int(value) < 65536:
        raise ConfigError(f"{name} is a port between 1 and 65535, got {value!r}")
    return int(value)
