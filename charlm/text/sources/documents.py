r"""Read the documents of a source.

Reads  the blocks of one source (raw.py)
Writes nothing: gives lists of documents, each as UTF-8 bytes that end with a newline

A document is a line, a paragraph, a file or a record (cutting.py). Joined, the documents of a file are the file, with
`\r\n` as `\n` unless switched off, and a newline at its end if that is missing.
"""

import hashlib
import importlib.util
import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from charlm.arrays.utf8 import is_utf8
from charlm.config import ReadConfig, SplitConfig
from charlm.errors import SourceError
from charlm.text.sources.boundaries import Cutter, choose_document_mode
from charlm.text.sources.lines import Lines, whole_lines
from charlm.text.sources.raw import BLOCK_BYTES, RawStream, Source, open_stored, sha256_of_source

_RECORDS_PER_BATCH = 1000
_DEFAULT_COLUMN = "text"


@dataclass(frozen=True)
class BadByte:
    """Where a source stops being UTF-8."""

    line: int
    """Line (or record), counted from 1."""

    byte: int
    """Byte of the unpacked source (or of the record), counted from 0."""

    value: str
    """The byte, as 0xff."""


class DocumentReader:
    """The documents of one source.

    Attributes:
        skipped: what was left out or changed so far, by reason.
        first_bad: the first byte that is not UTF-8, where the policy let it pass.
        num_stored: bytes read so far, as stored.
        sha256: digest of the source as stored (of its records for a Hugging Face dataset), after the last batch.
    """

    def __init__(
        self,
        source: Source,
        config: SplitConfig,
        reading: ReadConfig = ReadConfig(),  # noqa: B008  # never changed
    ) -> None:
        self.source = source
        self.config = config
        self.reading = reading
        self.skipped: Counter[str] = Counter()
        self.first_bad: BadByte | None = None
        self.num_stored = 0
        self.sha256 = ""

    def batches(self) -> Iterator[list[bytes]]:
        """The documents, about a megabyte at a time; equal sources give equal batches."""
        match self.source.kind:
            case "text":
                batches = self._read_text()
            case "jsonl":
                batches = self._cut_records(self._read_jsonl())
            case "parquet":
                batches = self._cut_records(self._read_parquet())
            case _:
                batches = self._cut_records(self._read_hub())
        for batch in batches:
            if documents := self._normalize(batch):
                yield documents

    # ---- plain text --------------------------------------------------------------------------------------------

    def _read_text(self) -> Iterator[list[bytes]]:
        cutter: Cutter | None = None
        for lines in self._lines():
            text = _with_last_newline(self._check(lines))
            if cutter is None:
                cutter = self._make_cutter(text)
            yield cutter.cut(text)
        if cutter is not None:
            yield cutter.finish()

    def _make_cutter(self, sample: bytes) -> Cutter:
        mode = self.config.document
        if mode == "auto":
            mode = choose_document_mode(sample)
        return Cutter(mode, self.reading.max_document_bytes, self._refuse_long)

    def _join_newlines(self, text: bytes) -> bytes:
        return text.replace(b"\r\n", b"\n") if self.config.normalize_newlines and b"\r" in text else text

    def _lines(self) -> Iterator[Lines]:
        """The source as it stands, in pieces of whole lines; nothing of a file that is to be skipped."""
        with RawStream(self.source, self.reading) as stream:
            blocks = stream.blocks()
            first = next(blocks, b"")
            if self._is_foreign(first):
                self.num_stored, self.sha256 = self.source.size or 0, sha256_of_source(self.source)
                return
            for lines in whole_lines(chain([first], blocks), self.reading.max_document_bytes, self._refuse_long):
                self.num_stored = stream.num_stored
                yield lines
            self.num_stored, self.sha256 = stream.num_stored, stream.sha256

    def _is_foreign(self, block: bytes) -> bool:
        """True for a file that is to be skipped, because it is no UTF-8 text at all."""
        head = block[:8192]
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            found = "UTF-16 text; convert it with iconv -f UTF-16 -t UTF-8"
        elif b"\0" in head and not _is_utf8_but_for_its_end(head):
            found = "a binary file; leave it out or use --bad-bytes skip"
        else:
            return False
        if self.reading.bad_bytes != "skip":
            raise SourceError(f"{self.source.address} is {found}")
        self.skipped["binary_files"] += 1
        return True

    def _refuse_long(self, where: str) -> None:
        self.skipped["long_documents"] += 1
        if self.reading.bad_bytes != "skip":
            raise SourceError(
                f"{self.source.address}: {where} begins a document of more than "
                f"{self.reading.max_document_bytes} bytes; break it up, choose another --document, or leave it out "
                f"with --bad-bytes skip"
            )

    def _check(self, lines: Lines) -> bytes:
        r"""Text with `\r\n` as `\n` when it is UTF-8; what the policy for bad bytes makes of it otherwise."""
        text = lines.text
        try:
            if not is_utf8(text):
                text.decode()  # says where it is not
        except UnicodeDecodeError as error:
            line, byte = lines.place(error.start)
            bad = BadByte(line, byte, f"0x{text[error.start]:02x}")
            text = self._pass_bad(text, bad, f"{self.source.address}, line {line}")
        return self._join_newlines(text)

    def _pass_bad(self, text: bytes, bad: BadByte, where: str) -> bytes:
        """What the policy for bad bytes makes of `text`."""
        if self.reading.bad_bytes == "strict":
            raise SourceError(
                f"{where}, byte {bad.byte}: {bad.value} is not UTF-8; "
                f"convert the source, or use --bad-bytes replace or skip"
            )
        self.first_bad = self.first_bad or bad
        return self._replace(text) if self.reading.bad_bytes == "replace" else text

    def _replace(self, text: bytes) -> bytes:
        replaced = text.decode(errors="replace").encode()
        mark = "\N{REPLACEMENT CHARACTER}".encode()
        self.skipped["replacements"] += replaced.count(mark) - text.count(mark)
        return replaced

    # ---- records -----------------------------------------------------------------------------------------------

    def _read_jsonl(self) -> Iterator[tuple[bytes, int]]:
        loads = _json_loads()
        for lines in self._lines():
            for number, line in enumerate(lines.text.split(b"\n"), start=lines.line):
                if not line.strip():
                    continue
                where = self._where(number)
                try:
                    record = loads(self._check_record(line, number))
                except ValueError as error:
                    self._refuse_record(f"{where} is not JSON ({' '.join(str(error).split())}); mend the line")
                    continue
                text = record.get(self.reading.text_column or _DEFAULT_COLUMN) if isinstance(record, dict) else None
                if isinstance(text, str):
                    yield text.encode(errors="surrogatepass"), number
                    continue
                found = f"fields {', '.join(map(str, record))}" if isinstance(record, dict) else "no fields"
                self._refuse_record(
                    f"{where} has no text in {self.reading.text_column or _DEFAULT_COLUMN!r}, it has {found}; "
                    f"name the right one with --text-column"
                )

    def _read_parquet(self) -> Iterator[tuple[bytes, int]]:
        self.sha256 = sha256_of_source(self.source)
        with open_stored(self.source) as file:
            try:
                table = pq.ParquetFile(file, pre_buffer=False)
                column = self._find_column(table.schema_arrow.names)
                number = 0
                for batch in table.iter_batches(_RECORDS_PER_BATCH, columns=[column]):
                    for text in self._column_texts(batch.column(0), column):
                        number += 1
                        if text is not None:
                            yield text, number
                        else:
                            self._refuse_record(f"{self._where(number)} has no text in {column!r}")
            except (pa.ArrowException, OSError) as error:
                raise SourceError(
                    f"{self.source.address} is no whole Parquet file ({' '.join(str(error).split())}); fetch it again"
                ) from error
        self.num_stored = self.source.size or 0

    def _read_hub(self) -> Iterator[tuple[bytes, int]]:
        name, split, column = parse_hub_address(self.source.address)
        digest = hashlib.sha256()
        number = 0
        for batch in _hub_batches(name, split, self.source.address):
            column = column or self.reading.text_column or self._find_column(batch.column_names)
            self._find_column(batch.column_names, column)
            for text in self._column_texts(batch.column(column), column):
                number += 1
                if text is None:
                    self._refuse_record(f"{self._where(number)} has no text in {column!r}")
                    continue
                digest.update(len(text).to_bytes(8, "little") + text)
                self.num_stored += len(text)
                yield text, number
        self.sha256 = digest.hexdigest()

    def _find_column(self, names: list[str], column: str | None = None) -> str:
        column = column or self.reading.text_column or _DEFAULT_COLUMN
        if column not in names:
            raise SourceError(
                f"{self.source.address} has no column {column!r}, it has {', '.join(names)}; "
                f"name the right one with --text-column"
            )
        return column

    def _column_texts(self, values: Any, column: str) -> Iterator[bytes | None]:
        """The column's values as stored, unchecked; None where there is none."""
        kind = values.type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
            raise SourceError(f"{self.source.address}: column {column!r} holds {kind}, not text; name another one")
        yield from values.cast(pa.large_binary()).to_pylist()

    def _where(self, number: int) -> str:
        return f"{self.source.address}, {'line' if self.source.kind == 'jsonl' else 'record'} {number}"

    def _refuse_record(self, message: str) -> None:
        if self.reading.bad_bytes != "skip":
            raise SourceError(message)
        self.skipped["bad_records"] += 1

    def _cut_records(self, records: Iterator[tuple[bytes, int]]) -> Iterator[list[bytes]]:
        """Records as documents; only an explicit `line` or `paragraph` cuts inside them."""
        mode = self.config.document if self.config.document in ("line", "paragraph") else "file"
        batch: list[bytes] = []
        num_bytes = 0
        for record, number in records:
            if not record.strip():
                self.skipped["empty_records"] += 1
                continue
            text = self._check_record(record, number)
            cutter = Cutter(mode, self.reading.max_document_bytes, self._refuse_long)
            batch += cutter.cut(_with_last_newline(text))
            batch += cutter.finish()
            num_bytes += len(text)
            if num_bytes >= BLOCK_BYTES:
                yield batch
                batch, num_bytes = [], 0
        yield batch

    def _check_record(self, text: bytes, number: int) -> bytes:
        try:
            text.decode()
        except UnicodeDecodeError as error:
            bad = BadByte(number, error.start, f"0x{text[error.start]:02x}")
            text = self._pass_bad(text, bad, self._where(number))
        return self._join_newlines(text)

    # ---- both --------------------------------------------------------------------------------------------------

    def _normalize(self, documents: list[bytes]) -> list[bytes]:
        """`documents` without those that hold bad bytes, in the Unicode form that was asked for."""
        form = self.config.normalization
        if form == "none" and self.reading.bad_bytes != "skip":
            return documents  # `_check` has seen them
        try:
            text = b"".join(documents).decode()
        except UnicodeDecodeError:
            num_documents = len(documents)
            documents = [document for document in documents if is_utf8(document)]
            self.skipped["bad_documents"] += num_documents - len(documents)
            text = b"".join(documents).decode()
        if form == "none" or unicodedata.is_normalized(form, text):
            return documents
        return [unicodedata.normalize(form, document.decode()).encode() for document in documents]


def parse_hub_address(address: str) -> tuple[str, str, str | None]:
    """`hf:NAME[:SPLIT[:COLUMN]]` -> name, split (`train` by default) and column (None by default)."""
    parts = address.removeprefix("hf:").split(":")
    if not parts[0] or len(parts) > 3:
        raise SourceError(f"a Hugging Face dataset is hf:NAME[:SPLIT[:COLUMN]], got {address!r}")
    name, split, column = [*parts, "", ""][:3]
    return name, split or "train", column or None


def _hub_batches(name: str, split: str, address: str) -> Iterator[pa.Table]:
    try:
        import datasets
    except ImportError as error:
        raise SourceError(f"{address} needs the package datasets; install charlm[pipeline]") from error
    try:
        stream = datasets.load_dataset(name, split=split, streaming=True).with_format("arrow")
        yield from stream.iter(batch_size=_RECORDS_PER_BATCH)
    except Exception as error:  # the hub, the network and the data raise many kinds
        raise SourceError(f"cannot read {address}: {' '.join(str(error).split())[:300]}") from error


def _json_loads() -> Callable[[bytes], Any]:
    if importlib.util.find_spec("orjson"):
        import orjson

        return orjson.loads
    return json.loads


def _with_last_newline(text: bytes) -> bytes:
    return text if text.endswith(b"\n") else text + b"\n"


def _is_utf8_but_for_its_end(text: bytes) -> bool:
    """True for UTF-8 that may be cut inside its last character."""
    return any(is_utf8(text[: len(text) - cut]) for cut in range(4))
