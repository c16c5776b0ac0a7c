"""A service of `make up` that tests own: its servers and workers, on free ports and in a workspace of its own."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from charlm.artifacts import RunFiles, Workspace
from deployments.programs import stop
from tasks.services.environment import access_variables
from tasks.services.own_service import running
from tests.conftest import COMMAND, ROOT, environment

# A training of a quarter of a minute or more that ends by characters, so that it can go on to the same weights.
TRAINING = ("max_characters=1500000", "hidden_size=32", "sequence_length=50", "checkpoint_minutes=0.05")
ASKING = 2.0  # seconds between two questions to the server: each is work for it too
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass(frozen=True, kw_only=True)
class LiveService:
    """The programs of one workspace, and the clients of its servers."""

    workspace: Workspace
    prefect_port: int
    mlflow_port: int
    variables: dict[str, str]
    """What else it is started with."""

    @classmethod
    def on_free_ports(cls, root: Path, **variables: str) -> "LiveService":
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            ports = one.getsockname()[1], two.getsockname()[1]
        return cls(workspace=Workspace(root), prefect_port=ports[0], mlflow_port=ports[1], variables=variables)

    # ---- what `make` does -------------------------------------------------------------------------------------------

    def up(self) -> None:
        """Start what does not run."""
        self._make("up")

    def down(self) -> None:
        self._make("down")

    def _make(self, command: str) -> None:
        outcome = subprocess.run(
            [*COMMAND, command],
            cwd=ROOT,
            env=environment() | self.environment | self.variables,
            capture_output=True,
            text=True,
        )
        assert outcome.returncode == 0, outcome.stderr

    @property
    def environment(self) -> dict[str, str]:
        return {
            "CHARLM_WORKSPACE": str(self.workspace.root),
            "CHARLM_PREFECT_PORT": str(self.prefect_port),
            "CHARLM_MLFLOW_PORT": str(self.mlflow_port),
        }

    @property
    def addresses(self) -> dict[str, str]:
        """What leads a command to the two servers."""
        return {
            "PREFECT_API_URL": f"http://127.0.0.1:{self.prefect_port}/api",
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self.mlflow_port}",
        }

    # ---- processes --------------------------------------------------------------------------------------------------

    def process(self, name: str) -> psutil.Process:
        process = running(name, self.workspace.service)
        assert process is not None, f"{name} does not run"
        return process

    def stop(self, name: str) -> None:
        assert stop(name, self.workspace.service)

    def flow_process(self, run: Any) -> psutil.Process:
        """The process of a flow run."""
        (process,) = [
            process
            for process in self.process("charlm-cpu").children(recursive=True)
            if "prefect.engine" in process.cmdline() and process.environ().get("PREFECT__FLOW_RUN_ID") == str(run)
        ]
        return process

    # ---- flow runs --------------------------------------------------------------------------------------------------

    @contextmanager
    def prefect(self) -> Iterator[Any]:
        """The client of the Prefect server, which stays open: many tests ask again and again."""
        access = access_variables(self.variables.get("CHARLM_PASSWORD"))
        yield prefect_client(self.addresses["PREFECT_API_URL"], access.get("PREFECT_API_AUTH_STRING"))

    def mlflow(self) -> Any:
        """A client of the MLflow server."""
        from mlflow import MlflowClient

        return MlflowClient(self.addresses["MLFLOW_TRACKING_URI"])

    def champion(self, name: str) -> int | None:
        """The version of a model that is champion; none while there is no such model."""
        from mlflow.exceptions import MlflowException

        try:
            return int(self.mlflow().get_model_version_by_alias(name, "champion").version)
        except MlflowException:
            return None

    def start_run(self, deployment: str, **parameters: object) -> Any:
        """Ask the server for a run of `FLOW/DEPLOYMENT`; its id."""
        with self.prefect() as client:
            found = client.read_deployment_by_name(deployment)
            return client.create_flow_run_from_deployment(found.id, parameters=parameters).id

    def state(self, run: Any) -> Any:
        with self.prefect() as client:
            return client.read_flow_run(run).state

    def wait_for_end(self, run: Any, *, seconds: float = 900) -> Any:
        """The final state of a flow run."""
        wait_until(lambda: self.state(run).type.value in FINAL, seconds=seconds, what="a final state", pause=ASKING)
        return self.state(run)

    def wait_for_checkpoint(self, corpus: str, *, seconds: float = 600) -> RunFiles:
        """A training of `corpus` that has something behind it, which it can go on from."""

        def well_begun() -> list[RunFiles]:
            runs = [RunFiles(path.parent) for path in self.checkpoints(corpus)]
            return [
                run for run in runs if len(journal_events(run, "checkpoint")) > 2
            ]  # it is told before it is written

        wait_until(well_begun, seconds=seconds, what="checkpoint")
        return well_begun()[0]

    def checkpoints(self, corpus: str) -> list[Path]:
        return sorted(self.workspace.runs_dir.glob(f"{corpus}-*/checkpoint.pt"))

    def trainers(self) -> list[psutil.Process]:
        """The processes that train in this workspace."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            if "charlm.trainers.run" in line and str(self.workspace.root) in line:
                found.append(process)
        return found


@cache
def prefect_client(api: str, access: str | None) -> Any:
    """A client of the Prefect server at `api`, open until this process ends."""
    from prefect.client.orchestration import SyncPrefectClient

    return SyncPrefectClient(api, auth_string=access).__enter__()


def journal_events(run: RunFiles, kind: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in run.journal.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [event for event in events if event["event"] == kind]


def end(process: subprocess.Popen[bytes], *, seconds: float = 20) -> None:
    """End a program and what it has started, by force where it takes too long."""
    parts = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for part in parts:
        part.terminate()
    _, alive = psutil.wait_procs(parts, timeout=seconds)
    for part in alive:
        part.kill()
    process.wait()


def wait_until(is_so: Callable[[], Any], *, seconds: float, what: str, pause: float = 0.25) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"no {what} after {seconds:.0f} seconds"
        time.sleep(pause)
