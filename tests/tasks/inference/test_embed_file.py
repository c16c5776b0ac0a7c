"""Files are embedded row by row, in bounded memory, and go on where they were cut short."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from charlm.artifacts import OutputFiles
from charlm.data import Sentence
from charlm.datasets.lines import ReadingRules
from charlm.embeddings import FlairEmbeddings, StackedEmbeddings, export
from charlm.embeddings.export import embed_file
from charlm.errors import ConfigError, RunError, SourceError
from charlm.models import LanguageModel
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden" / "flair"

pytestmark = pytest.mark.numeric

LINES = ["I love  Berlin .", "a\u200bb  c", "x"]


@pytest.fixture(scope="module")
def models() -> dict[str, LanguageModel]:
    torch.set_num_threads(1)
    return {name: LanguageModel.load_language_model(GOLDEN / f"{name}.pt") for name in ("backward", "forward")}


@pytest.fixture
def text(tmp_path) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(f"{LINES[0]}\n\n{LINES[1]}\r\n{LINES[2]}".encode())
    return path


def expected(models: dict[str, LanguageModel], sentence: Sentence) -> np.ndarray:
    stack = StackedEmbeddings(
        [FlairEmbeddings(models["forward"], name="f"), FlairEmbeddings(models["backward"], name="b")]
    )
    return stack.embed(sentence)[0].get_token_embeddings().numpy()


def matrix(table: pa.Table) -> np.ndarray:
    return np.array(table["embedding"].to_pylist())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_each_token_is_a_row_with_its_place_in_the_file(models, text, tmp_path, dtype):
    result = embed_file(models, text, tmp_path / "out.parquet", dtype=dtype)
    table = pq.read_table(result.output)
    assert (result.tokens, result.dimensions) == (7, 16)
    assert table.schema.field("embedding").type == pa.list_(pa.float32() if dtype == "float32" else pa.float16(), 16)
    assert table["sentence_id"].to_pylist() == [0, 0, 0, 0, 1, 1, 2]
    assert table["token"].to_pylist() == ["I", "love", "Berlin", ".", "ab", "c", "x"]
    places = zip(*(table[name].to_pylist() for name in ("sentence_id", "start", "end")), strict=True)
    assert [LINES[line][start:end] for line, start, end in places] == ["I", "love", "Berlin", ".", "a\u200bb", "c", "x"]
    tolerance = 1e-6 if dtype == "float32" else 1e-3
    np.testing.assert_allclose(matrix(table)[:4], expected(models, Sentence(LINES[0])), atol=tolerance)


def test_the_output_may_have_a_name_of_any_length(models, text, tmp_path):
    output = tmp_path / ("ü" * 127 + "x")
    assert embed_file(models, text, output).tokens == 7
    assert [path.name for path in tmp_path.iterdir() if path != text] == [output.name]


def test_a_sentence_can_be_one_row(models, text, tmp_path):
    vectors = expected(models, Sentence(LINES[0]))
    mean = pq.read_table(embed_file(models, text, tmp_path / "mean.parquet", pooling="mean").output)
    result = embed_file(models, text, tmp_path / "ends.parquet", pooling="first_last")
    ends = pq.read_table(result.output)
    np.testing.assert_allclose(matrix(mean)[0], vectors.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(matrix(ends)[0], np.concatenate([vectors[0], vectors[-1]]), atol=1e-6)
    assert mean["token"].to_pylist() == ends["token"].to_pylist() == LINES
    assert result.dimensions == 32


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.conll", "I PRP\nlove VBP\n\n\nBerlin NNP\n"),
        ("in.conll", "I\tPRP\nlove\tVBP\n\nBerlin\tNNP"),
        ("in.conllu", "# text = I love\n1\tI\tI\n2-3\tlov e\t_\n2\tlove\tlove\n2.1\tmuch\tmuch\n\n1\tBerlin\tB\n\n"),
    ],
)
def test_conll_columns_are_read(models, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    table = pq.read_table(embed_file(models, tmp_path / name, tmp_path / "out.parquet").output)
    assert table["token"].to_pylist() == ["I", "love", "Berlin"]
    assert table["sentence_id"].to_pylist() == [0, 0, 1]
    assert table["start"].to_pylist() == [0, 2, 0]
    np.testing.assert_allclose(matrix(table)[:2], expected(models, Sentence(["I", "love"])), atol=1e-6)


@pytest.mark.parametrize("column", [{"text": ["I love", None, "Berlin"]}, {"tokens": [["I", "love"], [], ["Berlin"]]}])
def test_parquet_is_read(models, tmp_path, column):
    pq.write_table(pa.table(column), tmp_path / "in.parquet")
    table = pq.read_table(embed_file(models, tmp_path / "in.parquet", tmp_path / "out.parquet").output)
    assert table["token"].to_pylist() == ["I", "love", "Berlin"]


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(export, "_PART_SENTENCES", 2)


def test_a_call_that_was_cut_short_is_continued(models, tmp_path, small_parts, monkeypatch):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"line {letter}" for letter in "abcdefg"))
    whole = pq.read_table(embed_file(models, text, tmp_path / "whole.parquet").output)
    output = tmp_path / "out.parquet"

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_file(models, text, output, on_progress=stop)
    assert not output.exists()
    assert len(OutputFiles(output).parts()) == 2
    progress: list[tuple[int, int]] = []
    embed_file(models, text, output, on_progress=lambda *done: progress.append(done))
    assert [done for done, _ in progress] == [42, 48]  # of seven lines of 7 bytes, two parts of two were there
    assert pq.read_table(output).equals(whole)
    assert pq.ParquetFile(output).num_row_groups == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "text.txt", "whole.parquet"]


@pytest.mark.slow
def test_a_process_that_was_killed_is_continued_to_the_same_file(models, tmp_path):
    text, output = tmp_path / "text.txt", tmp_path / "out.parquet"
    text.write_text("\n".join(f"line {number} is one of many" for number in range(3000)))
    program = f"""
from charlm.embeddings import export
from charlm.models import LanguageModel
export._PART_SENTENCES = 20
models = {{name: LanguageModel.load_language_model(f"{GOLDEN}/{{name}}.pt") for name in ("forward", "backward")}}
export.embed_file(models, {str(text)!r}, {str(output)!r})
"""
    kills = 0
    while not output.exists():
        before = len(OutputFiles(output).parts())
        process = subprocess.Popen([sys.executable, "-c", program])
        while process.poll() is None and not before + 10 < len(OutputFiles(output).parts()):
            time.sleep(0.01)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 3
    table = pq.read_table(output)
    whole = pq.read_table(embed_file(models, text, tmp_path / "whole.parquet").output)
    assert table.drop_columns("embedding").equals(whole.drop_columns("embedding"))
    np.testing.assert_allclose(matrix(table), matrix(whole), atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "text.txt", "whole.parquet"]


def test_parts_of_other_work_are_not_taken(models, tmp_path, small_parts):
    text, output = tmp_path / "text.txt", tmp_path / "out.parquet"
    text.write_text("a\nb\nc\nd\n")
    with pytest.raises(ZeroDivisionError):
        embed_file(models, text, output, on_progress=lambda done, total: 1 / 0)
    text.write_text("a\nb\nc\nx\n")
    table = pq.read_table(embed_file(models, text, output).output)
    assert table["token"].to_pylist() == ["a", "b", "c", "x"]
    with pytest.raises(ZeroDivisionError):
        embed_file(models, text, output, on_progress=lambda done, total: 1 / 0)
    forward = {"forward": models["forward"]}
    assert embed_file(forward, text, output).dimensions == 8


def test_parts_of_another_encoding_or_header_are_not_taken(models, tmp_path, small_parts):
    text, output = tmp_path / "text.csv", tmp_path / "out.parquet"
    text.write_bytes("label,text\nx,Zürich\ny,Öl\nx,und\ny,mehr\n".encode("cp1252"))
    read: list[list[str]] = []
    for encoding, header in (("cp1251", None), ("cp1252", None), ("cp1252", False)):
        rules = ReadingRules(encoding=encoding, header=header)
        with pytest.raises(ZeroDivisionError):
            embed_file(models, text, output, rules=rules, on_progress=lambda done, total: 1 / 0)
        assert len(OutputFiles(output).parts()) == 1
    for encoding, header in (("cp1252", None), ("cp1251", None), ("cp1252", False)):
        rules = ReadingRules(encoding=encoding, header=header)
        read.append(pq.read_table(embed_file(models, text, output, rules=rules).output)["token"].to_pylist())
    assert read[0] == ["Zürich", "Öl", "und", "mehr"]
    assert read[1] != read[0]
    assert read[2] == ["text", *read[0]]


def test_two_processes_do_not_write_one_file(models, text, tmp_path):
    output = tmp_path / "out.parquet"
    with pytest.raises(RunError, match="is being written by another process"):
        embed_file(models, text, output, on_progress=lambda done, total: embed_file(models, text, output))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("in.txt", b"", "holds no sentence"),
        ("in.txt", b"\n \n", "holds no sentence"),
        ("in.txt", b"good\nbad \xff\n", r"line 2: this is not utf-8 text"),
        ("in.parquet", b"no", "is no Parquet file"),
        ("in.conllu", b"just text\n", "is not CoNLL-U"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_output(models, tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=reason):
        embed_file(models, tmp_path / name, tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("output", "reason"), [("folder", "is a folder"), ("in.txt", "is the text itself")])
def test_an_output_that_would_write_over_something_else_is_refused_before_any_work(models, tmp_path, output, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "in.txt").write_text("a b\n")
    with pytest.raises(ConfigError, match=reason):
        embed_file(models, tmp_path / "in.txt", tmp_path / output)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "in.txt"]
    assert (tmp_path / "in.txt").read_text() == "a b\n"


def test_a_parquet_file_without_text_is_refused(models, tmp_path):
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "in.parquet")
    with pytest.raises(SourceError, match="has no column `text` or `tokens`; it has body"):
        embed_file(models, tmp_path / "in.parquet", tmp_path / "out.parquet")


@pytest.mark.parametrize("setting", [{"pooling": "sum"}, {"dtype": "int8"}, {"format": "csv"}])
def test_settings_that_do_not_exist_are_refused(models, text, tmp_path, setting):
    with pytest.raises(ConfigError, match="is one of"):
        embed_file(models, text, tmp_path / "out.parquet", **setting)


def test_a_missing_file_is_an_error(models, tmp_path):
    with pytest.raises(SourceError, match="there is no file"):
        embed_file(models, tmp_path / "nothing.txt", tmp_path / "out.parquet")
