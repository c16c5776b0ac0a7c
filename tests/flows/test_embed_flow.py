"""The flow that embeds many texts, with a real embedded Prefect server."""

import json
import shutil
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from charlm.errors import ConfigError, SourceError
from tasks.inference.texts import embedding_outputs, find_texts
from tests.conftest import TrainedWorkspace, copy_prefect_home, run_program

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
from charlm.config import ReadConfig, ScoreBounds
from flows.filter import filter_texts
filtered = filter_texts(
    "models:/tiny@challenger", texts[:1], Path(output) / "kept.txt", Path(output) / "odd.txt",
    bounds=ScoreBounds(max_bits_per_byte=6.0), reading=ReadConfig(encoding="utf-16"), workspace=Path(workspace),
)
assert filtered.rows == 3 and filtered.kept == 2, filtered
none = embed_corpus("models:/tiny@challenger", workspace=Path(workspace), return_state=True)
print(none.message)
print(json.dumps([text.to_json() for text in embedded]))
"""


@pytest.mark.service
def test_every_text_has_its_file_its_task_and_its_line_in_the_report(
    trained_workspace: TrainedWorkspace, new_prefect_home: Path, tmp_path: Path
) -> None:
    workspace = Path(shutil.copytree(trained_workspace.root, tmp_path / "workspace"))
    copy_prefect_home(new_prefect_home, workspace)
    (tmp_path / "a.txt").write_text("the set of files\nread a list\nʘǁǂǃ\n", encoding="utf-16")
    (tmp_path / "b.conll").write_text("read X\nit Y\n\n", encoding="utf-16")
    texts = [str(tmp_path / name) for name in ("a.txt", "b.conll")]
    output = tmp_path / "vectors"
    result = run_program(PROGRAM, workspace, output, *texts)
    assert result.code == 0, result.stderr
    nothing, embedded = result.stdout.splitlines()[-2:]
    assert nothing == f"nothing to do: no texts were given, and there are none in {workspace / 'to-embed' / 'tiny'}"
    assert json.loads(embedded) == [
        {"output": str(output / "a.txt.parquet"), "tokens": 8, "dimensions": 32},
        {"output": str(output / "b.conll.parquet"), "tokens": 2, "dimensions": 32},
    ]
    table = pq.read_table(output / "b.conll.parquet")
    assert table["token"].to_pylist() == ["read", "it"]
    assert str(table.schema.field("embedding").type.value_type) == "halffloat"
    with sqlite3.connect(workspace / ".prefect" / "prefect.db") as database:
        names = {name for (name,) in database.execute("SELECT name FROM task_run WHERE state_name = 'Completed'")}
        ((of_filter,),) = database.execute("SELECT data FROM artifact WHERE key = 'filtered-kept-txt'").fetchall()
        ((report,),) = database.execute("SELECT data FROM artifact WHERE key = 'embeddings-vectors'").fetchall()
    assert {f"embed {text}" for text in texts} <= names
    assert "Embeddings with models:/tiny/1" in report  # the alias may move while the flow runs
    assert "| `a.txt.parquet` | 8 | 32 |" in report
    assert "kept 2 of 3 rows (66.7%)" in of_filter
    assert (output / "kept.txt").read_text(encoding="utf-8") == "the set of files\nread a list\n"
    assert (output / "odd.txt").read_text(encoding="utf-8") == "ʘǁǂǃ\n"


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
