"""The service as `make up` starts it, with a real Prefect server, worker and MLflow server: text in, a champion out."""

import base64
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from charlm.artifacts import Workspace, read_json
from tests.conftest import QUICK, ROOT, Outcome, environment, run_charlm, write_sentences

pytestmark = [pytest.mark.service, pytest.mark.timeout(1200), pytest.mark.xdist_group("service")]

PATIENCE_SECONDS = 600  # of a machine that does much else
LOOK_SECONDS = 1.0
LAW_WORDS = ["tribunal", "plaintiff", "verdict", "statute", "appeal", "court", "judge", "clause", "contract", "hearing"]
PLAIN_WORDS = ["the", "of", "in", "set", "call", "return", "value", "object", "function", "list", "string", "file"]
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def write_laws(path: Path, *, seed: int) -> Path:
    """Text of another kind than `write_sentences` writes, and not foreign to its models."""
    choose = random.Random(seed)
    lines = (" ".join(choose.choices(LAW_WORDS + PLAIN_WORDS, k=9)) + ".\n" for _ in range(1_500))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
    return path


@dataclass(frozen=True)
class Service:
    """A running service and what leads to it."""

    workspace: Workspace
    variables: dict[str, str]
    """What `make up` was given."""
    addresses: dict[str, str]
    """What it printed."""

    def charlm(self, *arguments: object) -> Outcome:
        password = {name: value for name, value in self.variables.items() if name == "CHARLM_PASSWORD"}
        return run_charlm(*arguments, "--workspace", self.workspace.root, "--json", **self.addresses, **password)

    def command(self, name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "deployments.service", name],
            cwd=ROOT,
            env=environment() | self.variables,
            capture_output=True,
            text=True,
        )

    # ---- Prefect --------------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the Prefect server answers."""
        return ask(method, f"{self.addresses['PREFECT_API_URL']}{path}", body)

    def deployment(self, name: str) -> Any:
        (found,) = self.ask("POST", "/deployments/filter", {"deployments": {"name": {"any_": [name]}}})
        return found

    def runs(self, deployment: str) -> list[Any]:
        """The runs of a deployment that have begun, oldest first."""
        wanted = {"deployments": {"name": {"any_": [deployment]}}, "sort": "START_TIME_ASC"}
        return [run for run in self.ask("POST", "/flow_runs/filter", wanted) if run["state_type"] != "SCHEDULED"]

    def start(self, deployment: str, **parameters: object) -> str:
        path = f"/deployments/{self.deployment(deployment)['id']}/create_flow_run"
        return str(self.ask("POST", path, {"parameters": parameters})["id"])

    def finished(self, run_id: str) -> Any:
        """The run, once it is in a final state."""
        return eventually(lambda: final(self.ask("GET", f"/flow_runs/{run_id}")))

    def finished_runs(self, deployment: str, count: int) -> list[Any]:
        """The first `count` runs of a deployment that are not looks into an empty inbox, once all are final."""
        return eventually(lambda: [run for run in self.runs(deployment) if final(run)][:count], count=count)

    def artifact(self, key: str) -> str:
        (found,) = self.ask("POST", "/artifacts/latest/filter", {"artifacts": {"key": {"any_": [key]}}})
        return str(found["data"])

    # ---- MLflow ---------------------------------------------------------------------------------------------------

    def champion(self, name: str) -> int:
        return self._model(name)["champion"]

    def versions(self, name: str) -> int:
        """How many versions there are."""
        return max(self._model(name).values())

    def tags(self, name: str, version: int) -> dict[str, str]:
        found = self._registry("model-versions/get", name=name, version=version)["model_version"]
        return {tag["key"]: tag["value"] for tag in found["tags"]}

    def _model(self, name: str) -> dict[str, int]:
        model = self._registry("registered-models/get", name=name)["registered_model"]
        return {alias["alias"]: int(alias["version"]) for alias in model["aliases"]}

    def _registry(self, path: str, **query: object) -> Any:
        server = self.addresses["MLFLOW_TRACKING_URI"]
        return ask("GET", f"{server}/api/2.0/mlflow/{path}?{urllib.parse.urlencode(query)}")


def ask(method: str, url: str, body: Any = None, *, user: str | None = None) -> Any:
    headers = {"Content-Type": "application/json"}
    if user is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=120) as response:
        text = response.read()
    return json.loads(text) if text else None


def status_of(url: str, **access: str) -> int:
    try:
        ask("GET", url, **access)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def final(run: Any) -> Any:
    return run if run["state_type"] in FINAL else None


def eventually(look: Callable[[], Any], *, count: int = 1, seconds: float = PATIENCE_SECONDS) -> Any:
    """What `look` finds, once that is something (`count` things for a list)."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if len(found) >= count if isinstance(found, list) else found:
            return found
        assert time.monotonic() < deadline, f"still {found!r} after {seconds} seconds"
        time.sleep(LOOK_SECONDS)


def start_service(folder: Path, **variables: str) -> Service:
    prefect, mlflow = free_ports()
    ports = {"CHARLM_PREFECT_PORT": str(prefect), "CHARLM_MLFLOW_PORT": str(mlflow)}
    service = Service(Workspace(folder), {"CHARLM_WORKSPACE": str(folder), **ports, **variables}, {})
    outcome = service.command("up")
    if outcome.returncode != 0:
        service.command("down")
    assert outcome.returncode == 0, outcome.stderr
    service.addresses.update(line.split("=", 1) for line in outcome.stdout.splitlines())
    return service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose corpus `tiny` has a champion; its retrainings take seconds."""
    folder = tmp_path_factory.mktemp("service")
    service = start_service(folder / "workspace")
    try:
        service.workspace.texts_dir("tiny").mkdir(parents=True)
        write_sentences(service.workspace.texts_dir("tiny") / "sentences.txt", seed=9, num_lines=20)
        text = write_sentences(folder / "text.txt")
        outcome = service.charlm("run", text, "--name", "tiny", *QUICK)
        assert outcome.code == 0, outcome.stderr
        retrain = service.deployment("retrain")
        settings = {"settings": ["max_characters=200000", "sequence_length=50"]}
        service.ask("PATCH", f"/deployments/{retrain['id']}", {"parameters": retrain["parameters"] | settings})
        yield service
    finally:
        service.command("down")


@pytest.fixture(scope="module")
def arrived(service: Service) -> Any:
    """The retraining that a file in the inbox has started, once everything that follows from it has ended."""
    write_laws(service.workspace.inbox_dir / "tiny" / "laws" / "laws.txt", seed=3)
    (run,) = service.finished_runs("retrain", 1)
    assert run["state_type"] == "COMPLETED", run["state"]
    service.finished_runs("embed-corpus", 2)  # the first champion was embedded with too
    service.finished_runs("evaluate-champion", 2)
    return run


def test_a_file_in_the_inbox_becomes_a_champion_that_is_used(service: Service, arrived: Any) -> None:
    assert service.champion("tiny") == 2
    tags = service.tags("tiny", 2)
    assert tags["parent.version"] == "1"
    assert tags["gate.decision"] == "promoted"
    assert arrived["state"]["message"] == f"models:/tiny/2 {tags['gate.reason']}"
    assert tags["retrain.action"].startswith("finetune")
    assert "**Promoted**" in service.artifact("gate-tiny")
    for deployment in ("embed-corpus", "evaluate-champion"):
        assert [run["state_type"] for run in service.runs(deployment)] == ["COMPLETED"] * 2
    assert (service.workspace.embeddings_dir("tiny", 2) / "sentences.txt.parquet").is_file()


def test_a_scheduled_run_appears_and_runs(service: Service, arrived: Any) -> None:
    looks = [run for run in service.runs("scan-inbox") if run["auto_scheduled"]]
    assert "COMPLETED" in {run["state_type"] for run in looks}
    coming = service.ask(
        "POST",
        "/flow_runs/filter",
        {"deployments": {"name": {"any_": ["retrain"]}}, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}},
    )
    assert coming  # the next Monday


def test_the_same_text_again_changes_nothing(service: Service, arrived: Any) -> None:
    inbox = service.workspace.inbox_dir / "tiny"
    (inbox / "a-copy.txt").write_bytes((inbox / "laws" / "laws.txt").read_bytes())
    run = service.finished(service.start("scan-inbox", settle_seconds=0))
    assert run["state"]["message"] == "nothing new"
    again = service.finished(service.start("retrain", name="tiny", raw=[str(inbox / "a-copy.txt")], domain="laws"))
    assert again["state"]["message"].startswith("nothing to do: ")
    assert service.versions("tiny") == 2


def test_a_challenger_that_is_worse_is_refused_with_its_reason(service: Service, arrived: Any, tmp_path: Path) -> None:
    text = write_laws(tmp_path / "more-laws.txt", seed=4)
    before = service.champion("tiny")
    run = service.finished(
        service.start(
            "retrain",
            name="tiny",
            raw=[str(text)],
            domain="laws",
            drift={"growth": 1.1},
            settings=["max_characters=20000", "sequence_length=50", "learning_rate=0.5"],
        )
    )
    assert run["state_type"] == "COMPLETED"
    newest = service.versions("tiny")
    assert newest > before
    assert service.champion("tiny") == before
    tags = service.tags("tiny", newest)
    assert tags["gate.decision"] == "refused"
    assert run["state"]["message"] == f"models:/tiny/{newest} {tags['gate.reason']}"
    assert "**Refused**" in service.artifact("gate-tiny")


def test_make_up_again_changes_nothing(service: Service, arrived: Any) -> None:
    def standing() -> Any:
        deployments = service.ask("POST", "/deployments/filter", {})
        automations = service.ask("POST", "/automations/filter", {})
        pools = service.ask("POST", "/work_pools/filter", {})
        processes = {path.name: read_json(path) for path in service.workspace.service.root.glob("*.process.json")}
        return [
            sorted((one["name"], one["id"]) for one in [*deployments, *automations, *pools]),
            {one["name"]: one["parameters"] for one in deployments},
            processes,
        ]

    before = standing()
    outcome = service.command("up")
    assert outcome.returncode == 0
    assert outcome.stderr.splitlines()[0] == "everything runs already"
    assert dict(line.split("=", 1) for line in outcome.stdout.splitlines()) == service.addresses
    assert standing() == before


def test_a_training_ends_when_its_run_is_cancelled(service: Service, arrived: Any) -> None:
    settings = ["hidden_size=64", "max_epochs=none", "max_characters=1000000000"]
    run_id = service.start("train-language-model", name="tiny", settings=settings, directions=["forward"])
    (child,) = eventually(lambda: trainings(service.workspace))
    state = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    service.ask("POST", f"/flow_runs/{run_id}/set_state", state)
    assert service.finished(run_id)["state_type"] == "CANCELLED"
    eventually(lambda: not child.is_running(), seconds=60)


def trainings(workspace: Workspace) -> list[psutil.Process]:
    """The training processes of a workspace that have begun."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "charlm.trainers.run" in words and any(str(workspace.root) in word for word in words):
            found.append(process)
    return found


@pytest.mark.slow
def test_arrivals_within_a_minute_make_one_retraining(service: Service, arrived: Any, tmp_path: Path) -> None:
    known = {run["id"] for run in service.runs("retrain")}
    before = service.versions("tiny")
    for seed in (11, 12, 13):
        outcome = service.charlm("notify", "tiny", write_laws(tmp_path / f"{seed}.txt", seed=seed), "--domain", "laws")
        assert outcome.code == 0, outcome.stderr
    runs = eventually(
        lambda: [run for run in service.runs("retrain") if run["id"] not in known and final(run)], count=3
    )
    messages = [run["state"]["message"] for run in runs]
    assert sum(message.startswith("nothing to do") for message in messages) >= 2
    assert service.versions("tiny") <= before + 1
    manifest = read_json(service.workspace.corpus("tiny").manifest)
    assert len(manifest["revisions"][-1]["sources"]) == 3


@pytest.mark.slow
def test_a_run_whose_worker_and_process_are_gone_is_marked_as_crashed(service: Service, arrived: Any) -> None:
    settings = ["hidden_size=64", "max_epochs=none", "max_characters=1000000000"]
    run_id = service.start("train-language-model", name="tiny", settings=settings, directions=["forward"])
    eventually(lambda: trainings(service.workspace))
    worker = psutil.Process(read_json(service.workspace.service.note("charlm-cpu"))["pid"])
    for process in [worker, *worker.children(recursive=True)]:
        os.kill(process.pid, signal.SIGKILL)
    try:
        run = eventually(lambda: final(service.ask("GET", f"/flow_runs/{run_id}")), seconds=300)
        assert run["state_type"] == "CRASHED"
        assert "no heartbeat" in run["state"]["message"]
    finally:
        assert service.command("up").returncode == 0  # it starts the worker anew


@pytest.mark.slow
def test_with_a_password_both_servers_answer_401_and_everything_else_works(tmp_path: Path) -> None:
    password = "correct horse battery"
    service = start_service(tmp_path / "workspace", CHARLM_PASSWORD=password)
    try:
        for url in (
            f"{service.addresses['PREFECT_API_URL']}/work_pools/charlm-cpu",
            f"{service.addresses['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/experiments/get?experiment_id=0",
        ):
            assert status_of(url) == 401
            assert status_of(url, user="charlm:wrong password!") == 401
            assert status_of(url, user=f"charlm:{password}") == 200
        text = write_sentences(tmp_path / "text.txt")
        outcome = service.charlm("run", text, "--name", "tiny", *QUICK)
        assert outcome.code == 0, outcome.stderr
        refused = run_charlm("notify", "tiny", text, "--workspace", service.workspace.root, **service.addresses)
        assert refused.code == 2
        assert "answers 401; set CHARLM_PASSWORD" in refused.stderr
        assert service.charlm("notify", "tiny", text).code == 0
        runs = f"{service.addresses['PREFECT_API_URL']}/flow_runs/filter"
        wanted = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}, "deployment_id": {"is_null_": False}}}
        eventually(lambda: ask("POST", runs, wanted, user=f"charlm:{password}"))
    finally:
        outcome = service.command("down")
    assert "stopped charlm-cpu, mlflow, prefect" in outcome.stderr
    assert status_of_port(service.addresses["PREFECT_API_URL"]) is None


def status_of_port(url: str) -> int | None:
    try:
        return status_of(url)
    except OSError:
        return None
