"""How a machine uses workspaces in object stores, from the environment.

Reads  CHARLM_WORKSPACE_CACHE, CHARLM_LEASE_SECONDS
"""

import os
from pathlib import Path

from charlm.data.cache import cache_dir
from charlm.errors import ConfigError
from charlm.storage.fingerprints import fingerprint

_LEASE_SECONDS = 60.0


def cache_folder(address: str) -> Path:
    """Where this machine keeps what it has of the workspace at `address`: in CHARLM_WORKSPACE_CACHE, or our cache."""
    given = os.environ.get("CHARLM_WORKSPACE_CACHE")
    parent = Path(given).expanduser() if given else cache_dir() / "workspaces"
    return (parent / fingerprint(address)).absolute()


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
