"""The variables that lead Prefect and MLflow into a workspace, and those that quieten them.

Reads  PREFECT_API_URL, CHARLM_PASSWORD    (a server of the user, and its password)
"""

import logging
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import unquote

from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from charlm.storage.workspace_address import check_is_folder
from tasks.services.prefect_compat import CONSOLE_LEVEL

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TEMPORARY_BYTES = 64 << 20  # SQLite and MLflow write temporary files; too little room ends as a database that is full
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
        # Several commands write to one SQLite database: a server that found it locked answers 500 or 503. Its clients
        # try again after 2, 4, ... 128 seconds, each at another moment.
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,503",
        "PREFECT_CLIENT_MAX_RETRIES": "7",
        "PREFECT_CLIENT_RETRY_JITTER_FACTOR": "0.5",
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


def check_workspace_path(root: Path) -> None:
    """Raise ConfigError for a folder whose path MLflow and Prefect would read as something else.

    Both put it into addresses: what follows `?` is a query, `%20` stands for a blank, and `{{` begins a template.
    """
    path = str(check_is_folder(root))
    found = next((part for part in ("?", "{{") if part in path), None)
    if found is None and unquote(path) != path:
        found = "%"
    if found is None and not path.isprintable():
        found = "a character that cannot be seen"
    if found is not None:
        raise ConfigError(f"the workspace {path!r} has {found} in its path, which databases misread; choose another")


def is_loopback(host: str) -> bool:
    """True for a name or address by which every machine reaches itself alone."""
    host = host.strip("[]").lower()
    return host in _LOOPBACK or host.startswith("127.") or host.endswith(".localhost")


def ask_loopback_directly() -> None:
    """Keep requests to this machine away from the proxy of the network, which knows nothing of its servers."""
    if not any(name.lower() in _PROXIES and value for name, value in os.environ.items()):
        return
    for name in ("no_proxy", "NO_PROXY"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host.strip()]
        if "*" not in hosts:
            os.environ[name] = ",".join([*hosts, *(host for host in _LOOPBACK if host not in hosts)])


def check_proxies() -> None:
    """Raise ConfigError for a proxy of the environment that the HTTP client of Prefect cannot use.

    It prepares all proxies when it starts, also where it needs none: a SOCKS proxy needs the package socksio.
    """
    names = sorted(name for name, value in os.environ.items() if name.lower() in _PROXIES and value)
    if not names:
        return
    import httpx

    try:
        httpx.Client().close()
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        remedy = "pip install socksio" if isinstance(error, ImportError) else "correct it"
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise ConfigError(
            f"Prefect cannot use the proxy of {', '.join(names)} ({reason}); {remedy}, or unset it for this command"
        ) from error


def find_temporary_folder(workspace: Workspace) -> None:
    """Use a folder in the workspace for temporary files where the system has none with room that can be written."""
    try:
        room = shutil.disk_usage(tempfile.gettempdir()).free
    except FileNotFoundError:
        room = 0
    existing = next(folder for folder in (workspace.root, *workspace.root.parents) if folder.is_dir())
    if room >= _TEMPORARY_BYTES or room >= shutil.disk_usage(existing).free:
        return
    folder = workspace.root / ".tmp"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def check_dotenv() -> None:
    """Raise ConfigError for a `.env` that Prefect could not read; it takes the one of the current folder."""
    path = Path(".env")
    try:
        if path.is_file():
            path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
        raise ConfigError(
            f"{path.absolute()} {reason}, and Prefect reads it; convert it, or run the command in another folder"
        ) from error


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
