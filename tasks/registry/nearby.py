"""The bundle behind an address, read in place: without MLflow's client, which takes seconds to load.

Most commands open one version of the workspace's own registry, whose artifacts lie in the workspace. A query of its
SQLite database, or two requests to its MLflow server, say where. Whatever is not found this way, MLflow's client looks
for, and says what is wrong.

Reads  mlflow.db, mlartifacts/
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from charlm.artifacts import BundleFiles, Workspace
from tasks.registry.versions import RegisteredVersion, parse_address
from tasks.services.mlflow_compat import VERSION_OF_ALIAS, VERSION_OF_NUMBER
from tasks.services.mlflow_database import SERVER_ARTIFACT_ROOT, uses_embedded_mlflow
from tasks.services.own_service import noted_addresses
from tasks.services.rest import mlflow_server


def bundle_in_place(model: str | RegisteredVersion, workspace: Workspace) -> tuple[Path, RegisteredVersion] | None:
    """The folder of a bundle in the artifacts of `workspace`, and its version; none where it is not to be found so."""
    name, alias, number = parse_address(model if isinstance(model, str) else model.address)
    found: tuple[int, str] | None = None
    if uses_embedded_mlflow(workspace):
        found = _from_database(workspace, name, alias, number)
    elif os.environ.get("MLFLOW_TRACKING_URI") == noted_addresses(workspace).get("MLFLOW_TRACKING_URI", ""):
        found = _from_own_server(name, alias, number)
    if found is None:
        return None
    version, location = found
    if location.startswith(SERVER_ARTIFACT_ROOT):  # `mlflow-artifacts:models/…` or `mlflow-artifacts:/models/…`
        location = f"{workspace.mlflow_artifacts_dir}/{location.removeprefix(SERVER_ARTIFACT_ROOT).removeprefix('/')}"
    folder = Path(location) / "artifacts" / "bundle"
    is_here = folder.is_relative_to(workspace.mlflow_artifacts_dir) and BundleFiles(folder).manifest.is_file()
    return (folder, RegisteredVersion(name, version)) if is_here else None


def _from_database(workspace: Workspace, name: str, alias: str | None, number: int | None) -> tuple[int, str] | None:
    """Version and location."""
    if not workspace.mlflow_db.is_file():
        return None
    query, value = (VERSION_OF_NUMBER, number) if alias is None else (VERSION_OF_ALIAS, alias)
    try:
        with closing(sqlite3.connect(f"file:{quote(str(workspace.mlflow_db))}?mode=ro", uri=True)) as connection:
            rows = connection.execute(query, (name, value)).fetchall()
    except sqlite3.Error:  # it is being made, or another release of MLflow has made it
        return None
    return (int(rows[0][0]), str(rows[0][1])) if len(rows) == 1 else None


def _from_own_server(name: str, alias: str | None, number: int | None) -> tuple[int, str] | None:
    """Version and location."""
    server = mlflow_server()
    try:
        if alias is not None:
            number = int(server.get("/registered-models/alias", name=name, alias=alias)["model_version"]["version"])
        answer = server.get("/model-versions/get-download-uri", name=name, version=str(number))
        return int(number or 0), str(answer["artifact_uri"])
    except (OSError, ValueError, KeyError):  # MLflow's client says why
        return None
