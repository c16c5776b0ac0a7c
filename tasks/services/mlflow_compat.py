"""What we use of MLflow that is not part of its documented API; written for MLflow 3.17.

A new release may rename any of it: `SYMBOLS` and `COLUMNS` are checked by tests/tasks/services/test_compat.py.
"""

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

LOCATION_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""Every table and column in which MLflow stores an absolute artifact location."""
EXPERIMENT_TAGS = "experiment_tags"
"""The table with the tags of experiments."""
_VERSION_COLUMNS = ("name", "version", "current_stage", "source", "description", "workspace")
_ALIAS_COLUMNS = ("name", "version", "alias", "workspace")
COLUMNS = (
    *LOCATION_COLUMNS,
    *((EXPERIMENT_TAGS, column) for column in ("key", "value")),
    *(("model_versions", column) for column in _VERSION_COLUMNS),
    *(("registered_model_aliases", column) for column in _ALIAS_COLUMNS),
)
"""Every table and column that we rely on."""
VERSION_OF_NUMBER = """
    SELECT version, coalesce(storage_location, source) FROM model_versions
    WHERE name = ? AND version = ? AND current_stage != 'Deleted_Internal'
"""
"""Number and artifact location of a version, by name and number."""
VERSION_OF_ALIAS = """
    SELECT version, coalesce(storage_location, source) FROM model_versions JOIN registered_model_aliases
    USING (workspace, name, version) WHERE name = ? AND alias = ? AND current_stage != 'Deleted_Internal'
"""
"""The same by name and alias."""
LONGEST_DESCRIPTION = 5_000
"""Characters of a version's description: the width of its column, which MLflow does not check in SQLite."""
SYMBOLS = (
    "mlflow.store.artifact.artifact_repository_registry:get_artifact_repository",
    "mlflow.store.artifact.mlflow_artifacts_repo:MlflowArtifactsRepository.delete_artifacts",
    "mlflow.store.db.base_sql_model:Base.metadata",
    "mlflow.store.db.utils:_initialize_tables",
    "mlflow.system_metrics.system_metrics_monitor:SystemMetricsMonitor.finish",
    "mlflow.system_metrics.system_metrics_monitor:SystemMetricsMonitor.start",
)
"""`module:name` of every such object."""


def make_tables(database: Path) -> None:
    """Make MLflow's tables in an SQLite database without any."""
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{database}")
    try:
        _initialize_tables(engine)  # type: ignore[no-untyped-call]
    finally:
        engine.dispose()


def wait_for_sqlite() -> None:
    """Let connections of this process to SQLite wait a minute for another writer; the default is five seconds."""
    from sqlalchemy import Engine, event

    if not event.contains(Engine, "connect", _wait_a_minute):
        event.listen(Engine, "connect", _wait_a_minute)


def _wait_a_minute(connection: object, record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA busy_timeout = 60000")


def delete_artifacts(location: str) -> None:
    """Delete all files at an artifact location, which may be on a server."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(location).delete_artifacts()  # type: ignore[no-untyped-call]


def add_artifact(location: str, path: Path) -> None:
    """Copy a file to an artifact location, which may be on a server.

    `MlflowClient.log_model_artifact` would remember the location of a model for as long as the process lives, also for
    another workspace with a copy of it.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(location).log_artifact(str(path))  # type: ignore[no-untyped-call]


def start_system_metrics(run_id: str, *, resumed: bool) -> "SystemMetricsMonitor":
    """Log the load of CPU, memory and GPU to a run, from a thread of its own, until its `finish`."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, resume_logging=resumed)  # type: ignore[no-untyped-call]
    monitor.start()  # type: ignore[no-untyped-call]
    return monitor
