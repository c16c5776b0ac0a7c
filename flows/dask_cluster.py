"""Whether the workers of a Dask cluster, which may be on other machines, reach what a preparation needs."""

import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from charlm.errors import ConfigError
from tasks.services.environment import is_loopback

_CONNECT_SECONDS = 20
_ANSWER_SECONDS = 10


def check_cluster(address: str, server: str, workspace: Path) -> None:
    """Raise ConfigError, with the first worker of the scheduler at `address` that something is out of reach of.

    Workers report to the Prefect server at `server`, and work in the folder `workspace`.
    """
    from distributed import Client

    try:
        client = Client(address, timeout=_CONNECT_SECONDS)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"no Dask scheduler answers at DASK_SCHEDULER_ADDRESS={address}: {reason}") from error
    with client:
        workers = list(client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            raise ConfigError(f"the Dask scheduler at DASK_SCHEDULER_ADDRESS={address} has no workers; start some")
        if is_loopback(urlsplit(server).hostname or ""):
            _check_all_here(workers, server)
        found = client.run(what_is_missing, server, str(workspace), on_error="return")
    for worker, missing in found.items():
        if isinstance(missing, Exception):
            missing = f"cannot load charlm ({type(missing).__name__}: {missing}); install the same version there"
        if missing is not None:
            raise ConfigError(f"the Dask worker {worker} {missing}")


def what_is_missing(server: str, workspace: str) -> str | None:
    """On a worker: what it does not reach, and what to do; None where it reaches everything."""
    try:
        urllib.request.urlopen(f"{server}/health", timeout=_ANSWER_SECONDS).close()
    except OSError as error:
        return f"does not reach the Prefect server at {server} ({error}); set PREFECT_API_URL to one that it reaches"
    if not Path(workspace).is_dir():
        return f"does not see the workspace {workspace}; share the folder with its machine under the same path"
    return None


def _check_all_here(workers: list[str], server: str) -> None:
    """Raise ConfigError for a worker of another machine: it would look for `server` on its own."""
    import psutil

    own = {found.address for addresses in psutil.net_if_addrs().values() for found in addresses}
    for worker in workers:
        host = urlsplit(worker).hostname or ""
        if host not in own and not is_loopback(host):
            raise ConfigError(
                f"the Dask worker {worker} is on another machine, and the Prefect server {server} is reached from this"
                " one only; set PREFECT_API_URL to a server that it reaches, such as that of charlm up with"
                " CHARLM_HOST=0.0.0.0"
            )
