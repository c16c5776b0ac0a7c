"""Copy chosen rows of a source into files of its own format: text, JSON lines or Parquet; records keep all fields.

A dataset of the Hugging Face Hub, which is no file, becomes JSON lines with its texts. What is not chosen goes to a
second file, on request. Rows that were not decided about, as blank lines, go to neither.
"""

import gzip
import io
import json
import lzma
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from charlm.config import ReadConfig
from charlm.storage.atomic import atomic_write
from charlm.text.sources.documents import DocumentReader
from charlm.text.sources.plain_text import read_lines, with_last_newline
from charlm.text.sources.raw import Source, open_stored
from charlm.text.sources.rows import Per, open_rows_of, read_rows

Decisions = Iterator[tuple[int, bool]]
"""The number of each row in its source, in order, and whether it is chosen."""

_ROWS_AT_ONCE = 16_384
_W = TypeVar("_W")


class _Writer(Protocol):
    def write(self, data: bytes, /) -> object: ...


def copy_rows(
    source: Source, per: Per, reading: ReadConfig, decisions: Decisions, chosen: Path, others: Path | None
) -> None:
    """Write the rows of a source that `decisions` chooses to one file, and the others to another."""
    reader = open_rows_of(source, per, reading)
    if source.kind == "parquet":
        _copy_table(source, decisions, chosen, others)
        return
    with _open_pair(_open_packed, chosen, others) as files:
        for text, is_chosen in _texts(reader, decisions):
            if (file := files[is_chosen]) is not None:
                file.write(text)


def _texts(reader: DocumentReader, decisions: Decisions) -> Iterator[tuple[bytes, bool]]:
    """The text of each row as its file has it, and the decision about it."""
    numbered = _json_lines(reader) if reader.source.kind == "jsonl" else read_rows(reader)
    awaited = next(decisions, None)
    for index, text in numbered:
        if awaited is not None and index == awaited[0]:
            is_hub = reader.source.kind == "hub"
            yield _record(reader.column, text) if is_hub else text, awaited[1]
            awaited = next(decisions, None)


def _json_lines(reader: DocumentReader) -> Iterator[tuple[int, bytes]]:
    for lines in read_lines(reader):
        for index, line in enumerate(lines.text.split(b"\n"), start=lines.line - 1):
            yield index, with_last_newline(line)


def _record(column: str, text: bytes) -> bytes:
    return json.dumps({column: text.decode().removesuffix("\n")}, ensure_ascii=False).encode() + b"\n"


def _copy_table(source: Source, decisions: Decisions, chosen: Path, others: Path | None) -> None:
    """The same for the rows of Parquet."""
    with open_stored(source) as stored:
        table = pq.ParquetFile(stored, pre_buffer=False)
        group = table.metadata.row_group(0) if table.metadata.num_row_groups else None
        codec = group.column(0).compression if group else "SNAPPY"

        @contextmanager
        def open_table(path: Path) -> Iterator[pq.ParquetWriter]:
            with (
                atomic_write(path) as file,
                pq.ParquetWriter(file, table.schema_arrow, compression=codec.replace("UNCOMPRESSED", "NONE")) as writer,
            ):
                yield writer

        with _open_pair(open_table, chosen, others) as writers:
            awaited, start = next(decisions, None), 0
            for batch in table.iter_batches(_ROWS_AT_ONCE):
                sides = np.full(batch.num_rows, -1)
                while awaited is not None and awaited[0] < start + batch.num_rows:
                    sides[awaited[0] - start] = awaited[1]
                    awaited = next(decisions, None)
                for side, writer in enumerate(writers):
                    if writer is not None and (sides == side).any():
                        writer.write_batch(batch.filter(pa.array(sides == side)))
                start += batch.num_rows


@contextmanager
def _open_pair(
    open_file: Callable[[Path], AbstractContextManager[_W]], chosen: Path, others: Path | None
) -> Iterator[tuple[_W | None, _W]]:
    """The file of what is not chosen, where there is one, and that of what is."""
    with ExitStack() as stack:
        second = stack.enter_context(open_file(chosen))
        yield (None if others is None else stack.enter_context(open_file(others))), second


@contextmanager
def _open_packed(path: Path) -> Iterator[_Writer]:
    """A file that is packed as its name says; it appears when it is complete."""
    with atomic_write(path) as file, _packed(path.suffix.lower(), file) as packed:
        yield packed


class _StaysOpen(io.RawIOBase):
    """A file that Arrow writes to and does not close."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # Arrow gives bytes
        return self._file.write(data)


@contextmanager
def _packed(suffix: str, file: IO[bytes]) -> Iterator[_Writer]:
    if suffix == ".gz":
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
            yield packed
    elif suffix == ".xz":
        with lzma.LZMAFile(file, "wb") as packed_xz:
            yield packed_xz
    elif suffix == ".zst":
        with pa.CompressedOutputStream(pa.PythonFile(_StaysOpen(file), mode="w"), "zstd") as packed_zst:
            yield packed_zst
    else:
        yield file
