"""The servers that stand behind a command."""

import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.conftest import environment

PROGRAM = """
import os, sys, time
from tasks.services import start_prefect, use_workspace
use_workspace(sys.argv[1])
start_prefect()
print(os.environ["PREFECT_API_URL"], flush=True)
time.sleep(600)
"""


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def test_the_temporary_server_ends_with_a_command_that_is_killed(tmp_path: Path):
    command = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tmp_path], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert command.stdout
    health = f"{command.stdout.readline().strip()}/health"
    assert answers(health)

    command.kill()
    command.wait()

    deadline = time.monotonic() + 60
    while answers(health) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not answers(health)
