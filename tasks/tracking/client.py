"""MLflow's client, and its errors as short lines."""

import getpass
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.arrays.masks import polars
from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from charlm.storage.atomic import atomic_write
from charlm.storage.locks import exclusive_lock
from tasks.services.mlflow_compat import make_tables, wait_for_sqlite

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException


_opened: set[str] = set()
"""Databases that this process has opened before."""


def mlflow_client() -> "MlflowClient":
    """The client of the tracking server that the environment names.

    Raises ConfigError where its database cannot be created.
    """
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    _check_database_can_be_made()
    from mlflow import MlflowClient

    polars()  # which MLflow has imported; keeps Ctrl-C working
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith("sqlite:///") or uri in _opened:
        return MlflowClient()
    wait_for_sqlite()
    with _alone(database := Path(uri.removeprefix("sqlite:///"))):
        if not database.is_file():
            with atomic_write(database) as draft:  # a process that is killed leaves no half of the tables
                make_tables(Path(draft.name))
        client = MlflowClient()  # which adds the experiment Default where it is missing
    _opened.add(uri)
    return client


@contextmanager
def _alone(database: Path) -> Iterator[None]:
    """While one process makes what is missing in an SQLite database, the others that open it wait."""
    with ExitStack() as stack:
        with suppress(OSError):  # a folder that nobody may write to has a whole database already
            stack.enter_context(exclusive_lock(Workspace(database.parent).lock_of("mlflow"), busy=None))
        yield


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
