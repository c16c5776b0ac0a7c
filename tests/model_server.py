"""A server of one registered model: `mlflow models serve`, on a free port."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import environment

START_SECONDS = 300.0


@contextmanager
def model_server(model: str, workspace: Path, *, programs: Path | None = None, **variables: str) -> Iterator[str]:
    """The address of a server of the version `model` of a workspace's registry, with the programs of an environment."""
    programs = programs or Path(sys.executable).parent
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [programs / "mlflow", *f"models serve -m {model} --env-manager local --port {port}".split()],
        env=environment()
        | {
            "MLFLOW_TRACKING_URI": f"sqlite:///{workspace}/mlflow.db",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PATH": f"{programs}:{os.environ['PATH']}",  # mlflow starts uvicorn by its name
        }
        | variables,
        cwd=workspace,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(address):
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not answer"
            time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/ping", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def ask(address: str, request: Any) -> Any:
    """What the server answers to a request; raises HTTPError when it refuses it."""
    body = json.dumps(request).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{address}/invocations", body, headers)) as response:
        return json.load(response)
