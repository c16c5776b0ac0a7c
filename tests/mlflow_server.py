"""An MLflow server of its own, as several machines share it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from charlm.artifacts import Workspace
from deployments.programs import answers, start, stop, wait_until
from deployments.servers import mlflow_server, prepare_mlflow
from deployments.settings import ServiceSettings


@contextmanager
def running_mlflow(folder: Path) -> Iterator[str]:
    """The address of a server that keeps everything in `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = ServiceSettings(workspace=Workspace(folder), mlflow_port=port)
    prepare_mlflow(settings)
    files = settings.workspace.service
    start(mlflow_server(settings), files)
    try:
        wait_until(lambda: answers(f"{settings.mlflow_url}/health"), "mlflow", files)
        yield settings.mlflow_url
    finally:
        stop("mlflow", files)
