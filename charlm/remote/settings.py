"""How a machine uses workspaces in object stores, from the environment.

Reads  CHARLM_WORKSPACE_CACHE, CHARLM_WORKSPACE_CACHE_SIZE, CHARLM_SERVICE_FOLDER, CHARLM_LEASE_SECONDS
"""

import os
import shutil
from pathlib import Path

from charlm.config import parse_size
from charlm.data.cache import cache_dir
from charlm.errors import ConfigError
from charlm.storage.fingerprints import fingerprint

_LEASE_SECONDS = 60.0


def cache_folder(address: str) -> Path:
    """Where this machine keeps what it has of the workspace at `address`: in CHARLM_WORKSPACE_CACHE, or our cache."""
    given = os.environ.get("CHARLM_WORKSPACE_CACHE")
    parent = Path(given).expanduser() if given else cache_dir() / "workspaces"
    return (parent / fingerprint(address)).absolute()


def cache_bytes(root: Path, used: int) -> int:
    """How much a cache folder may hold, of which `used` is used: CHARLM_WORKSPACE_CACHE_SIZE, such as 200GB.

    By default half of what would be free on its disk without it.
    """
    given = os.environ.get("CHARLM_WORKSPACE_CACHE_SIZE")
    if given:
        return parse_size(given)
    root.mkdir(parents=True, exist_ok=True)
    return (shutil.disk_usage(root).free + used) // 2


def service_folder(address: str) -> Path:
    """Where `charlm up` keeps logs, databases and processes of the service for the workspace at `address`.

    It is no cache: nothing else has them. CHARLM_SERVICE_FOLDER names another folder.
    """
    given = os.environ.get("CHARLM_SERVICE_FOLDER")
    return (Path(given).expanduser() if given else cache_dir() / "services" / fingerprint(address)).absolute()


def lease_seconds() -> float:
    """How long a machine may be silent before others take over what it does; CHARLM_LEASE_SECONDS, or a minute.

    It has to be the same on all machines.
    """
    value = os.environ.get("CHARLM_LEASE_SECONDS") or str(_LEASE_SECONDS)
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"CHARLM_LEASE_SECONDS is a number of seconds above 0, got {value!r}")
    return seconds
