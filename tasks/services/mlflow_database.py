"""The locations that MLflow's database in a workspace stores."""

import os
import sqlite3

from charlm.artifacts import Workspace

ARTIFACT_ROOT_TAG = "charlm.artifact_root"
SERVER_ARTIFACT_ROOT = "mlflow-artifacts:"
"""Stands for the artifacts that an MLflow server hands out."""
# Every column in which MLflow 3.17 stores an absolute artifact location.
_LOCATION_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)


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
