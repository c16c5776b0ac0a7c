"""Prefect's temporary server, and a check of the one that PREFECT_API_URL names."""

import atexit
import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from importlib.metadata import version
from pathlib import Path

from charlm.artifacts import Workspace
from charlm.distributed.watchdog import PARENT_VARIABLE
from charlm.errors import ConfigError
from charlm.storage.atomic import write_text
from charlm.storage.locks import exclusive_lock
from tasks.services.prefect_compat import CONSOLE_LEVEL, send_what_waits, temporary_server_variables

_QUIETENED = (CONSOLE_LEVEL, "PREFECT_SERVER_LOGGING_LEVEL")  # by the command line
_LONGEST_START = 1800.0  # seconds; the first start of a server builds its database, on a busy machine for many minutes
_LONGEST_END = 60.0  # seconds; it writes the last events, and may wait for the servers of other commands


@contextlib.contextmanager
def first_start(workspace: Workspace) -> Iterator[None]:
    """For the start of a server: alone, until one of this version of Prefect has made or changed the database."""
    installed = version("prefect")
    marker = workspace.lock_of("prefect-ready")
    if "PREFECT_HOME" in os.environ and Path(os.environ["PREFECT_HOME"]) != workspace.prefect_home:
        yield  # the user's own
        return
    if marker.is_file() and marker.read_text(encoding="utf-8") == installed:
        yield
        return
    with exclusive_lock(workspace.lock_of("prefect"), busy=None):
        yield
        write_text(marker, installed)


class TemporaryServer:
    """The server that Prefect itself would start, in a process that ends with this one.

    Prefect 3.8 loads the whole server into its client first, for three seconds of work. The server inherits a blocked
    SIGINT: a Ctrl-C that ends a training with a checkpoint would otherwise end the server at once, and the state of
    the flow run could not be reported any more.
    """

    def __init__(self) -> None:
        """Start it on the database in PREFECT_HOME; `wait` until it answers."""
        self._home = Path(os.environ["PREFECT_HOME"])
        self._home.mkdir(parents=True, exist_ok=True)  # Prefect makes no parents
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._address: tuple[str, int] = probe.getsockname()
        host, port = self._address
        command = [sys.executable, "-m", "tasks.services.temporary_server", host, str(port)]
        variables = {**os.environ, PARENT_VARIABLE: str(os.getpid()), **temporary_server_variables()}
        old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process = subprocess.Popen(command, env=variables)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
        atexit.register(self.end)

    @property
    def api_url(self) -> str:
        return f"http://{self._address[0]}:{self._address[1]}/api"

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> None:
        """Load Prefect's client, and return when the server answers; raises ConfigError when it ends instead."""
        import prefect.client.orchestration  # noqa: F401  # seconds, while the server starts

        deadline = time.monotonic() + _LONGEST_START
        while self.is_running and time.monotonic() < deadline:
            # It listens when its database is ready.
            with contextlib.suppress(OSError), socket.create_connection(self._address):
                return
            time.sleep(0.05)
        raise ConfigError(f"Prefect: its temporary server did not start; is its database in {self._home} damaged?")

    def end(self) -> None:
        """Stop it, after it has received the last logs."""
        send_what_waits()
        self._process.terminate()
        try:
            self._process.wait(_LONGEST_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def check_prefect_settings(ours: Collection[str]) -> None:
    """Raise ConfigError, in one line, for a setting that Prefect cannot read.

    It takes settings from variables, and from files of other programs that are in the current folder. Nothing is
    checked, as it takes a second, where there are only the variables that are `ours`.
    """
    names = [name for name in os.environ if name.startswith("PREFECT_") and name not in {*ours, *_QUIETENED}]
    files = [name for name in (".env", "prefect.toml", "pyproject.toml") if Path(name).is_file()]
    if not names and not files:
        return
    from pydantic import ValidationError

    try:
        with contextlib.redirect_stderr(io.StringIO()):  # where its plugins report the same
            from prefect.settings import get_current_settings

            get_current_settings()
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        if isinstance(error, ValidationError):
            found = error.errors()[0]
            reason = f"{error.title}, {'.'.join(map(str, found['loc']))}={found['input']}: {found['msg']}"
        places = [*names[:5], *(str(Path(name).absolute()) for name in files)]
        raise ConfigError(f"Prefect cannot read its settings ({reason}); correct {', '.join(places)}") from error


def check_prefect_server() -> None:
    """Raise ConfigError when the server of PREFECT_API_URL does not answer, or refuses us."""
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
