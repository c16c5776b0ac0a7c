"""A service with a password: its two servers know nobody else, and everything works that is given it."""

import base64
import json
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import QUICK, run_charlm, write_sentences
from tests.live_service import LiveService, wait_until
from tests.service.looking import PATIENCE_SECONDS, charlm, make

pytestmark = [pytest.mark.service, pytest.mark.timeout(2400)]


@pytest.mark.slow
def test_with_a_password_both_servers_answer_401_and_everything_else_works(tmp_path: Path) -> None:
    password = "correct horse battery"
    service = LiveService.on_free_ports(tmp_path / "workspace", CHARLM_PASSWORD=password)
    try:
        service.up()
        prefect, mlflow = service.addresses["PREFECT_API_URL"], service.addresses["MLFLOW_TRACKING_URI"]
        for url in (f"{prefect}/work_pools/charlm-cpu", f"{mlflow}/api/2.0/mlflow/experiments/get?experiment_id=0"):
            assert status(url) == 401
            assert status(url, user="charlm:wrong password!") == 401
            assert status(url, user=f"charlm:{password}") == 200
        text = write_sentences(tmp_path / "text.txt")
        charlm(service, "run", text, "--name", "tiny", *QUICK)
        charlm(service, "notify", "tiny", text)
        refused = run_charlm("notify", "tiny", text, "--workspace", service.workspace.root, **service.addresses)
        assert refused.code == 2
        assert "answers 401; set CHARLM_PASSWORD" in refused.stderr
        wanted = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}, "deployment_id": {"is_null_": False}}}
        wait_until(
            lambda: ask(f"{prefect}/flow_runs/filter", wanted, user=f"charlm:{password}"),
            seconds=PATIENCE_SECONDS,
            what="run that the worker has completed",
        )
        make(service, "down")
        changed = replace(service, variables={"CHARLM_PASSWORD": "another horse battery"})
        outcome = make(changed, "up")
        assert outcome.returncode == 2
        assert "set CHARLM_OLD_PASSWORD to the one that it has" in outcome.stderr
        replace(service, variables=changed.variables | {"CHARLM_OLD_PASSWORD": password}).up()
        url = f"{mlflow}/api/2.0/mlflow/experiments/get?experiment_id=0"
        assert (status(url, user=f"charlm:{password}"), status(url, user="charlm:another horse battery")) == (401, 200)
    finally:
        outcome = make(service, "down")
    assert "stopped charlm-cpu, watcher, mlflow, prefect" in outcome.stderr


def ask(url: str, body: Any = None, *, user: str | None = None) -> Any:
    """What a server answers to whom it knows as `user` (`NAME:PASSWORD`)."""
    headers = {"Content-Type": "application/json"}
    if user is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=120) as response:
        return json.loads(response.read())


def status(url: str, *, user: str | None = None) -> int:
    try:
        ask(url, user=user)
    except urllib.error.HTTPError as error:
        return error.code
    return 200
