"""The bundle behind an address is found in place, as MLflow's client finds it, and without loading MLflow."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from charlm.artifacts import Workspace
from tasks.registry.download import _download, locate_model
from tasks.registry.nearby import bundle_in_place
from tasks.registry.versions import RegisteredVersion, find_version
from tasks.tracking.client import mlflow_client
from tests.conftest import ROOT, TrainedWorkspace, environment, own_workspace


@pytest.fixture(scope="module")
def workspace(trained_workspace: TrainedWorkspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """With two versions, of which one is challenger, and one that was deleted."""
    with own_workspace(trained_workspace, tmp_path_factory.mktemp("registry") / "a copy #1") as workspace:
        source = mlflow_client().get_model_version("tiny", "1").source
        for _ in range(2):
            mlflow_client().create_model_version("tiny", source)
        mlflow_client().set_registered_model_alias("tiny", "in-use", "2")
        mlflow_client().delete_model_version("tiny", "3")
        yield workspace


@pytest.mark.parametrize(
    "address", ["models:/tiny@challenger", "models:/tiny@in-use", "models:/tiny/1", "models:/tiny/2"]
)
def test_it_is_the_one_that_the_client_finds(address: str, workspace: Workspace) -> None:
    version = find_version(address)
    assert bundle_in_place(address, workspace) == (_download(version), version)
    assert bundle_in_place(version, workspace) == (_download(version), version)


@pytest.mark.parametrize("address", ["models:/tiny@champion", "models:/tiny/3", "models:/tiny/9", "models:/other/1"])
def test_what_is_not_there_is_left_to_the_client(address: str, workspace: Workspace) -> None:
    assert bundle_in_place(address, workspace) is None


def test_artifacts_elsewhere_are_left_to_the_client(workspace: Workspace, tmp_path: Path) -> None:
    shutil.copytree(bundle_in_place("models:/tiny/1", workspace)[0], tmp_path / "far" / "artifacts" / "bundle")
    with closing(sqlite3.connect(workspace.mlflow_db)) as database, database:
        database.execute("UPDATE model_versions SET storage_location = ? WHERE version = 2", (str(tmp_path / "far"),))
    assert bundle_in_place("models:/tiny/2", workspace) is None
    assert locate_model("models:/tiny/2", workspace)[0] == tmp_path / "far" / "artifacts" / "bundle"


def test_no_database_and_a_damaged_one_are_left_to_the_client(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Workspace(tmp_path / "other")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other.mlflow_db}")
    assert bundle_in_place("models:/tiny/1", other) is None
    assert not other.root.exists()
    other.root.mkdir()
    other.mlflow_db.write_bytes(b"no database at all")
    assert bundle_in_place("models:/tiny/1", other) is None


def test_mlflow_is_not_loaded(workspace: Workspace) -> None:
    program = (
        "import json, sys\nfrom charlm.artifacts import Workspace\nfrom pathlib import Path\n"
        "from tasks.registry.download import open_model\n"
        "opened = open_model('models:/tiny@challenger', Workspace(Path(sys.argv[1])))\n"
        "print(json.dumps([opened.version.version, sorted(opened.models), 'mlflow' in sys.modules]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, workspace.root], capture_output=True, text=True, cwd=ROOT, env=environment()
    )
    assert json.loads(done.stdout) == [1, ["backward", "forward"], False], done.stderr


def test_a_server_of_others_is_asked_by_the_client(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert bundle_in_place(RegisteredVersion("tiny", 1), workspace) is None
