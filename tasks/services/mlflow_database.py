"""The artifact locations in the MLflow database of a workspace."""

import os
import sqlite3

from charlm.artifacts import Workspace
from tasks.services.mlflow_compat import EXPERIMENT_TAGS, LOCATION_COLUMNS

ARTIFACT_ROOT_TAG = "charlm.artifact_root"
SERVER_ARTIFACT_ROOT = "mlflow-artifacts:"
"""The root of artifacts that an MLflow server serves."""


def uses_embedded_mlflow(workspace: Workspace) -> bool:
    """True when this process tracks in the database of the workspace, without a server."""
    return os.environ.get("MLFLOW_TRACKING_URI") == f"sqlite:///{workspace.mlflow_db}"


def move_artifact_root(workspace: Workspace, new_root: str) -> None:
    """Point MLflow's database in the workspace at the artifacts at `new_root`: a folder, or SERVER_ARTIFACT_ROOT.

    MLflow stores artifact locations as absolute paths and resolves relative ones when it stores them, so a copied
    workspace would still read the artifacts of the original, and a server would send its clients to its own folder.
    """
    if not workspace.mlflow_db.is_file():
        return
    connection = sqlite3.connect(workspace.mlflow_db, timeout=30)
    try:
        with connection:
            try:
                rows = connection.execute(
                    f"SELECT DISTINCT value FROM {EXPERIMENT_TAGS} WHERE key = ? AND value != ?",
                    (ARTIFACT_ROOT_TAG, new_root),
                ).fetchall()
            except sqlite3.OperationalError:  # the tables are not there yet
                return
            for (old_root,) in rows:
                for table, column in LOCATION_COLUMNS:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                        f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (new_root, len(old_root) + 1, old_root, len(old_root) + 1, old_root + "/"),
                    )
                connection.execute(
                    f"UPDATE {EXPERIMENT_TAGS} SET value = ? WHERE key = ? AND value = ?",
                    (new_root, ARTIFACT_ROOT_TAG, old_root),
                )
    finally:
        connection.close()
