"""The first client of a workspace makes MLflow's tables: alone, and all of them or none."""

import threading
from pathlib import Path

import pytest

from charlm.storage.locks import exclusive_lock
from tasks.services import mlflow_compat
from tasks.services.session import use_workspace
from tasks.tracking import client
from tasks.tracking.client import mlflow_client


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_one_process_makes_the_tables_and_the_others_wait(tmp_path: Path) -> None:
    workspace = use_workspace(tmp_path / "workspace")
    waiting = threading.Thread(target=mlflow_client)
    with exclusive_lock(workspace.lock_of("mlflow"), busy=None):  # as the process that makes them does
        waiting.start()
        waiting.join(2)
        assert waiting.is_alive()
        assert not workspace.mlflow_db.exists()
    waiting.join()
    assert [experiment.name for experiment in mlflow_client().search_experiments()] == ["Default"]


def test_a_process_that_ends_meanwhile_leaves_no_half_of_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = use_workspace(tmp_path / "workspace")

    def make_some(database: Path) -> None:
        mlflow_compat.make_tables(database)
        assert database.stat().st_size > 0
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client, "make_tables", make_some)
        with pytest.raises(KeyboardInterrupt):
            mlflow_client()
    assert not workspace.mlflow_db.exists()
    assert mlflow_client().search_registered_models() == []
