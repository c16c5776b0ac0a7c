"""A retraining of a corpus that needs approval, where its run cannot ask: in a terminal, and of every corpus."""

import os
import shutil
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient

from charlm.artifacts import Workspace
from flows.promotion import promote
from tests.conftest import TrainedWorkspace, run_charlm
from tests.flows.test_retrain import Place, loud, versions


@pytest.mark.service
def test_a_version_waits_and_a_run_of_every_corpus_starts_one_that_asks(
    trained_workspace: TrainedWorkspace, server: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(trained_workspace.root, tmp_path / "workspace")
    place = Place(Workspace(tmp_path / "workspace"), server)
    here = ("--workspace", place.workspace.root, "--json")
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    with SyncPrefectClient(server["PREFECT_API_URL"]) as client:
        deployment = client.create_deployment(client.create_flow(promote), "promote")
        assert run_charlm("approval", "tiny", "required", *here).json["approval"] == "required"
        (first,) = place.retrain({})
        assert first["state"] == "Completed"
        assert first["message"].startswith("models:/tiny/1 waiting: a person has to approve it; the first version")
        approved = run_charlm("promote", "tiny", "--by", "Ann", *here, **server)
        assert approved.json["promoted"], approved.stderr
        text = loud(tmp_path / "loud.txt", "the", seed=2)
        prepared = run_charlm("prepare", text, "--name", "tiny", "--domain", "loud", *here)
        assert prepared.code == 0, prepared.stderr
        (every,) = place.retrain({"name": None})
        assert every["message"].startswith("tiny: models:/tiny/2 waiting: ")
        asking = [run for run in client.read_flow_runs(limit=200) if run.deployment_id == deployment]
    assert [run.parameters["name"] for run in asking] == ["tiny"]
    found = versions(place.workspace)
    assert found[0] == {"champion": 1, "challenger": 2}
    assert found[2]["tags"]["approval"] == "waiting"
