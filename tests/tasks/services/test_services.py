"""The servers that stand behind a command."""

import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from charlm.artifacts import Workspace
from tests.conftest import ROOT, environment
from tests.prefect_server import answers

PROGRAM = """
import os, sys, time
from tasks.services.session import start_prefect, use_workspace
use_workspace(sys.argv[1])
start_prefect()
print(os.environ["PREFECT_API_URL"], flush=True)
time.sleep(600)
"""


@pytest.mark.service
def test_the_temporary_server_ends_with_a_command_that_is_killed(tmp_path: Path):
    command = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tmp_path], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert command.stdout
    api = command.stdout.readline().strip()
    assert answers(f"{api}/health")
    _send_events(api, 500)

    command.kill()
    command.wait()

    deadline = time.monotonic() + 120
    while answers(f"{api}/health") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not answers(f"{api}/health")
    while _num_events(tmp_path) < 500 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _num_events(tmp_path) == 500  # it records what it has received before it ends


def _send_events(api: str, count: int) -> None:
    now = datetime.now(UTC).isoformat()
    events = [
        {"id": str(uuid4()), "occurred": now, "event": "test.sent", "resource": {"prefect.resource.id": f"test.{one}"}}
        for one in range(count)
    ]
    request = urllib.request.Request(f"{api}/events", json.dumps(events).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=60).close()


def _num_events(workspace: Path) -> int:
    with closing(sqlite3.connect(Workspace(workspace).prefect_home / "prefect.db", timeout=60)) as database:
        (count,) = database.execute("SELECT count(*) FROM events WHERE event = 'test.sent'").fetchone()
    return int(count)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_user_without_a_home_gets_that_of_containers():
    program = "import os; from tasks.services.session import use_workspace as use; os.setuid(54321); use('/nowhere')"
    result = subprocess.run(
        [sys.executable, "-c", f"{program}; print(os.environ['HOME'])"],
        env={},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "/\n", result.stderr


def test_the_hub_that_does_not_answer_is_tried_again_in_silence():
    program = """
from tasks.services.environment import keep_libraries_quiet
keep_libraries_quiet()
from huggingface_hub.utils import _http
_http.logger.warning("Retrying in 1s [Retry 1/5].")
"""
    result = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
