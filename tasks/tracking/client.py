"""MLflow's client, and its errors as short lines."""

import getpass
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.arrays.masks import polars
from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from charlm.storage.locks import exclusive_lock
from tasks.services.mlflow_compat import wait_for_sqlite

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException


_with_tables: set[str] = set()
"""Databases that have their tables, as far as this process knows."""


def mlflow_client() -> "MlflowClient":
    """The client of the tracking server that the environment names.

    Raises ConfigError where its database cannot be created.
    """
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    _check_database_can_be_made()
    from mlflow import MlflowClient

    polars()  # which MLflow has imported; keeps Ctrl-C working
    client = MlflowClient()
    _make_tables(client)
    return client


def _make_tables(client: "MlflowClient") -> None:
    """Let one process make the tables of an SQLite database, while others that use it for the first time wait."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith("sqlite:///") or uri in _with_tables:
        return
    wait_for_sqlite()
    workspace = Workspace(Path(uri.removeprefix("sqlite:///")).parent)
    with (
        suppress(Exception),
        exclusive_lock(workspace.lock_of("mlflow"), busy=None),
    ):  # a fault appears where it is asked
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
        _with_tables.add(uri)


def _check_database_can_be_made() -> None:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    database = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or database.is_file():
        return
    folder = next(folder for folder in database.absolute().parents if folder.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(f"MLflow's database {database} cannot be created: {folder} is not a writable folder")


def user_name() -> str:
    """The user's name, or number where there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # containers run under user ids without an entry in passwd
        return str(os.getuid())


def mlflow_error() -> "type[MlflowException]":
    """The class of what MLflow raises; a function, because MLflow takes seconds to load."""
    from mlflow.exceptions import MlflowException

    return MlflowException


def first_line(error: Exception) -> str:
    """The first line of an error of a library, shortened."""
    if "Max retries exceeded" in str(error):
        return "no answer"
    return str(error).strip().split("\n")[0][:200] or type(error).__name__
