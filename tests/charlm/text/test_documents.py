"""Text is cut into documents without losing, inventing or changing a byte."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.config import ReadConfig, SplitConfig
from charlm.errors import SourceError
from charlm.text.sources.boundaries import choose_document_mode
from charlm.text.sources.checking import BadByte
from charlm.text.sources.documents import DocumentReader
from charlm.text.sources.finding import find_sources
from charlm.text.sources.hub import parse_hub_address

# Anything that UTF-8 can hold, unassigned code points and NUL too; newlines and blanks often. A text that has lone
# carriage returns only, or begins with a byte order mark, is not what is meant here.
ANY_TEXT = st.text(
    st.one_of(st.sampled_from("\n\n\n\r \t\0aßé"), st.characters(exclude_categories=["Cs"])), max_size=200
).map(lambda text: re.sub("\r(?!\n)", "\t", text).lstrip("\ufeff"))


def reader_of(path: Path, **settings: Any) -> DocumentReader:
    reading = {field.name: settings.pop(field.name) for field in fields(ReadConfig) if field.name in settings}
    return DocumentReader(find_sources([str(path)])[0], SplitConfig(**settings), ReadConfig(**reading))


def documents_of(path: Path, **settings: Any) -> list[bytes]:
    return [document for batch in reader_of(path, **settings).batches() for document in batch]


def cut(tmp_path: Path, text: str, **settings: Any) -> list[str]:
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode())
    return [document.decode() for document in documents_of(path, **settings)]


# ---- cutting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "text", "documents"),
    [
        ("line", "a\nb\n", ["a\n", "b\n"]),
        ("line", "a\nb", ["a\n", "b\n"]),
        ("line", "\n \na\n\n\t\nb\n\n", ["\n \na\n\n\t\n", "b\n\n"]),
        ("paragraph", "a\nb\n\nc\n", ["a\nb\n\n", "c\n"]),
        ("paragraph", "\n\na\n \n\nc\nd\n\n", ["\n\na\n \n\n", "c\nd\n\n"]),
        ("file", "a\n\nb\n", ["a\n\nb\n"]),
        ("auto", "a\nb\n\nc\nd\n", ["a\nb\n\n", "c\nd\n"]),
        ("auto", "a\nb\n", ["a\n", "b\n"]),
        ("line", "a\r\nb\rc\n", ["a\n", "b\rc\n"]),
        ("line", "", []),
        ("file", "\n \n", []),
    ],
)
def test_documents_end_where_their_mode_says(mode: str, text: str, documents: list[str], tmp_path: Path) -> None:
    assert cut(tmp_path, text, document=mode) == documents


def test_carriage_returns_stay_when_newlines_are_not_normalised(tmp_path: Path) -> None:
    text = "a\r\nb\r\n\r\nc\r\n"
    assert cut(tmp_path, text, document="line", normalize_newlines=False) == ["a\r\n", "b\r\n\r\n", "c\r\n"]


def test_a_lone_blank_line_does_not_make_paragraphs_of_a_list() -> None:
    lines = b"".join(b"entry %d\n" % number for number in range(500))
    assert choose_document_mode(b"Title\n\n" + lines) == "line"
    assert choose_document_mode(b"Title\n\n" + lines[:100]) == "paragraph"


@pytest.mark.parametrize("mode", ["line", "paragraph", "file"])
@given(text=ANY_TEXT, block=st.integers(1, 50))
def test_joined_documents_are_the_text_wherever_blocks_end(
    mode: str, text: str, block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    with patch("charlm.text.sources.raw.BLOCK_BYTES", block):
        documents = cut(folder, text, document=mode)
    assert documents == cut(folder, text, document=mode)
    whole = text.replace("\r\n", "\n")
    has_text = bool(whole.encode().strip())
    assert "".join(documents) == (whole + "\n" * (not whole.endswith("\n")) if has_text else "")
    assert all(document.encode().strip() for document in documents)


@given(text=ANY_TEXT)
def test_unicode_forms_are_those_of_each_document(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    import unicodedata

    folder = tmp_path_factory.mktemp("form")
    plain = cut(folder, text, document="line")
    for form in ("NFC", "NFKC"):
        assert cut(folder, text, document="line", normalization=form) == [
            unicodedata.normalize(form, document) for document in plain
        ]


# ---- bad bytes -----------------------------------------------------------------------------------------------------

BAD = b"good\r\nalso good\ncaf\xe9 here\nend\n"


def test_bad_bytes_are_refused_with_file_line_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(BAD)
    with pytest.raises(SourceError, match=r"bad\.txt, line 3, byte 19: 0xe9 is not UTF-8"):
        documents_of(path)


def test_the_place_of_a_bad_byte_counts_from_the_top_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(b"a line of text\n" * 200_000 + b"x\xff\n")
    with pytest.raises(SourceError, match=r"line 200001, byte 3000001: 0xff"):
        documents_of(path)


@pytest.mark.parametrize(
    ("policy", "documents", "skipped"),
    [
        ("replace", ["good\n", "also good\n", "caf� here\n", "end\n"], {"replacements": 1}),
        ("skip", ["good\n", "also good\n", "end\n"], {"bad_documents": 1}),
    ],
)
def test_bad_bytes_are_replaced_or_skipped_and_counted(
    policy: str, documents: list[str], skipped: dict[str, int], tmp_path: Path
) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(BAD)
    reader = reader_of(path, bad_bytes=policy)
    assert [document.decode() for batch in reader.batches() for document in batch] == documents
    assert dict(reader.skipped) == skipped
    assert reader.first_bad == BadByte(3, 19, "0xe9")


def test_a_binary_file_and_utf16_are_refused_or_skipped(tmp_path: Path) -> None:
    binary, utf16 = tmp_path / "image.png", tmp_path / "windows.txt"
    binary.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 10)
    utf16.write_bytes("some text\n".encode("utf-16"))
    for path, message in ((binary, r"image\.png is a binary file"), (utf16, r"windows\.txt is UTF-16 text")):
        with pytest.raises(SourceError, match=message):
            documents_of(path, bad_bytes="replace")
        reader = reader_of(path, bad_bytes="skip")
        assert list(reader.batches()) == []
        assert dict(reader.skipped) == {"binary_files": 1}


def test_text_with_nul_is_text(tmp_path: Path) -> None:
    assert cut(tmp_path, "a\0b\n世" * 3000, document="line")[0] == "a\0b\n"


# ---- long documents ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["line", "paragraph", "file"])
def test_a_document_that_would_not_fit_into_memory_is_refused_by_place(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_bytes(b"short\n\n" + b"x" * 3_000_000 + b"\n\nshort\n")
    with pytest.raises(SourceError, match=r"long\.txt: (line 3 \(byte 7\)|byte [07]) begins a document of more than"):
        documents_of(path, max_document_bytes=1_500_000, document=mode)


@pytest.mark.parametrize(
    ("mode", "kept"), [("line", [b"first\n\n", b"last\n"]), ("paragraph", [b"first\n\n", b"last\n"])]
)
def test_a_long_document_is_left_out_where_bad_text_is_skipped(mode: str, kept: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    long = b"x" * 5_000_000 + b"\n" if mode == "line" else b"many words\n" * 400_000
    path.write_bytes(b"first\n\n" + long + (b"" if mode == "line" else b"\n") + b"last\n")
    reader = reader_of(path, max_document_bytes=1_500_000, document=mode, bad_bytes="skip")
    assert [document for batch in reader.batches() for document in batch] == kept
    assert dict(reader.skipped) == {"long_documents": 1}


# ---- records -------------------------------------------------------------------------------------------------------

RECORDS = ["one\n\nrecord", "zwei\r\n", "  ", "три\n"]


def write_records(path: Path, column: str = "text") -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({column: RECORDS, "n": range(len(RECORDS))}), path)
    else:
        path.write_text("".join(json.dumps({"n": 1, column: record}) + "\n" for record in RECORDS) + "\n")
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_record_is_a_document_and_empty_ones_are_counted(name: str, tmp_path: Path) -> None:
    reader = reader_of(write_records(tmp_path / name))
    assert [document.decode() for batch in reader.batches() for document in batch] == [
        "one\n\nrecord\n",
        "zwei\n",
        "три\n",
    ]
    assert dict(reader.skipped) == {"empty_records": 1}


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_records_are_cut_where_lines_are_asked_for(name: str, tmp_path: Path) -> None:
    path = write_records(tmp_path / name)
    assert documents_of(path, document="line") == [b"one\n\n", b"record\n", b"zwei\n", "три\n".encode()]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_missing_text_field_is_named_with_those_there_are(name: str, tmp_path: Path) -> None:
    path = write_records(tmp_path / name, column="body")
    with pytest.raises(SourceError, match=rf"{name}.* 'text', it has .*body.*--text-column"):
        documents_of(path)
    assert len(documents_of(path, text_column="body")) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": 1}', r"a\.jsonl, line 2 has no text in 'text'"),
        ('{"text": null}', r"a\.jsonl, line 2 has no text in 'text'"),
        ("[1]", r"a\.jsonl, line 2 is no JSON object, but \[1\]; write one on each line"),
        ('{"text": "cut', r"a\.jsonl, line 2 is not JSON"),
        ('{"text": "caf\udce9"}', r"a\.jsonl, line 2, byte 13: 0xe9 is not UTF-8"),
    ],
)
def test_a_bad_record_is_refused_with_its_line_or_skipped_and_counted(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "good"}\n' + line.encode(errors="surrogateescape") + b'\n{"text": "end"}\n')
    with pytest.raises(SourceError, match=message):
        documents_of(path)
    reader = reader_of(path, bad_bytes="skip")
    assert [document for batch in reader.batches() for document in batch] == [b"good\n", b"end\n"]
    assert dict(reader.skipped) == {"bad_records": 1}


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"a\.parquet is no whole Parquet file"):
        documents_of(path)


def test_a_parquet_column_that_holds_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="column 'n' holds int64, not text"):
        documents_of(write_records(tmp_path / "a.parquet"), text_column="n")


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("hf:wiki", ("wiki", "train", None)),
        ("hf:owner/wiki:test", ("owner/wiki", "test", None)),
        ("hf:owner/wiki:test:body", ("owner/wiki", "test", "body")),
        ("hf:owner/wiki::body", ("owner/wiki", "train", "body")),
    ],
)
def test_a_hub_address_has_a_name_a_split_and_a_column(address: str, parts: tuple[str, str, str | None]) -> None:
    assert parse_hub_address(address) == parts


def test_a_hub_dataset_is_streamed_record_by_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "data").mkdir()
    write_records(tmp_path / "data" / "train-0.parquet", column="body")
    reader = DocumentReader(find_sources([f"hf:{tmp_path}/data:train:body"])[0], SplitConfig())
    assert [document.decode() for batch in reader.batches() for document in batch] == [
        "one\n\nrecord\n",
        "zwei\n",
        "три\n",
    ]
    with pytest.raises(SourceError, match="has no column 'nothing', it has body, n"):
        list(DocumentReader(find_sources([f"hf:{tmp_path}/data:train:nothing"])[0], SplitConfig()).batches())


def test_an_unknown_hub_dataset_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SourceError, match=r"cannot read hf:\./nowhere") as caught:
        list(DocumentReader(find_sources(["hf:./nowhere"])[0], SplitConfig()).batches())
    assert "\n" not in str(caught.value)
