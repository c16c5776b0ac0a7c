"""The variables that lead Prefect and MLflow into a workspace, and those that quieten them.

Reads  PREFECT_API_URL, CHARLM_PASSWORD    (a server of the user, and its password)
"""

import logging
import os
from pathlib import Path

from charlm.artifacts import Workspace
from tasks.services.prefect_compat import CONSOLE_LEVEL

USER_NAME = "charlm"
"""The user of both servers, where they have a password."""


def workspace_variables(workspace: Workspace) -> dict[str, str]:
    """What Prefect and MLflow need to keep their data in `workspace`; a variable that the user has set goes first."""
    variables = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{workspace.mlflow_db}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # A server that is away must not hold up a training: the default of 7 retries blocks for 4 minutes.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Our own lines reach the log of a flow run in the Prefect UI through this logger.
        "PREFECT_LOGGING_EXTRA_LOGGERS": "charlm",
        **access_variables(os.environ.get("CHARLM_PASSWORD")),
    }
    try:
        Path.home()
    except RuntimeError:  # Prefect needs one; container engines set the same for users without an entry in passwd
        variables["HOME"] = "/"
    if "PREFECT_API_URL" not in os.environ:  # with a server, the user's own profile may hold its key
        variables["PREFECT_HOME"] = str(workspace.prefect_home)
    return variables


def access_variables(password: str | None) -> dict[str, str]:
    """The variables with which a client logs in to both servers; none without a password."""
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
        CONSOLE_LEVEL: "CRITICAL",
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
