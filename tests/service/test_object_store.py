"""One workspace in an object store, and two machines: two cache folders that share nothing but S3 and MLflow."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import QUICK, Outcome, run_charlm, write_sentences
from tests.mlflow_server import running_mlflow
from tests.object_store import BUCKET, ObjectStore, object_store

pytestmark = [pytest.mark.service]


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store() as running:
        yield running


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_mlflow(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@dataclass(frozen=True)
class Machine:
    """One that has only its cache folder."""

    cache: Path
    variables: dict[str, str]
    workspace: str

    def charlm(self, *arguments: object) -> Outcome:
        return run_charlm(*arguments, "--workspace", self.workspace, **self.variables)

    @property
    def root(self) -> Path:
        (root,) = self.cache.iterdir()
        return root


@pytest.fixture
def machines(store: ObjectStore, mlflow: str, tmp_path: Path) -> list[Machine]:
    def machine(name: str) -> Machine:
        own = {
            "CHARLM_WORKSPACE_CACHE": str(tmp_path / name),
            "MLFLOW_TRACKING_URI": mlflow,
            "CHARLM_LEASE_SECONDS": "3",
        }
        return Machine(tmp_path / name, {**store.variables, **own}, f"s3://{BUCKET}/{tmp_path.name}")

    return [machine("first"), machine("second")]


def test_prepared_on_one_machine_and_trained_on_another(machines: list[Machine], tmp_path: Path) -> None:
    first, second = machines
    text = write_sentences(tmp_path / "text.txt")
    prepared = first.charlm("prepare", text, "--name", "tiny", "--json")
    assert prepared.code == 0, prepared.stderr
    trained = second.charlm("train", "tiny", *QUICK, "--json")
    assert trained.code == 0, trained.stderr
    assert trained.json["model"] == "models:/tiny/1"
    embedded = first.charlm("embed", "models:/tiny@challenger", text, "--output", tmp_path / "e.parquet", "--json")
    assert embedded.code == 0, embedded.stderr
    # The other machine finds the finished runs.
    again = first.charlm("train", "tiny", *QUICK, "--resume", "--json")
    assert again.code == 0, again.stderr
    assert again.json["runs"]["forward"]["test"] == trained.json["runs"]["forward"]["test"]
    assert again.json["model"] == "models:/tiny/1"
