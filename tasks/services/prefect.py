"""Start Prefect's temporary server, or reach the one that is set."""

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from charlm.distributed.watchdog import PARENT_VARIABLE
from charlm.errors import ConfigError

_LONGEST_START = 600.0  # seconds; the first start of a server builds its database, on a busy machine for minutes
_temporary_server: "subprocess.Popen[bytes] | None" = None


def start_prefect() -> None:
    """Start Prefect's temporary server, or make sure that the one of PREFECT_API_URL answers.

    Call it before importing Prefect. Raises ConfigError when there is no server in the end.
    """
    if "PREFECT_API_URL" not in os.environ:
        _start_temporary_server()
        return
    from httpx import HTTPStatusError
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            client.raise_for_api_version_mismatch()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"Prefect: {reason}; start its server or unset PREFECT_API_URL") from error
    except HTTPStatusError as error:
        server, answer = os.environ["PREFECT_API_URL"], error.response.status_code
        raise ConfigError(f"Prefect at {server} answers {answer}; set CHARLM_PASSWORD if it has a password") from error


def has_lasting_prefect() -> bool:
    """True when flows are told to a server that outlives them, which may count GPUs and hear of new text."""
    return "PREFECT_API_URL" in os.environ and _temporary_server is None


def _start_temporary_server() -> None:
    """Start the server that Prefect itself would start, and point this process at it until both end.

    Prefect 3.8 loads the whole server into its client first, for three seconds of work. The server inherits a blocked
    SIGINT: a Ctrl-C that ends a training with a checkpoint would otherwise end the server at once, and the run could
    no longer be told what became of it.
    """
    global _temporary_server
    home = Path(os.environ["PREFECT_HOME"])
    home.mkdir(parents=True, exist_ok=True)  # Prefect makes no parents
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    command = [sys.executable, "-m", "tasks.services.temporary_server", address[0], str(address[1])]
    variables = {
        **os.environ,
        PARENT_VARIABLE: str(os.getpid()),
        "PREFECT_UI_ENABLED": "0",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",  # which flows of ours have no use for
        # How Prefect 3.8 tells this server that it is temporary, and alone in its process.
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
    }
    old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        _temporary_server = subprocess.Popen(command, env=variables)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
    atexit.register(_end, _temporary_server)
    os.environ["PREFECT_API_URL"] = f"http://{address[0]}:{address[1]}/api"
    import prefect.client.orchestration  # noqa: F401  # while the server starts

    deadline = time.monotonic() + _LONGEST_START
    while _temporary_server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(address):  # it listens when its database is ready
            return
        time.sleep(0.05)
    raise ConfigError(f"Prefect: its temporary server did not start; is its database in {home} whole?")


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
