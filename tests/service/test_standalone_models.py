"""Registered versions are loaded where charlm is not installed, with the packages that they name themselves."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.artifacts import Workspace
from tests.conftest import TrainedWorkspace, environment, run_charlm
from tests.labelled_data import write_entities
from tests.light_environment import light_environment
from tests.model_server import ask, model_server

pytestmark = pytest.mark.service

TEXTS = ["I love Berlin", "", "größer"]
# Prints what each of some addresses answers, and which charlm the answers come from.
PREDICT = """
import importlib.util, json, sys
assert importlib.util.find_spec("charlm") is None and importlib.util.find_spec("prefect") is None
import mlflow
questions = json.loads(sys.argv[1])
answers = [mlflow.pyfunc.load_model(address).predict(texts, params=params) for address, texts, params in questions]
import charlm
print(json.dumps([charlm.__file__, answers]))
"""


@pytest.fixture(scope="module")
def registered(trained_workspace: TrainedWorkspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy of the workspace with the pair `tiny`, and the tagger `places` on it."""
    folder = tmp_path_factory.mktemp("standalone")
    workspace = Workspace(Path(shutil.copytree(trained_workspace.root, folder / "workspace")))
    data = write_entities(folder / "entities")
    train_on_tiny(workspace, "tag-train", data, "--name", "places", "--label", "ner", "--set", "hidden_size=8")
    return workspace


def train_on_tiny(workspace: Workspace, command: str, *arguments: object) -> None:
    """Train and register a tagger or classifier on the embeddings of the pair."""
    common = ("--model", "models:/tiny/1", "--set", "max_epochs=1", "--workspace", workspace.root, "--json")
    outcome = run_charlm(command, *arguments, *common)
    assert outcome.code == 0, outcome.stderr


def model_folder(registered: Workspace, holds: str) -> Path:
    """The folder of the version whose artifacts hold a file or folder of this name."""
    found = registered.mlflow_artifacts_dir.glob(f"models/*/artifacts/artifacts/{holds}")
    (folder,) = [path.parent.parent for path in found]
    return folder


@pytest.fixture(scope="module")
def programs(registered: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has what the registered pair requires, and nothing else."""
    requirements = (model_folder(registered, "bundle") / "requirements.txt").read_text().split()
    return light_environment(tmp_path_factory.mktemp("environment"), requirements)


def predict(
    programs: Path, workspace: Workspace, *questions: tuple[str, list[str], dict[str, Any]]
) -> tuple[str, list[Any]]:
    variables = {"MLFLOW_TRACKING_URI": f"sqlite:///{workspace.mlflow_db}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    outcome = subprocess.run(
        [programs / "python", "-c", PREDICT, json.dumps(questions)],
        env=environment() | variables,
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stderr
    place, answers = json.loads(outcome.stdout.splitlines()[-1])
    return place, answers


def test_a_version_answers_where_charlm_is_not_installed(programs: Path, registered: Workspace) -> None:
    forms = [{}, {"base64": True}, {"pooling": "mean"}, {"pooling": "first_last", "dtype": "float16", "base64": True}]
    questions = [("models:/tiny/1", TEXTS, form) for form in forms] + [("models:/places/1", TEXTS, {})]
    place, (plain, coded, mean, ends, labels) = predict(programs, registered, *questions)
    assert Path(place).is_relative_to(registered.mlflow_artifacts_dir)
    assert [entry["tokens"] for entry in plain] == [["I", "love", "Berlin"], [], ["größer"]]
    vectors = np.asarray(plain[0]["embeddings"], np.float32)
    assert coded[0]["shape"] == list(vectors.shape)
    np.testing.assert_array_equal(decoded(coded[0]["embeddings"], "<f4").reshape(vectors.shape), vectors)
    np.testing.assert_allclose(mean[0]["embedding"], vectors.mean(axis=0), atol=1e-6)
    assert not any(mean[1]["embedding"])
    np.testing.assert_array_equal(decoded(ends[0]["embedding"], "<f2"), vectors[[0, 2]].reshape(-1).astype(np.float16))
    assert [entry["tokens"] for entry in labels] == [["I", "love", "Berlin"], [], ["größer"]]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_versions_are_served_where_charlm_is_not_installed(
    programs: Path, registered: Workspace, tmp_path: Path
) -> None:
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.csv").write_text("label,text\nyes,good\nno,bad\nyes,fine\nno,poor\n")
    train_on_tiny(registered, "classify-train", tmp_path, "--name", "kinds")
    addresses = [f"models:/{name}/1" for name in ("tiny", "places", "kinds")]
    _, loaded = predict(programs, registered, *((address, TEXTS, {}) for address in addresses))
    for address, answers in zip(addresses, loaded, strict=True):
        with model_server(address, registered.root, programs=programs, PYTHONPATH="") as server:
            assert ask(server, {"inputs": TEXTS})["predictions"] == answers
    assert [len(answers) for answers in loaded] == [len(TEXTS)] * 3
    assert {label["value"] for entry in loaded[2] for label in entry["labels"]} <= {"yes", "no"}


def decoded(text: str, dtype: str) -> Any:
    return np.frombuffer(base64.b64decode(text), dtype)


@pytest.mark.parametrize("holds", ["bundle", "best-model.pt"])
def test_a_version_names_no_package_that_cannot_be_had(registered: Workspace, holds: str) -> None:
    folder = model_folder(registered, holds)
    named = {re.split("[=<>]", line)[0] for line in (folder / "requirements.txt").read_text().split()}
    assert named == {"mlflow", "torch", "numpy", "pyarrow", "safetensors", "xxhash", "filelock"}
    assert "charlm" not in (folder / "conda.yaml").read_text() + (folder / "python_env.yaml").read_text()


def test_the_image_that_mlflow_would_build_fetches_nothing_of_ours(registered: Workspace, tmp_path: Path) -> None:
    from mlflow.models.cli import commands

    folder = model_folder(registered, "bundle")
    arguments = ["generate-dockerfile", "--model-uri", str(folder), "--output-directory", str(tmp_path / "image")]
    commands.main(args=arguments, standalone_mode=False)
    assert "charlm" not in (tmp_path / "image" / "Dockerfile").read_text()
