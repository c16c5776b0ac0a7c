"""The flow that embeds many texts, with a real Prefect server."""

import json
import shutil
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from charlm.errors import ConfigError, SourceError
from tasks.inference.texts import embedding_outputs, find_texts
from tests.conftest import TrainedWorkspace, run_program
from tests.prefect_server import ask

PROGRAM = """
import json, sys
from pathlib import Path
from tasks.services.session import start_prefect, use_workspace
workspace, output, *texts = sys.argv[1:]
use_workspace(workspace)
start_prefect()
from flows.embed import embed_corpus
embedded = embed_corpus(
    "models:/tiny@challenger", texts, Path(output), Path(workspace), dtype="float16", encoding="utf-16"
)
print(json.dumps([text.to_json() for text in embedded]))
"""


@pytest.mark.service
def test_every_text_has_its_file_its_task_and_its_line_in_the_report(
    trained_workspace: TrainedWorkspace, server: dict[str, str], tmp_path: Path
) -> None:
    workspace = Path(shutil.copytree(trained_workspace.root, tmp_path / "workspace"))
    (tmp_path / "a.txt").write_text("the set of files\nread a list\n", encoding="utf-16")
    (tmp_path / "b.conll").write_text("read X\nit Y\n\n", encoding="utf-16")
    texts = [str(tmp_path / name) for name in ("a.txt", "b.conll")]
    output = tmp_path / "vectors"
    result = run_program(PROGRAM, workspace, output, *texts, **server)
    assert result.code == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == [
        {"output": str(output / "a.txt.parquet"), "tokens": 7, "dimensions": 32},
        {"output": str(output / "b.conll.parquet"), "tokens": 2, "dimensions": 32},
    ]
    table = pq.read_table(output / "b.conll.parquet")
    assert table["token"].to_pylist() == ["read", "it"]
    assert str(table.schema.field("embedding").type.value_type) == "halffloat"
    (artifact,) = ask(server, "/artifacts/filter", {"artifacts": {"key": {"any_": ["embeddings-vectors"]}}})
    done = {"name": {"any_": [f"embed {text}" for text in texts]}, "state": {"name": {"any_": ["Completed"]}}}
    deadline = time.monotonic() + 60
    while len(ask(server, "/task_runs/filter", {"task_runs": done})) < len(texts):  # recorded from events
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "Embeddings with models:/tiny/1" in artifact["data"]  # the alias may move while the flow runs
    assert "| `a.txt.parquet` | 7 | 32 |" in artifact["data"]


def test_a_missing_text_or_two_of_one_name_are_told_before_anything_is_written(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("text")
    with pytest.raises(SourceError, match="there is no text file 'nowhere"):
        embedding_outputs([str(tmp_path / "one" / "a.txt"), "nowhere.txt"], tmp_path / "vectors")
    with pytest.raises(ConfigError, match=r"two texts are named a\.txt"):
        embedding_outputs([str(tmp_path / folder / "a.txt") for folder in ("one", "two")], tmp_path / "vectors")
    with pytest.raises(ConfigError, match="no text was given"):
        embedding_outputs([], tmp_path / "vectors")
    assert not (tmp_path / "vectors").exists()


def test_folders_and_globs_stand_for_the_files_in_them(tmp_path: Path) -> None:
    (tmp_path / "texts" / "more").mkdir(parents=True)
    for name in ("b.txt", "a.conll", "more/c.txt", ".hidden.txt"):
        (tmp_path / "texts" / name).write_text("text")
    folder = str(tmp_path / "texts")
    names = [str(tmp_path / "texts" / name) for name in ("a.conll", "b.txt", "more/c.txt")]
    assert find_texts([folder]) == names
    assert find_texts([f"{folder}/**/*.txt"]) == [names[1], names[2]]
    assert find_texts([names[1], folder]) == [names[1], names[0], names[2]]
    assert find_texts([f"{folder}/*.parquet"]) == find_texts([]) == []
    assert find_texts(["nowhere.txt"]) == ["nowhere.txt"]  # which is told when it is looked for
