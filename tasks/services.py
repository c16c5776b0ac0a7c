"""Where Prefect and MLflow keep their things: inside the workspace, unless their own variables name a server.

`use_workspace` must run before either library is imported, because both read the environment when they are.
Reads  MLFLOW_TRACKING_URI, PREFECT_API_URL   (a server of the user's, which replaces the embedded default)
       CHARLM_PASSWORD                        (what such servers ask for, where `make up` started them with one)
Writes mlflow.db                              (artifact locations, when the workspace was moved or copied)
"""

import atexit
import contextlib
import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from charlm.trainers.parent import PARENT_VARIABLE
from tasks.display import show_warnings

__all__ = [
    "ARTIFACT_ROOT_TAG",
    "SERVER_ARTIFACT_ROOT",
    "USER_NAME",
    "Workspace",
    "access_variables",
    "has_lasting_prefect",
    "keep_libraries_quiet",
    "move_artifact_root",
    "start_prefect",
    "use_workspace",
    "uses_embedded_mlflow",
]

ARTIFACT_ROOT_TAG = "charlm.artifact_root"
SERVER_ARTIFACT_ROOT = "mlflow-artifacts:"
"""Stands for the artifacts that an MLflow server hands out."""
USER_NAME = "charlm"
"""Who asks, where the servers want a password."""

_LONGEST_START = 600.0  # seconds; the first start of a server builds its database, on a busy machine for minutes
_temporary_server: "subprocess.Popen[bytes] | None" = None

# Every column in which MLflow 3.17 stores an absolute artifact location.
_LOCATION_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)


def use_workspace(root: Path | str) -> Workspace:
    """The workspace at `root`, with Prefect and MLflow pointed at it; raises ConfigError when it is a file."""
    workspace = Workspace(Path(root).expanduser().absolute())
    if workspace.root.exists() and not workspace.root.is_dir():
        raise ConfigError(f"the workspace {workspace.root} is a file; give --workspace a folder")
    defaults = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{workspace.mlflow_db}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # A server that is away must not hold up a training: the default of 7 retries blocks for 4 minutes.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Our own lines reach the run's log in the Prefect UI through this logger.
        "PREFECT_LOGGING_EXTRA_LOGGERS": "charlm",
        **access_variables(os.environ.get("CHARLM_PASSWORD")),
    }
    try:
        Path.home()
    except RuntimeError:  # Prefect asks for it; container engines say the same to users whom no password file knows
        defaults["HOME"] = "/"
    if "PREFECT_API_URL" not in os.environ:  # with a server, the user's own profile may hold its key
        defaults["PREFECT_HOME"] = str(workspace.prefect_home)
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    show_warnings()
    if uses_embedded_mlflow(workspace):
        move_artifact_root(workspace, str(workspace.mlflow_artifacts_dir))
    return workspace


def access_variables(password: str | None) -> dict[str, str]:
    """The variables with which a program passes the password check of both servers; none without a password."""
    if not password:
        return {}
    return {
        "PREFECT_API_AUTH_STRING": f"{USER_NAME}:{password}",
        "MLFLOW_TRACKING_USERNAME": USER_NAME,
        "MLFLOW_TRACKING_PASSWORD": password,
    }


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
    command = [sys.executable, "-m", "tasks.temporary_server", address[0], str(address[1])]
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


def keep_libraries_quiet() -> None:
    """Leave the terminal to our own lines: for the command line, not for workers."""
    quiet = {
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "HF_HUB_VERBOSITY": "error",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").propagate = False
    logging.getLogger("py.warnings").addHandler(logging.NullHandler())


def uses_embedded_mlflow(workspace: Workspace) -> bool:
    return os.environ.get("MLFLOW_TRACKING_URI") == f"sqlite:///{workspace.mlflow_db}"


def move_artifact_root(workspace: Workspace, new_root: str) -> None:
    """Point MLflow's database in the workspace at the artifacts at `new_root`: a folder, or SERVER_ARTIFACT_ROOT.

    MLflow stores artifact locations as absolute paths and resolves relative ones when it stores them, so a copied
    workspace would go on reading the artifacts of the original, and a server would send its clients to its own folder.
    """
    if not workspace.mlflow_db.is_file():
        return
    connection = sqlite3.connect(workspace.mlflow_db, timeout=30)
    try:
        with connection:
            try:
                rows = connection.execute(
                    "SELECT DISTINCT value FROM experiment_tags WHERE key = ? AND value != ?",
                    (ARTIFACT_ROOT_TAG, new_root),
                ).fetchall()
            except sqlite3.OperationalError:  # the tables are not there yet
                return
            for (old_root,) in rows:
                for table, column in _LOCATION_COLUMNS:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                        f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (new_root, len(old_root) + 1, old_root, len(old_root) + 1, old_root + "/"),
                    )
                connection.execute(
                    "UPDATE experiment_tags SET value = ? WHERE key = ? AND value = ?",
                    (new_root, ARTIFACT_ROOT_TAG, old_root),
                )
    finally:
        connection.close()
