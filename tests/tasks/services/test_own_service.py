"""Commands find the service that runs in their workspace, and no other."""

import os
import shutil
from pathlib import Path

import psutil
import pytest

from charlm.artifacts import Workspace
from charlm.storage.atomic import write_json
from tasks.services.own_service import MLFLOW, PREFECT, note_addresses, pages
from tasks.services.session import Session

ADDRESSES = {"PREFECT_API_URL": "http://127.0.0.1:4321/api", "MLFLOW_TRACKING_URI": "http://127.0.0.1:5432"}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace whose service runs: this process stands for both servers."""
    for name in ADDRESSES:
        monkeypatch.delenv(name, raising=False)
    workspace = Workspace(tmp_path / "workspace")
    workspace.service.root.mkdir(parents=True)
    started = psutil.Process().create_time()
    for name in (PREFECT, MLFLOW):
        write_json(workspace.service.note(name), {"pid": os.getpid(), "started": started, "fingerprint": "x"})
    note_addresses(workspace, ADDRESSES, {})
    return workspace


def found(root: Path) -> dict[str, str | None]:
    Session.open(root)
    return {name: os.environ.get(name) for name in ADDRESSES}


def test_a_workspace_leads_to_its_service(workspace: Workspace, tmp_path: Path) -> None:
    assert found(workspace.root) == ADDRESSES
    without = {"PREFECT_API_URL": None, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/other/mlflow.db"}
    assert found(tmp_path / "other") == without


def test_what_the_user_has_set_goes_first(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example.org/api")
    assert found(workspace.root) == {**ADDRESSES, "PREFECT_API_URL": "http://prefect.example.org/api"}


def test_a_copy_of_a_workspace_does_not_use_the_service_of_the_original(workspace: Workspace, tmp_path: Path) -> None:
    shutil.copytree(workspace.root, tmp_path / "copy")
    assert found(tmp_path / "copy")["PREFECT_API_URL"] is None


def test_a_service_that_has_ended_is_reported_and_done_without(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(workspace.service.note(MLFLOW), {"pid": os.getpid(), "started": 0.0, "fingerprint": "x"})
    assert found(workspace.root)["PREFECT_API_URL"] is None
    assert "mlflow of the service in" in capsys.readouterr().err


def test_people_get_the_pages_that_show_something() -> None:
    assert pages(ADDRESSES) == {
        "Prefect": "http://127.0.0.1:4321/dashboard",
        "MLflow": "http://127.0.0.1:5432/#/models?workflowType=machine_learning",
    }
