"""Raw text enters checked, in one dialect: JSON with and without orjson, byte order marks, line ends, categories."""

import json
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.config import ReadConfig, SplitConfig
from charlm.errors import SourceError
from charlm.text.doctor import examine
from charlm.text.sources import json_lines
from charlm.text.sources.documents import DocumentReader
from charlm.text.sources.finding import find_sources

PARSERS = pytest.mark.parametrize("parser", [json_lines._fast_loads, json_lines.python_loads], ids=["orjson", "json"])


def read(path: Path, **reading: object) -> tuple[list[str], DocumentReader]:
    reader = DocumentReader(find_sources([str(path)])[0], SplitConfig(), ReadConfig(**reading))
    return [document.decode() for batch in reader.batches() for document in batch], reader


# ---- JSON ----------------------------------------------------------------------------------------------------------

GOOD_LINES = {
    "NaN in another field": '{"text": "a", "score": NaN}',
    "infinities in another field": '{"score": [Infinity, -Infinity], "text": "a"}',
    "half a pair in another field": r'{"text": "a", "title": "\ud83d"}',
    "half a pair in a name": r'{"text": "a", "\udc00": 1}',
    "a number of many digits": '{"text": "a", "n": ' + "9" * 5000 + "}",
    "another name twice": '{"n": 1, "text": "a", "n": {"text": "b", "text": 2}}',
    "blanks around": '  {"text": "a"}\t',
    "a whole pair": r'{"text": "a", "title": "\ud83d\ude00"}',
}


@PARSERS
@pytest.mark.parametrize("line", GOOD_LINES.values(), ids=GOOD_LINES)
def test_json_of_other_programs_is_read(line: str, parser: object, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line + "\n")
    with patch.object(json_lines, "_fast_loads", parser):
        assert read(tmp_path / "a.jsonl")[0] == ["a\n"]


BAD_LINES = {
    "cut short": '{"text": "a"',
    "nested too deeply": "[" * 100_000,
    "a raw newline's cousin": '{"text": "a\tb"}',
    "single quotes": "{'text': 'a'}",
    "two records": '{"text": "a"} {"text": "b"}',
    "UTF-16 in disguise": "\0{\0}",
}


@PARSERS
@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_what_is_not_json_is_refused_with_its_line_or_left_out(line: str, parser: object, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "first"}\n' + line + "\n")
    with patch.object(json_lines, "_fast_loads", parser):
        with pytest.raises(SourceError, match=r"a\.jsonl, line 2 is not JSON"):
            read(tmp_path / "a.jsonl")
        documents, reader = read(tmp_path / "a.jsonl", bad_bytes="skip")
    assert (documents, reader.skipped["bad_records"]) == (["first\n"], 1)


@PARSERS
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "b", "x": {"text": 1}, "text": "a"}', "line 2 has the field 'text' twice; keep one"),
        ('{"text": null}', "line 2 has no text in 'text', but null; add it"),
        ('{"text": ["a"]}', r"line 2 has no text in 'text', but \["),
        ('{"body": "a"}', "line 2 has no text in 'text', it has fields body; name the right one"),
    ],
)
def test_a_record_without_one_text_is_refused_or_left_out(
    line: str, message: str, parser: object, tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text('{"text": "first"}\n' + line + "\n")
    with patch.object(json_lines, "_fast_loads", parser):
        with pytest.raises(SourceError, match=message):
            read(tmp_path / "a.json")
        documents, reader = read(tmp_path / "a.json", bad_bytes="skip")
    assert (documents, reader.skipped["bad_records"]) == (["first\n"], 1)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_text_without_a_byte_order_mark_is_named(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Grüße, and good-bye\n".encode(encoding))
    with pytest.raises(
        SourceError, match=rf"a\.txt is {encoding.upper()} text by its zero bytes; convert it with iconv"
    ):
        read(tmp_path / "a.txt")
    (tmp_path / "b.txt").write_bytes(b"one \0 among many characters\n")
    assert read(tmp_path / "b.txt")[0] == ["one \0 among many characters\n"]


@PARSERS
def test_half_of_a_surrogate_pair_is_a_bad_byte(parser: object, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "good"}\n{"text": "caf\u00e9 \\ud83d!"}\n{"text": "\\ud83d\\ude00"}\n')
    with patch.object(json_lines, "_fast_loads", parser):
        with pytest.raises(SourceError, match=r"a\.jsonl, line 2, byte 6: \\ud83d is half of a surrogate pair"):
            read(path)
        replaced, reader = read(path, bad_bytes="replace")
        skipped, skipping = read(path, bad_bytes="skip")
    assert replaced == ["good\n", "caf\u00e9 \ufffd!\n", "\N{GRINNING FACE}\n"]
    assert reader.skipped["replacements"] == 1
    assert skipped == ["good\n", "\N{GRINNING FACE}\n"]
    assert skipping.skipped["bad_documents"] == 1


@settings(deadline=None)
@given(record=st.dictionaries(st.text(), st.recursive(st.none() | st.floats() | st.text(), st.lists, max_leaves=5)))
def test_both_parsers_read_the_same(record: dict[str, object]) -> None:
    line = json.dumps(record).encode()
    assert repr(json_lines.load_record(line)) == repr(json_lines.python_loads(line))


def _mutated() -> st.SearchStrategy[bytes]:
    good = [line.encode() for line in (*GOOD_LINES.values(), *BAD_LINES.values()) if len(line) < 200]
    pieces = st.sampled_from(
        [*good, b"\n", b"\r\n", b"\r", b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b'{"text": "x"}\n', b"\xe9"]
    )
    return st.lists(pieces | st.binary(max_size=6), max_size=12).map(b"".join)


def _check_any_bytes(content: bytes, suffix: str, folder: Path) -> None:
    """Bytes of any kind give documents or a SourceError with the file's name, and what is left out is counted."""
    path = folder / f"a{suffix}"
    path.write_bytes(content)
    for bad_bytes in ("strict", "replace", "skip"):
        try:
            documents, reader = read(path, bad_bytes=bad_bytes)
        except SourceError as error:
            assert path.name in str(error)  # noqa: PT017
            continue
        assert all(document.endswith("\n") for document in documents)
        if content.strip(b"\xef\xbb\xbf \t\r\n\v\f") and not documents:
            assert reader.skipped


@settings(deadline=None)
@given(content=_mutated(), suffix=st.sampled_from([".txt", ".jsonl"]))
def test_any_bytes_are_read_or_refused_or_counted(
    content: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _check_any_bytes(content, suffix, tmp_path_factory.mktemp("bytes"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(deadline=None, max_examples=20_000)
@given(content=_mutated(), suffix=st.sampled_from([".txt", ".jsonl"]))
def test_very_many_bytes_are_read_or_refused_or_counted(
    content: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _check_any_bytes(content, suffix, tmp_path_factory.getbasetemp())


# ---- byte order marks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "content"), [(".txt", "one\ntwo\n"), (".jsonl", '{"text": "one"}\n{"text": "two"}\n')]
)
def test_a_byte_order_mark_is_left_out(suffix: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("\ufeff" + content, encoding="utf-8")
    documents, reader = read(path)
    assert documents == ["one\n", "two\n"]
    assert reader.has_byte_order_mark
    assert reader.num_stored == path.stat().st_size


def test_places_count_the_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\n\xff\n")
    with pytest.raises(SourceError, match="line 2, byte 7"):
        read(tmp_path / "a.txt")


# ---- line ends -----------------------------------------------------------------------------------------------------

LINES = [f"line {number} of an old text" for number in range(200)]


@pytest.mark.parametrize("end", ["", "\r", "\n"])
def test_a_text_of_carriage_returns_is_named_with_what_to_do(end: str, tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes(("\r".join(LINES) + end).encode())
    for bad_bytes in ("strict", "replace", "skip"):
        with pytest.raises(SourceError, match=r"old\.txt: its lines end with carriage returns only .* tr '"):
            read(path, bad_bytes=bad_bytes)
    report = examine([str(path)])
    assert "carriage returns only" in report.advice[0]
    assert not any("lone" in line for line in report.advice)


def test_lone_carriage_returns_in_a_text_with_lines_stay(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"loading\rloaded\r\nsecond\nthird\n")
    assert read(tmp_path / "a.txt")[0] == ["loading\rloaded\n", "second\n", "third\n"]


def test_a_single_line_with_a_carriage_return_at_its_end_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"only\r")
    assert read(tmp_path / "a.txt")[0] == ["only\r\n"]


# ---- Parquet -------------------------------------------------------------------------------------------------------


def test_a_parquet_column_of_categories_is_text(tmp_path: Path) -> None:
    words = pa.array(["one", None, "two", "one"]).dictionary_encode()
    pq.write_table(pa.table({"text": words, "n": pa.array([1, 2, 1, 2]).dictionary_encode()}), tmp_path / "a.parquet")
    documents, reader = read(tmp_path / "a.parquet", bad_bytes="skip")
    assert documents == ["one\n", "two\n", "one\n"]
    assert reader.skipped["bad_records"] == 1
    with pytest.raises(SourceError, match="column 'n' holds int64, not text"):
        read(tmp_path / "a.parquet", text_column="n")


def test_a_parquet_column_without_any_value_has_records_without_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.nulls(2)}), tmp_path / "a.parquet")
    documents, reader = read(tmp_path / "a.parquet", bad_bytes="skip")
    assert (documents, reader.skipped["bad_records"]) == ([], 2)


def test_two_parquet_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    text = pa.array(["one"])
    pq.write_table(pa.Table.from_arrays([text, text], names=["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="has 2 columns 'text'; keep one"):
        read(tmp_path / "a.parquet")
