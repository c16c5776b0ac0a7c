"""What tests look at in a live service: its deployments, their runs and what they leave, and how it is led and made."""

import random
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.conftest import COMMAND, QUICK, ROOT, Outcome, environment, run_charlm
from tests.deployments.test_notifications import Receiver
from tests.live_service import ASKING, FINAL, LiveService, wait_until

PATIENCE_SECONDS = 900  # of a machine that does much else
LAW_WORDS = ["tribunal", "plaintiff", "verdict", "statute", "appeal", "court", "judge", "clause", "contract", "hearing"]
PLAIN_WORDS = ["the", "of", "in", "set", "call", "return", "value", "object", "function", "list", "string", "file"]
SETTINGS_OF_QUICK = [value for value in QUICK if value != "--set"]
LONG_TRAINING = ["hidden_size=64", "max_epochs=none", "max_characters=1000000000"]


def write_laws(path: Path, *, seed: int) -> Path:
    """Text of another kind than `write_sentences` writes, and not foreign to its models."""
    choose = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(" ".join(choose.choices(LAW_WORDS + PLAIN_WORDS, k=9)) + ".\n" for _ in range(1_500)))
    return path


def charlm(service: LiveService, *arguments: object) -> Outcome:
    """What a command does that is led to the service."""
    place = ("--workspace", service.workspace.root, "--json")
    outcome = run_charlm(*arguments, *place, **service.addresses, **service.variables)
    assert outcome.code == 0, outcome.stderr
    return outcome


def make(service: LiveService, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, command],
        cwd=ROOT,
        env=environment() | service.environment | service.variables,
        capture_output=True,
        text=True,
    )


def deployment(service: LiveService, name: str) -> Any:
    with service.prefect() as client:
        (found,) = [one for one in client.read_deployments(limit=200) if one.name == name]
        return found


def runs(service: LiveService, name: str) -> list[Any]:
    """The runs of a deployment that have begun, oldest first."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName

    wanted = DeploymentFilter(name=DeploymentFilterName(any_=[name]))
    with service.prefect() as client:
        found = client.read_flow_runs(deployment_filter=wanted, limit=200)
    begun = [run for run in found if run.start_time is not None]
    return sorted(begun, key=lambda run: run.start_time)


def ended_runs(service: LiveService, name: str, count: int) -> list[Any]:
    """The runs of a deployment that are in a final state, once there are so many."""

    def ended() -> list[Any]:
        return [run for run in runs(service, name) if run.state_type.value in FINAL]

    what = f"{count} ended runs of {name}"
    wait_until(lambda: len(ended()) >= count, seconds=PATIENCE_SECONDS, what=what, pause=ASKING)
    return ended()


def quicken(service: LiveService) -> None:
    """Change defaults of the deployments, as somebody does in the UI: short trainings, and files settle soon."""
    from prefect.client.schemas.actions import DeploymentUpdate

    settings = {"settings": ["max_characters=100000", "sequence_length=50"]}
    for name, changes in (("retrain", settings), ("scan-inbox", {"settle_seconds": 3})):
        found = deployment(service, name)
        with service.prefect() as client:
            client.update_deployment(found.id, DeploymentUpdate(parameters={**found.parameters, **changes}))


def end_of(service: LiveService, started: str, **parameters: object) -> Any:
    """The final state of a run of the deployment `started` that begins now."""
    with service.prefect() as client:
        run = client.create_flow_run_from_deployment(deployment(service, started).id, parameters=parameters)
    return service.wait_for_end(run.id, seconds=PATIENCE_SECONDS)


def artifact(service: LiveService, key: str) -> str:
    from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey

    with service.prefect() as client:
        wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[key]))
        (found,) = client.read_latest_artifacts(artifact_filter=wanted)
    return str(found.data)


def newest_version(service: LiveService) -> Any:
    versions = service.mlflow().search_model_versions("name = 'tiny'")
    return max(versions, key=lambda version: int(version.version))


def of_model(receiver: Receiver, address: str) -> list[dict[str, Any]]:
    return [message for message in receiver.messages if message["text"].startswith(f"{address} ")]


def suspended(service: LiveService, run: Any, *, other_than: str | None = None) -> str:
    """The key of the question that a flow run waits for."""

    def key() -> str | None:
        state = service.state(run)
        assert state.type.value not in FINAL, state.message
        return state.state_details.pause_key if state.type.value == "PAUSED" else None

    wait_until(lambda: key() not in (None, other_than), seconds=PATIENCE_SECONDS, what="question", pause=ASKING)
    return str(key())


def has_process(service: LiveService, run: Any) -> bool:
    """Whether a process of the worker executes a flow run."""
    for process in service.process("charlm-cpu").children(recursive=True):
        with suppress(psutil.Error):  # it has ended since
            if process.environ().get("PREFECT__FLOW_RUN_ID") == str(run):
                return True
    return False
