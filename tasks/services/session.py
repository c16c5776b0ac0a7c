"""What this process holds while it works in a workspace: environment, child trainings, Prefect's temporary server.

The command line and the flows open a session; a process may open several, of which one is active at a time.
Prefect and MLflow read their settings from the environment of the process, so an active session sets the variables of
its workspace, which lead to the servers of the service that runs there, and takes them back when another one becomes
active. What the user has set is never changed.

Writes mlflow.db    (artifact locations, when the workspace was moved or copied)
"""

import os
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from charlm.remote.object_store import check_store_address
from charlm.remote.settings import service_folder
from charlm.remote.workspace import open_remote
from charlm.storage.workspace_address import workspace_address, workspace_folder
from tasks.services.environment import (
    ask_loopback_directly,
    check_dotenv,
    check_proxies,
    check_workspace_path,
    find_temporary_folder,
    workspace_variables,
)
from tasks.services.mlflow_database import move_artifact_root, uses_embedded_mlflow
from tasks.services.own_service import service_addresses
from tasks.services.prefect import TemporaryServer, check_prefect_server, check_prefect_settings, first_start
from tasks.services.prefect_compat import prefect_server_variables, reload_settings
from tasks.services.trainings import Trainings
from tasks.terminal import show_warnings, terminal

_SERVERS = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")


class Session:
    """The work of this process in one workspace."""

    _active: ClassVar["Session | None"] = None
    _sessions: ClassVar[dict[Path, "Session"]] = {}

    def __init__(self, workspace: Workspace) -> None:
        """Use `Session.open`, which makes one session per workspace."""
        self.workspace = workspace
        self.trainings = Trainings()
        self._server: TemporaryServer | None = None
        self._service: dict[str, str] = {}  # addresses
        self._variables: dict[str, str] = {}

    @classmethod
    def open(cls, root: Path | str) -> "Session":
        """The session of the workspace at `root`, active from now on.

        `root` may be the address of an object store, whose cache folder the session then works in.
        Raises ConfigError when `root` is a file, or while the session that was active still trains, and StoreError when
        the object store cannot be used.
        """
        address = workspace_address(root)
        if address is None:
            workspace = Workspace(workspace_folder(root))
            addresses = cls._addresses(workspace)
        else:
            check_store_address(address)
            addresses = cls._addresses(Workspace(service_folder(address)))
            cls._check_registry(address, addresses)
            workspace = open_remote(address, terminal.print_line)
        if workspace.root.exists() and not workspace.root.is_dir():
            raise ConfigError(f"the workspace {workspace.root} is a file; give --workspace a folder")
        check_workspace_path(workspace.root)
        show_warnings()
        ask_loopback_directly()
        find_temporary_folder(workspace)
        session = cls.of(workspace)
        session._service = addresses
        session._activate()
        if uses_embedded_mlflow(workspace):
            move_artifact_root(workspace, str(workspace.mlflow_artifacts_dir))
        return session

    @classmethod
    def _addresses(cls, workspace: Workspace) -> dict[str, str]:
        """Where the servers of the service in `workspace` are; none where the user has named both servers."""
        own = {} if cls._active is None else cls._active._variables
        if all(name in os.environ and name not in own for name in _SERVERS):
            return {}
        return service_addresses(workspace)

    @classmethod
    def _check_registry(cls, address: str, addresses: dict[str, str]) -> None:
        """Raise ConfigError where no MLflow server is known: an object store holds no database."""
        own = {} if cls._active is None else cls._active._variables
        given = None if "MLFLOW_TRACKING_URI" in own else os.environ.get("MLFLOW_TRACKING_URI")
        if not given and "MLFLOW_TRACKING_URI" not in addresses:
            raise ConfigError(
                f"the workspace {address} holds no MLflow database; set MLFLOW_TRACKING_URI to the MLflow server of all"
                " machines that use it"
            )
        if given and urlsplit(given).scheme in ("", "file", "sqlite"):
            raise ConfigError(
                f"MLFLOW_TRACKING_URI={given} is on this machine alone, and the workspace {address} is of several; set"
                " it to the MLflow server of all"
            )

    @classmethod
    def of(cls, workspace: Workspace) -> "Session":
        """The session of `workspace`, active or not."""
        return cls._sessions.setdefault(workspace.root, cls(workspace))

    @classmethod
    def active(cls) -> "Session":
        """The session that was opened last; raises ConfigError when there is none."""
        if cls._active is None:
            raise ConfigError("no workspace is open in this process; open one with use_workspace(FOLDER)")
        return cls._active

    def start_prefect(self) -> None:
        """Start Prefect's temporary server, or make sure that the one of PREFECT_API_URL answers.

        Raises ConfigError when there is no server in the end.
        """
        check_dotenv()
        check_proxies()
        self._activate()
        check_prefect_settings(self._variables)
        if self._server is not None and self._server.is_running:
            return
        if "PREFECT_API_URL" in os.environ:
            check_prefect_server()
            return
        with first_start(self.workspace):
            self._server = TemporaryServer()
            self._set({"PREFECT_API_URL": self._server.api_url})
            reload_settings()
            self._server.wait()

    @property
    def has_temporary_server(self) -> bool:
        return self._server is not None and os.environ.get("PREFECT_API_URL") == self._server.api_url

    def _activate(self) -> None:
        before = prefect_server_variables()
        if Session._active is not None and Session._active is not self:
            Session._active._deactivate()
        Session._active = self
        if self._server is not None and not self._server.is_running:
            self._unset(["PREFECT_API_URL"])
            self._server = None
        own_server = {} if self._server is None else {"PREFECT_API_URL": self._server.api_url}
        self._set(workspace_variables(self.workspace) | self._service | own_server)
        if prefect_server_variables() != before:
            reload_settings()

    def _deactivate(self) -> None:
        if self.trainings.are_running:
            raise ConfigError(f"this process still trains in {self.workspace.root}; open another workspace afterwards")
        self._unset(list(self._variables))

    def _set(self, variables: dict[str, str]) -> None:
        """Set those of `variables` that the user has not set."""
        for name, value in variables.items():
            if name not in os.environ:
                os.environ[name] = self._variables[name] = value

    def _unset(self, names: list[str]) -> None:
        """Take back variables that this session has set, and that have not been changed since."""
        for name in names:
            if os.environ.get(name) == self._variables.pop(name, None):
                os.environ.pop(name, None)


def use_workspace(root: Path | str) -> Workspace:
    """The workspace at `root`, with Prefect and MLflow pointed at it; raises ConfigError when it is a file."""
    return Session.open(root).workspace


def start_prefect() -> None:
    """Start Prefect's temporary server for the active session, or check the one of PREFECT_API_URL."""
    Session.active().start_prefect()


def has_lasting_prefect() -> bool:
    """True when the Prefect server outlives this process, and so counts GPU slots and receives events of new text."""
    session = Session._active
    return "PREFECT_API_URL" in os.environ and not (session is not None and session.has_temporary_server)
