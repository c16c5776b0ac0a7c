"""A Prefect server that tests own, on a free port, for commands that need not wait for one of their own."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from charlm.distributed.watchdog import PARENT_VARIABLE
from tests.conftest import ROOT, environment

_PREFECT = Path(sys.executable).with_name("prefect")
_START_SECONDS = 600  # on a machine that does much else


def build_database(home: Path) -> None:
    """Make the database of a server with this PREFECT_HOME, which takes longer than the server itself."""
    command = [_PREFECT, "server", "database", "upgrade", "--yes"]
    done = subprocess.run(command, env=_variables(home), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@contextmanager
def prefect_server(home: Path, **variables: str) -> Iterator[dict[str, str]]:
    """The variables that lead a command to a server with this PREFECT_HOME, started with `variables` too."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tasks.services.temporary_server", "127.0.0.1", str(port)],
        cwd=ROOT,
        env=_variables(home) | {PARENT_VARIABLE: str(os.getpid())} | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        api = f"http://127.0.0.1:{port}/api"
        deadline = time.monotonic() + _START_SECONDS
        while not answers(f"{api}/health"):
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.25)
        yield {"PREFECT_API_URL": api, "PREFECT_HOME": str(home)}
    finally:
        process.terminate()
        process.wait()


def _variables(home: Path) -> dict[str, str]:
    """With them a server starts without what no flow of ours has use for, and does nothing by itself but record."""
    idle = ("SCHEDULER", "LATE_RUNS", "PAUSE_EXPIRATIONS", "CANCELLATION_CLEANUP", "FOREMAN", "REPOSSESSOR", "TRIGGERS")
    without = {"PREFECT_UI_ENABLED": "0", "PREFECT_API_BLOCKS_REGISTER_ON_START": "0"}
    without |= {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in idle}
    return environment() | without | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


def answers(url: str) -> bool:
    """True when a server says at `url` that it is well."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def ask(server: dict[str, str], path: str, body: dict[str, Any]) -> Any:
    """What the Prefect server answers to a POST."""
    request = urllib.request.Request(
        f"{server['PREFECT_API_URL']}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)
