"""The servers that stand behind a command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import environment

PROGRAM = """
import sys, time
from tasks import services
services.use_workspace(sys.argv[1])
services.start_prefect()
print(services._temporary_server.pid, flush=True)
time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_temporary_server_ends_with_a_command_that_is_killed(tmp_path: Path):
    command = subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path], env=environment(), stdout=subprocess.PIPE)
    assert command.stdout
    server = int(command.stdout.readline())
    assert is_alive(server)

    command.send_signal(signal.SIGKILL)
    command.wait()

    deadline = time.monotonic() + 60
    while is_alive(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_alive(server)
