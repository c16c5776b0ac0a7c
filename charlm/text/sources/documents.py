r"""Read the documents of a source.

Reads  the blocks of one source (raw.py), by its format: plain_text.py, json_lines.py, parquet.py, hub.py
Writes nothing: gives lists of documents, each as UTF-8 bytes that end with a newline

A document is a line, a paragraph, a file or a record (boundaries.py). Joined, the documents of a file are the file,
with `\r\n` as `\n` unless switched off, and a newline at its end if that is missing.

A new format is a file with a function like `read_parquet`, a suffix in `Source.kind`, and an entry in `RECORDS`.
"""

from collections.abc import Callable, Iterator

from charlm.text.sources.boundaries import Cutter
from charlm.text.sources.checking import SourceText
from charlm.text.sources.hub import read_hub
from charlm.text.sources.json_lines import read_json_lines
from charlm.text.sources.parquet import read_parquet
from charlm.text.sources.plain_text import read_text, with_last_newline
from charlm.text.sources.raw import BLOCK_BYTES, Kind, Source

RECORDS: dict[Kind, Callable[[SourceText], Iterator[tuple[bytes, int]]]] = {
    "jsonl": read_json_lines,
    "parquet": read_parquet,
    "hub": read_hub,
}
"""Of each kind that has records: a function to the text and the number of each, from 1."""


class DocumentReader(SourceText):
    """The documents of one source; it knows what was left out or changed on the way."""

    def batches(self) -> Iterator[list[bytes]]:
        """The documents, about a megabyte at a time; equal sources give equal batches."""
        kind = self.source.kind
        batches = read_text(self) if kind == "text" else self._cut_records(RECORDS[kind](self))
        for batch in batches:
            if documents := self.normalize(batch):
                yield documents

    def _cut_records(self, records: Iterator[tuple[bytes, int]]) -> Iterator[list[bytes]]:
        """Records as documents; only `line` or `paragraph`, if set, cuts inside them."""
        mode = self.config.document if self.config.document in ("line", "paragraph") else "file"
        batch: list[bytes] = []
        num_bytes = 0
        for record, number in records:
            if not record.strip():
                self.skipped["empty_records"] += 1
                continue
            text = self.check_record(record, number)
            cutter = Cutter(mode, self.reading.max_document_bytes, self.refuse_long)
            batch += cutter.cut(with_last_newline(text))
            batch += cutter.finish()
            num_bytes += len(text)
            if num_bytes >= BLOCK_BYTES:
                yield batch
                batch, num_bytes = [], 0
        yield batch


OpenReader = Callable[[Source], DocumentReader]
