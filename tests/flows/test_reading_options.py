"""Commands read files of another encoding, and a first row as a header or as data, when asked to."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from charlm.artifacts import Workspace
from tests.conftest import Charlm, TrainedWorkspace, own_workspace
from tests.labelled_data import write_vectors

pytestmark = pytest.mark.service

TAGGED = "word\tner\nBerlin\tB-LOC\nist\tO\n\nIn\tO\nZürich\tB-LOC\n\nÖl\tO\nRom\tB-LOC\n"
CLASSES = "label,text\nyes,schön\nno,übel\nyes,süß\nno,böse\n"
MODEL = "models:/tiny@challenger"
QUICK = ("--set", "hidden_size=8", "--set", "max_epochs=1", "--no-register", "--json")


@pytest.fixture(scope="module")
def workspace(trained_workspace: TrainedWorkspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with own_workspace(trained_workspace, tmp_path_factory.mktemp("reading") / "workspace") as workspace:
        yield workspace


def write(folder: Path, name: str, content: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content.encode("utf-16"))
    return folder / name


def test_labelled_files_in_utf_16_train_a_tagger_that_labels_and_is_scored_on_such_files(
    charlm: Charlm, workspace: Workspace, tmp_path: Path
) -> None:
    place = {"CHARLM_WORKSPACE": str(workspace.root)}
    vectors = tmp_path / "vectors.txt"
    write_vectors(vectors)
    for name in ("train.txt", "dev.txt", "test.txt"):
        write(tmp_path / "tags", name, TAGGED)
    command = ("tag-train", tmp_path / "tags", "--name", "utf", "--vectors", vectors, *QUICK)
    refused = charlm(*command, **place)
    assert refused.code == 2
    assert "utf-16" in refused.stderr
    trained = charlm(*command, "--encoding", "utf-16", **place)
    assert trained.code == 0, trained.stderr
    text = write(tmp_path, "text.txt", "Ich bin in Zürich .\n")
    predicted = charlm("predict", trained.json["file"], text, "--encoding", "utf-16", "--json", **place)
    assert predicted.json["predictions"][0]["text"] == "Ich bin in Zürich ."


def test_a_header_becomes_a_class_only_with_no_header(charlm: Charlm, workspace: Workspace, tmp_path: Path) -> None:
    place = {"CHARLM_WORKSPACE": str(workspace.root)}
    vectors = tmp_path / "vectors.txt"
    write_vectors(vectors)
    for name in ("train.csv", "dev.csv", "test.csv"):
        write(tmp_path / "classes", name, CLASSES)
    command = ("classify-train", tmp_path / "classes", "--name", "utf", "--vectors", vectors, *QUICK)
    command = (*command, "--encoding", "utf-16")
    found = {}
    for option in ("--skip-header", "--no-header"):
        trained = charlm(*command, option, **place)
        assert trained.code == 0, trained.stderr
        found[option] = set(trained.json["test"]["classes"])
    assert found["--no-header"] - found["--skip-header"] == {"label"}
    both = charlm(*command, "--skip-header", "--no-header", **place)
    assert both.code == 2
    assert "contradict each other" in both.stderr


def test_a_text_in_utf_16_is_embedded(charlm: Charlm, workspace: Workspace, tmp_path: Path) -> None:
    place = {"CHARLM_WORKSPACE": str(workspace.root)}
    text, output = write(tmp_path, "text.csv", "label,text\nyes,schön\nno,übel\n"), tmp_path / "vectors.parquet"
    command = ("embed", MODEL, text, "--output", output, "--encoding", "utf-16")
    assert charlm(*command, **place).code == 0
    assert pq.read_table(output)["token"].to_pylist() == ["schön", "übel"]
    assert charlm(*command, "--no-header", **place).code == 0
    assert pq.read_table(output)["token"].to_pylist() == ["text", "schön", "übel"]
