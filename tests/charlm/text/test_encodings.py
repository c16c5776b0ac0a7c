"""Text in other encodings: read as it is named, or as its bytes show, and never silently."""

import logging
from pathlib import Path

import pytest

from charlm.config import ReadConfig, SplitConfig
from charlm.datasets import lines
from charlm.datasets.inputs import read_inputs
from charlm.datasets.lines import ReadingRules
from charlm.errors import ConfigError, DatasetError, SourceError
from charlm.text.doctor import examine
from charlm.text.sources import plain_text
from charlm.text.sources.documents import DocumentReader
from charlm.text.sources.finding import find_sources
from charlm.text.sources.raw import BLOCK_BYTES

GERMAN = "Die Häuser über dem Fluß sind schön, und für Gäste ist geöffnet.\n" * 40
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю.\n" * 40


def read(path: Path, **reading: str) -> str:
    config = ReadConfig(**reading)  # type: ignore[arg-type]
    (source,) = find_sources([path])
    reader = DocumentReader(source, SplitConfig(document="file"), config)
    return b"".join(document for batch in reader.batches() for document in batch).decode()


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "cp1252"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (GERMAN, "utf-16"),
        (GERMAN, "utf-16-le"),
        (GERMAN, "utf-8"),
    ],
)
def test_raw_and_labelled_text_is_read_in_a_named_encoding_and_found(
    text: str, encoding: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode(encoding))
    first = text.splitlines()[0]
    for name in (encoding, "auto"):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="charlm"):
            assert read(path, encoding=name) == text
            assert next(read_inputs(path, "text", ReadingRules(encoding=name))).text == first
        is_told = name == "auto" and encoding != "utf-8"
        assert len([record for record in caplog.messages if f"{path} is read as " in record]) == 2 * is_told


def test_records_are_read_in_an_encoding_and_characters_across_blocks(tmp_path: Path) -> None:
    path = tmp_path / "text.jsonl"
    path.write_bytes('{"text": "Zürich"}\n{"text": "Öl"}\n'.encode("cp1252"))
    assert read(path, encoding="cp1252") == "Zürich\nÖl\n"
    long = "ü" * BLOCK_BYTES + "\nx\n"
    (tmp_path / "long.txt").write_bytes(long.encode("utf-16"))  # three bytes too many for the first block
    assert read(tmp_path / "long.txt", encoding="utf-16") == long


def test_what_is_not_in_its_encoding_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"abc\n\x81\n")  # which cp1252 does not have
    with pytest.raises(SourceError, match=r"text\.txt: this is not cp1252 text .* at about byte 4"):
        read(path, encoding="cp1252")
    assert read(path, encoding="cp1252", bad_bytes="replace") == "abc\n\ufffd\n"
    with pytest.raises(ConfigError, match="unknown encoding 'utf-9'"):
        ReadConfig(encoding="utf-9")
    with pytest.raises(ConfigError, match="skip is for utf-8"):
        ReadConfig(encoding="cp1252", bad_bytes="skip")
    with pytest.raises(DatasetError, match="unknown encoding 'hex'"):
        ReadingRules(encoding="hex")


def test_what_no_encoding_fits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xff\xff\n")
    for module in (plain_text, lines):
        monkeypatch.setattr(module, "guess_encoding", lambda start: None)
    with pytest.raises(SourceError, match="no encoding fits its bytes; name its --encoding"):
        read(path, encoding="auto")
    with pytest.raises(DatasetError, match="no encoding fits its bytes"):
        next(read_inputs(path, "text", ReadingRules(encoding="auto")))


def test_the_doctor_advises_an_encoding(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(RUSSIAN.encode("cp1251"))
    report = examine([str(tmp_path / "text.txt")])
    assert report.sources[0].likely_encoding == "cp1251"
    assert "it may be cp1251: look, then name its --encoding" in report.advice[0]
