"""Where Prefect and MLflow keep their things: inside the workspace, unless their own variables name a server.

`use_workspace` must run before either library is imported, because both read the environment when they are.
Reads  MLFLOW_TRACKING_URI, PREFECT_API_URL   (a server of the user's, which replaces the embedded default)
       CHARLM_PASSWORD                        (what such servers ask for, where `make up` started them with one)
Writes mlflow.db                              (artifact locations, when the workspace was moved or copied)
"""

import logging
import os
from pathlib import Path

from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from tasks.services.mlflow_database import move_artifact_root, uses_embedded_mlflow
from tasks.terminal import show_warnings

USER_NAME = "charlm"
"""Who asks, where the servers want a password."""


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
