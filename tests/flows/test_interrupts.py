"""Ctrl-C reaches a main thread that waits for others, whatever libraries have been loaded."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # which is ignored where the tests run in the background
{load}
waiting = threading.Thread(target=threading.Event().wait, daemon=True)
waiting.start()
print("waiting", flush=True)
waiting.join()
"""
LOADS = [
    "from charlm.arrays.masks import polars; polars()",
    "import polars; import charlm.arrays.masks; charlm.arrays.masks.polars()",
    "import charlm_pipeline as c; c.use_floors(); from tasks.tracking.sync import mlflow_client; mlflow_client()",
]


@pytest.mark.parametrize("load", LOADS, ids=["polars", "polars of another", "mlflow"])
def test_ctrl_c_ends_a_wait(load: str, tmp_path: Path):
    command = [sys.executable, "-c", PROGRAM.format(load=load)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n", process.communicate()[1]
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert stderr.splitlines()[-1] == "KeyboardInterrupt"
