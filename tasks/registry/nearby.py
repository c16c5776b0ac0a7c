"""The bundle behind an address, read in place: without MLflow's client, which takes seconds to load.

Most commands open one version of the workspace's own registry, whose artifacts lie in the workspace. A query of its
SQLite database, or two requests to its MLflow server, say where. Whatever is not found this way, MLflow's client looks
for, and says what is wrong.

Reads  mlflow.db, mlartifacts/
"""

import json
import os
import sqlite3
import urllib.request
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlencode

from charlm.artifacts import BundleFiles, Workspace
from charlm.storage.atomic import JsonObject
from tasks.registry.versions import RegisteredVersion, parse_address
from tasks.services.mlflow_compat import VERSION_OF_ALIAS, VERSION_OF_NUMBER
from tasks.services.mlflow_database import SERVER_ARTIFACT_ROOT, uses_embedded_mlflow
from tasks.services.own_service import noted_addresses

_ANSWER_SECONDS = 10


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
    try:
        if alias is not None:
            answer = _ask("registered-models/alias", name=name, alias=alias)
            number = int(answer["model_version"]["version"])
        return int(number or 0), str(_ask("model-versions/get-download-uri", name=name, version=number)["artifact_uri"])
    except (OSError, ValueError, KeyError):  # MLflow's client says why
        return None


def _ask(path: str, **parameters: object) -> JsonObject:
    url = f"{os.environ['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/{path}?{urlencode(parameters)}"
    request = urllib.request.Request(url)
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "PASSWORD"))
    if user and password:
        request.add_header("Authorization", f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as response:
        return dict(json.load(response))
