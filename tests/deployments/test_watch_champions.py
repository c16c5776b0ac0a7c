"""A champion that nobody has announced is announced once, with real servers of Prefect and MLflow."""

from collections.abc import Iterator
from typing import Any

import pytest
from mlflow import MlflowClient

from deployments.watch_champions import ChampionsWatch
from tasks.services import rest
from tests.mlflow_server import running_mlflow
from tests.prefect_server import ask

pytestmark = pytest.mark.service


class Registry:
    """An MLflow server, a Prefect server, and the watch between them."""

    def __init__(self, mlflow: str, prefect: dict[str, str]) -> None:
        self.client, self.prefect = MlflowClient(mlflow), prefect
        self.lines: list[str] = []
        registry = rest.mlflow_server({"MLFLOW_TRACKING_URI": mlflow})
        self.watch = ChampionsWatch(rest.prefect_server(prefect), registry, self.lines.append)

    def make_model(self, name: str, *, versions: int, **tags: str) -> None:
        """A model whose versions have these tags."""
        self.client.create_registered_model(name)
        run = self.client.create_run("0").info
        for _ in range(versions):
            self.client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id, tags=tags)

    def move(self, name: str, version: int) -> None:
        self.client.set_registered_model_alias(name, "champion", str(version))

    def look(self, *, times: int = 2) -> None:
        for _ in range(times):
            self.watch.look()

    def heard(self, name: str) -> list[dict[str, Any]]:
        """What the Prefect server has received about a model, oldest first."""
        wanted = {"event": {"name": ["charlm.model.promoted"]}, "resource": {"id": [f"charlm.model.{name}"]}}
        found = ask(self.prefect, "/events/filter", {"filter": {**wanted, "order": "ASC"}})["events"]
        return [event["payload"] for event in found]

    def wait_for(self, name: str, count: int) -> list[dict[str, Any]]:
        from tests.live_service import wait_until as wait

        wait(lambda: len(self.heard(name)) >= count, seconds=60, what=f"{count} events of {name}")
        return self.heard(name)


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_mlflow(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture
def registry(mlflow: str, server: dict[str, str]) -> Registry:
    return Registry(mlflow, server)


def test_an_alias_that_was_moved_by_hand_is_announced_once(registry: Registry) -> None:
    registry.make_model("moved", versions=2, **{"gate.decision": "refused", "corpus.revision": "3"})
    registry.move("moved", 1)
    registry.look(times=1)
    assert registry.heard("moved") == []  # the gate might be about to announce it
    registry.look(times=3)
    (payload,) = registry.wait_for("moved", 1)
    assert (payload["address"], payload["previous_champion"]) == ("models:/moved/1", None)
    assert payload["corpus_revision"] == 3
    registry.move("moved", 2)
    registry.look(times=3)
    second = registry.wait_for("moved", 2)[-1]
    assert (second["version"], second["previous_champion"]) == (2, "models:/moved/1")
    assert "moved by hand" in second["reason"]
    registry.move("moved", 1)  # back, as a rollback by hand does
    registry.look(times=3)
    assert [payload["version"] for payload in registry.wait_for("moved", 3)] == [1, 2, 1]
    assert len(registry.lines) == 3


def test_a_champion_that_the_gate_has_promoted_without_a_service_is_taken_as_known(registry: Registry) -> None:
    registry.make_model("older", versions=1, **{"gate.decision": "promoted"})
    registry.move("older", 1)
    registry.look(times=3)
    assert registry.client.get_registered_model("older").tags["champion.announced"] == "1"
    assert registry.lines == []


def test_taggers_and_models_without_a_champion_are_left_alone(registry: Registry) -> None:
    registry.make_model("a-tagger", versions=1)
    registry.client.set_registered_model_tag("a-tagger", "charlm.task", "tagger")
    registry.move("a-tagger", 1)
    registry.make_model("no-champion", versions=1)
    registry.look(times=3)
    assert registry.lines == []
    assert "champion.announced" not in registry.client.get_registered_model("no-champion").tags
