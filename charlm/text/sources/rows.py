"""The documents, lines or records of sources, each with its place: what is scored or filtered by itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import xxhash

from charlm.config import DocumentMode, ReadConfig, SplitConfig
from charlm.errors import ConfigError, SourceError
from charlm.text.sources.documents import RECORDS, DocumentReader
from charlm.text.sources.plain_text import with_last_newline
from charlm.text.sources.raw import BLOCK_BYTES, Source

Per = Literal["document", "line", "record", "text"]
PER: tuple[Per, ...] = get_args(Per)
_MODES: dict[Per, DocumentMode] = {"document": "auto", "line": "line", "record": "file", "text": "file"}


@dataclass
class Window:
    """Some rows that follow one another, of one source or several."""

    sources: list[str] = field(default_factory=list)
    """The address of the source of each row."""

    indices: list[int] = field(default_factory=list)
    """The number of each row in its source, from 0; of a record its line or row there."""

    texts: list[bytes] = field(default_factory=list)
    """UTF-8 that ends with a newline."""

    num_stored: int = 0
    """Bytes of all sources, as stored, that were read up to its end."""

    @property
    def digest(self) -> str:
        """Equal for equal rows."""
        digest = xxhash.xxh3_128()
        for source, index, text in zip(self.sources, self.indices, self.texts, strict=True):
            digest.update(f"{source}\n{index} {len(text)}\n".encode())
            digest.update(text)
        return digest.hexdigest()


def check_per(per: str) -> Per:
    """`per` where it is one of PER; raises ConfigError elsewhere."""
    if per not in PER:
        raise ConfigError(f"--per is {', '.join(PER[:-1])} or {PER[-1]}, got {per!r:.60}")
    return per


def open_rows_of(source: Source, per: Per, reading: ReadConfig) -> DocumentReader:
    """The reader that `read_rows` takes; raises SourceError for records of plain text, which has none."""
    if per == "record" and source.kind == "text":
        raise SourceError(f"{source.address} is plain text, which has no records; use --per document or --per line")
    return DocumentReader(source, SplitConfig(document=_MODES[per], normalize_newlines=False), reading)


def read_rows(reader: DocumentReader) -> Iterator[tuple[int, bytes]]:
    """The number and the text of each row; rows that hold nothing are left out, and those of records counted."""
    kind = reader.source.kind
    if kind == "text" or reader.config.document == "line":
        index = 0
        for batch in reader.batches():
            for text in batch:
                yield index, text
                index += 1
        return
    for record, number in RECORDS[kind](reader):
        if not record.strip():
            reader.skipped["empty_records"] += 1
            continue
        for text in reader.normalize([with_last_newline(reader.check_record(record, number))]):
            yield number - 1, text


def read_windows(
    sources: Sequence[Source], per: Per, reading: ReadConfig, *, whole_sources: bool, skipped: dict[str, int]
) -> Iterator[Window]:
    """All rows, about a megabyte at a time, or with `whole_sources` all of a source; equal text gives equal windows.

    What is left out or changed on the way is added to `skipped`, by reason.
    """
    window, size, num_before = Window(), 0, 0
    for source in sources:
        reader = open_rows_of(source, per, reading)
        for index, text in read_rows(reader):
            window.sources.append(source.address)
            window.indices.append(index)
            window.texts.append(text)
            size += len(text)
            if size >= BLOCK_BYTES and not whole_sources:
                window.num_stored = num_before + reader.num_stored
                yield window
                window, size = Window(), 0
        num_before += reader.num_stored
        for reason, number in reader.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + number
        if whole_sources and window.texts:
            window.num_stored = num_before
            yield window
            window, size = Window(), 0
    if window.texts:
        window.num_stored = num_before
        yield window
