"""One workspace in an object store, and two machines: two cache folders that share nothing but S3 and MLflow."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from charlm.remote.units import unit_and_version
from tests.charlm.trainers.test_nodes import place
from tests.charlm.trainers.test_processes import free_port
from tests.command_server import COMMAND_LINE, ForkedProgram
from tests.conftest import QUICK, Outcome, run_charlm, start_program, write_sentences
from tests.google_store import google_store
from tests.labelled_data import write_treebank
from tests.live_service import wait_until
from tests.mlflow_server import running_mlflow
from tests.object_store import BUCKET, ObjectStore, object_store

pytestmark = [pytest.mark.service]

# A training of some seconds, with a checkpoint about every second.
LONG = (
    *("--set", "max_characters=6000000", "--set", "hidden_size=32", "--set", "sequence_length=50"),
    *("--set", "checkpoint_minutes=0.015", "--direction", "forward"),
)


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

    def charlm(self, *arguments: object, **variables: str) -> Outcome:
        return run_charlm(*arguments, "--workspace", self.workspace, **{**self.variables, **variables})

    def start(self, *arguments: object) -> ForkedProgram:
        return start_program(COMMAND_LINE, *arguments, "--workspace", self.workspace, **self.variables)

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


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_sentences(tmp_path / "text.txt")


def versions_of_runs(store: ObjectStore, tmp_path: Path, name: str = "") -> int:
    """The newest version of any run that the store has, whose name begins with `name`."""
    keys = (key.removeprefix(f"{tmp_path.name}/") for key in store.object_keys() if key.startswith(f"{tmp_path.name}/"))
    found = [unit_and_version(key) for key in keys if key.startswith(f"refs/runs/{name}")]
    return max((one[1] for one in found if one is not None), default=0)


def runs_with_checkpoint(store: ObjectStore, tmp_path: Path) -> set[str]:
    """The names of the runs of which the store has had a checkpoint, and still has that version."""
    place, client = f"{tmp_path.name}/refs/runs/", store.client()
    found: set[str] = set()
    for key in store.object_keys():
        if key.startswith(place):
            with suppress(client.exceptions.NoSuchKey):  # a newer version has replaced it meanwhile
                manifest = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
                if b'"checkpoint.pt"' in manifest:
                    found.add(key.removeprefix(place).partition("/")[0])
    return found


def stored_objects(store: ObjectStore, tmp_path: Path) -> list[str]:
    return [key for key in store.object_keys() if key.startswith(f"{tmp_path.name}/objects/")]


def test_prepared_on_one_machine_and_trained_on_another(
    machines: list[Machine], store: ObjectStore, text: Path, tmp_path: Path
) -> None:
    first, second = machines
    prepared = first.charlm("prepare", text, "--name", "tiny", "--json")
    assert prepared.code == 0, prepared.stderr
    trained = second.charlm("train", "tiny", *QUICK, "--direction", "forward", "--json")
    assert trained.code == 0, trained.stderr
    assert trained.json["model"] == "models:/tiny/1"
    assert not list(second.root.glob("corpora/tiny/train/*"))  # its encoded form is all that a training reads
    embedded = first.charlm("embed", "models:/tiny@challenger", text, "--output", tmp_path / "e.parquet", "--json")
    assert embedded.code == 0, embedded.stderr
    # The other machine finds the finished runs.
    again = first.charlm("train", "tiny", *QUICK, "--direction", "forward", "--resume", "--json")
    assert again.code == 0, again.stderr
    assert again.json["runs"]["forward"]["test"] == trained.json["runs"]["forward"]["test"]
    assert again.json["model"] == "models:/tiny/1"
    # What nobody needs any more goes; in the store each run has its last checkpoint.
    kept = first.charlm("prune", "--dry-run", "--json")
    assert kept.code == 0, kept.stderr
    assert [removal["kind"] for removal in kept.json["removed"]] == ["checkpoint", "content"]
    num_objects = len(stored_objects(store, tmp_path))
    pruned = first.charlm("prune", "--json")
    assert pruned.json == {**kept.json, "dry_run": False}
    assert len(stored_objects(store, tmp_path)) < num_objects
    assert not list(second.root.glob("set-aside/*"))
    assert first.charlm("prune", "--json").json["removed"] == []
    resumed = second.charlm("train", "tiny", *QUICK, "--direction", "forward", "--resume", "--json")
    assert resumed.json["model"] == "models:/tiny/1", resumed.stderr
    assert not list(second.root.glob("runs/*/checkpoint.pt"))


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on_elsewhere_to_the_bit(
    machines: list[Machine], store: ObjectStore, text: Path, tmp_path: Path
) -> None:
    first, second = machines
    assert first.charlm("prepare", text, "--name", "killed", "--json").code == 0
    whole = first.charlm("train", "killed", *LONG, "--no-register", "--set", "checkpoint_minutes=60", "--json")
    assert whole.code == 0, whole.stderr
    ended = runs_with_checkpoint(store, tmp_path)
    training = first.start("train", "killed", *LONG, "--no-register", "--json")
    wait_until(lambda: runs_with_checkpoint(store, tmp_path) > ended, seconds=120, what="a checkpoint in the store")
    training.kill()
    training.wait()
    resumed = second.charlm("train", "killed", *LONG, "--resume", "--json")
    assert resumed.code == 0, resumed.stderr
    assert "continuing killed-forward" in resumed.stderr
    assert resumed.json["runs"]["forward"]["test"] == whole.json["runs"]["forward"]["test"]
    (there,) = second.root.glob("runs/killed-forward-*/best-lm.pt")
    runs = first.root.glob("runs/killed-forward-*")
    (undisturbed,) = [run for run in runs if run.name != there.parent.name]
    assert there.read_bytes() == (undisturbed / "best-lm.pt").read_bytes()
    assert resumed.json["model"].startswith("models:/killed/")


def test_two_machines_that_prepare_one_corpus_take_turns(machines: list[Machine], text: Path, tmp_path: Path) -> None:
    first, second = machines
    more = write_sentences(tmp_path / "more.txt", seed=2)
    both = [
        machine.start("prepare", one, "--name", "shared", "--json")
        for machine, one in zip(machines, (text, more), strict=True)
    ]
    outcomes = [program.communicate() for program in both]
    assert [program.wait() for program in both] == [0, 0], outcomes
    manifest = second.charlm("prepare", text, more, "--name", "shared", "--json").json
    assert manifest["revision"] == 2
    assert first.charlm("prepare", text, "--name", "shared", "--json").json["documents"] == manifest["documents"]


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"MLFLOW_TRACKING_URI": ""}, "holds no MLflow database; set MLFLOW_TRACKING_URI"),
        ({"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}, "sqlite:///mlflow.db is on this machine alone"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "does not answer; nothing is lost"),
    ],
)
def test_what_is_missing_is_one_line(machines: list[Machine], text: Path, variables: dict[str, str], line: str) -> None:
    outcome = machines[0].charlm("prepare", text, "--name", "tiny", "--json", **variables)
    assert outcome.code == 2
    assert line in outcome.json["error"]
    assert len(outcome.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_training_outlives_a_store_that_is_away(
    machines: list[Machine], store: ObjectStore, text: Path, tmp_path: Path
) -> None:
    first, second = machines
    assert first.charlm("prepare", text, "--name", "away", "--json").code == 0
    training = first.start("train", "away", *LONG, "--no-register", "--json")
    wait_until(lambda: versions_of_runs(store, tmp_path) > 0, seconds=120, what="a checkpoint in the store")
    with store.away():
        _, stderr = training.communicate()
        assert training.wait() == 2
        assert "its newest checkpoint is on this machine alone" in stderr
        assert stderr.splitlines()[-1].endswith("does not answer; nothing is lost: run the command again when it does")
    again = first.charlm("train", "away", *LONG, "--resume", "--no-register", "--json")
    assert again.code == 0, again.stderr
    assert "reused away-forward" in again.stderr
    elsewhere = second.charlm("train", "away", *LONG, "--resume", "--no-register", "--json")
    assert elsewhere.code == 0, elsewhere.stderr
    assert elsewhere.json["runs"]["forward"]["test"] == again.json["runs"]["forward"]["test"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "line"),
    [
        ("64k", "is full; free some space there, or set CHARLM_WORKSPACE_CACHE"),  # what comes from the store
        ("256k", "No space left on device; free some space where the workspace, its cache and TMPDIR are"),  # the rest
    ],
)
def test_a_full_disk_of_the_cache_is_one_line(
    size: str, line: str, machines: list[Machine], text: Path, tmp_path: Path
) -> None:
    first, second = machines
    assert first.charlm("prepare", text, "--name", "full", "--json").code == 0
    second.cache.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(second.cache)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a disk of a few kilobytes can only be mounted by root")
    try:
        outcome = second.charlm("baseline", "full", "--json")
        assert outcome.code == 2
        assert line in outcome.json["error"]
    finally:
        subprocess.run(["umount", "--lazy", str(second.cache)], check=True)
    assert second.charlm("baseline", "full", "--json").code == 0


@pytest.mark.slow
def test_a_preparation_that_was_killed_is_done_by_another_machine(
    machines: list[Machine], text: Path, tmp_path: Path
) -> None:
    first, second = machines
    large = tmp_path / "large.txt"
    large.write_text(text.read_text() * 100)
    preparing = first.start("prepare", large, "--name", "taken", "--json")
    wait_until(lambda: first.cache.is_dir() and any(first.root.glob("corpora/taken")), seconds=60, what="a corpus")
    preparing.kill()
    preparing.wait()
    prepared = second.charlm("prepare", large, "--name", "taken", "--json")
    assert prepared.code == 0, prepared.stderr
    again = first.charlm("prepare", large, "--name", "taken", "--json")
    assert again.code == 0, again.stderr
    assert (again.json["revision"], again.json["characters"]) == (1, prepared.json["characters"])


@pytest.mark.slow
def test_a_tagger_whose_training_was_killed_goes_on_elsewhere(
    machines: list[Machine], store: ObjectStore, text: Path, tmp_path: Path
) -> None:
    first, second = machines
    assert first.charlm("prepare", text, "--name", "lm", "--json").code == 0
    model = first.charlm("train", "lm", *QUICK, "--direction", "forward", "--json").json["model"]
    data = write_treebank(tmp_path / "data", "toy", (400, 20, 20))
    command = ("tag-train", data, "--model", model, "--set", "max_epochs=12", "--json")
    whole = first.charlm(*command, "--name", "whole", "--no-register")
    assert whole.code == 0, whole.stderr
    training = first.start(*command, "--name", "tags", "--no-register")
    wait_until(lambda: versions_of_runs(store, tmp_path, "tags-") > 0, seconds=120, what="a checkpoint in the store")
    training.kill()
    training.wait()
    resumed = second.charlm(*command, "--name", "tags", "--resume")
    assert resumed.code == 0, resumed.stderr
    assert "continuing tags-tagger" in resumed.stderr
    assert (resumed.json["epochs"], resumed.json["test"]) == (12, whole.json["test"])
    again = first.charlm(*command, "--name", "tags", "--resume")
    assert "is finished" in again.stderr
    assert again.json["model"] == resumed.json["model"] == "models:/tags/1"


@pytest.mark.slow
def test_two_machines_that_train_one_tagger_take_turns(machines: list[Machine], text: Path, tmp_path: Path) -> None:
    first, second = machines
    assert first.charlm("prepare", text, "--name", "lm2", "--json").code == 0
    model = first.charlm("train", "lm2", *QUICK, "--direction", "forward", "--json").json["model"]
    data = write_treebank(tmp_path / "data", "toy")
    command = (
        "tag-train",
        data,
        "--name",
        "kinds",
        "--model",
        model,
        "--set",
        "max_epochs=3",
        "--resume",
        "--json",
    )
    both = [machine.start(*command) for machine in machines]
    said = [program.communicate()[1] for program in both]
    assert [program.wait() for program in both] == [0, 0], said
    assert sum("trains the same; waiting for it" in one for one in said) <= 1
    assert sum("is finished" in one for one in said) == 1
    assert len(list(second.root.glob("runs/kinds-*/task.json"))) == 1
    assert not list(second.root.glob("set-aside/*"))


@pytest.mark.slow
def test_two_nodes_train_together_each_from_its_own_cache(machines: list[Machine], text: Path) -> None:
    first, second = machines
    assert first.charlm("prepare", text, "--name", "nodes", "--json").code == 0
    port = free_port()
    both = [
        machine.start("train", "nodes", *QUICK, "--direction", "forward", "--resume", "--json", *place(rank, port))
        for rank, machine in enumerate((second, first))
    ]
    trained, errors = both[0].communicate(timeout=300)
    assert both[0].returncode == 0, errors
    followed, errors = both[1].communicate(timeout=60)
    assert both[1].returncode == 0, errors
    assert json.loads(followed) == {"node": 1, "followed": ["forward"]}
    assert json.loads(trained)["model"] == "models:/nodes/1"
    again = first.charlm("train", "nodes", *QUICK, "--direction", "forward", "--resume", "--num-processes", 2, "--json")
    assert again.json["model"] == "models:/nodes/1", again.stderr


@pytest.mark.slow
def test_two_machines_share_a_workspace_in_googles_store(mlflow: str, text: Path, tmp_path: Path) -> None:
    with google_store() as variables:
        first, second = (
            Machine(
                tmp_path / name,
                {**variables, "CHARLM_WORKSPACE_CACHE": str(tmp_path / name), "MLFLOW_TRACKING_URI": mlflow},
                "gs://charlm/ws",
            )
            for name in ("first", "second")
        )
        prepared = first.charlm("prepare", text, "--name", "google", "--json")
        assert prepared.code == 0, prepared.stderr
        assert len(prepared.stderr.splitlines()) < 10, prepared.stderr
        trained = second.charlm("train", "google", *QUICK, "--direction", "forward", "--resume", "--json")
        assert trained.code == 0, trained.stderr
        pruned = first.charlm("prune", "--json")
        assert [removal["kind"] for removal in pruned.json["removed"]] == ["checkpoint", "content"], pruned.stderr
        again = first.charlm("train", "google", *QUICK, "--direction", "forward", "--resume", "--json")
        assert again.json["model"] == trained.json["model"] == "models:/google/1", again.stderr
