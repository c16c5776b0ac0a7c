"""Check the text of a source: UTF-8, the size of documents, records, and the Unicode form."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from charlm.arrays.utf8 import is_utf8
from charlm.config import ReadConfig, SplitConfig
from charlm.errors import SourceError
from charlm.text.sources.lines import Lines
from charlm.text.sources.raw import Source

_DEFAULT_COLUMN = "text"


_HALF_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class BadByte:
    """Where a source stops being UTF-8."""

    line: int
    """Line (or record), counted from 1."""

    byte: int
    """Byte of the unpacked source (or of the record), counted from 0."""

    value: str
    """The byte, as 0xff; `\\ud83d` for half of a surrogate pair, which JSON can write and UTF-8 cannot."""

    @property
    def complaint(self) -> str:
        """What is wrong with it."""
        is_half_pair = self.value.startswith("\\")
        return f"{self.value} is {'half of a surrogate pair, which is no character' if is_half_pair else 'not UTF-8'}"


class SourceText:
    """A source that is being read, and what was found in it so far.

    Attributes:
        skipped: what was left out or changed so far, by reason.
        first_bad: the first byte that is not UTF-8, where `bad_bytes` let it pass.
        encoding: of the file, where that is not UTF-8.
        has_byte_order_mark: a file began with one, which is left out.
        has_only_returns: the lines of a file end with carriage returns, so that it is a single line.
        num_stored: bytes read so far, as stored.
        version: what a Hugging Face dataset is made of, as far as that is known without reading it.
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
        self.encoding = "utf-8"
        self.has_byte_order_mark = False
        self.has_only_returns = False
        self.num_stored = 0
        self.sha256 = self.version = ""

    @property
    def column(self) -> str:
        """The field or column that holds the text of a record."""
        return self.reading.text_column or _DEFAULT_COLUMN

    # ---- lines -------------------------------------------------------------------------------------------------

    def check_lines(self, lines: Lines) -> bytes:
        r"""The text with `\r\n` as `\n`; where it is not UTF-8, what `bad_bytes` makes of it."""
        text = lines.text
        try:
            if not is_utf8(text):
                text.decode()  # raises with the place
        except UnicodeDecodeError as error:
            line, byte = lines.place(error.start)
            bad = BadByte(line, byte, f"0x{text[error.start]:02x}")
            text = self._replace_bad(text, bad, f"{self.source.address}, line {line}")
        return self.join_newlines(text)

    def _pass_bad(self, bad: BadByte, where: str) -> None:
        """Remember the first bad byte; raise SourceError where none is to pass."""
        if self.reading.bad_bytes == "strict":
            raise SourceError(
                f"{where}, byte {bad.byte}: {bad.complaint}; name its --encoding, or use --bad-bytes replace or skip"
            )
        self.first_bad = self.first_bad or bad

    def _replace_bad(self, text: bytes, bad: BadByte, where: str) -> bytes:
        """What `bad_bytes` makes of a text that is not UTF-8."""
        self._pass_bad(bad, where)
        return self._replace(text) if self.reading.bad_bytes == "replace" else text

    def _replace(self, text: bytes) -> bytes:
        replaced = text.decode(errors="replace").encode()
        mark = "\N{REPLACEMENT CHARACTER}".encode()
        self.skipped["replacements"] += replaced.count(mark) - text.count(mark)
        return replaced

    def join_newlines(self, text: bytes) -> bytes:
        return text.replace(b"\r\n", b"\n") if self.config.normalize_newlines and b"\r" in text else text

    def refuse_long(self, where: str) -> None:
        """Raise SourceError for a document that is too long, unless such ones are to be skipped."""
        self.skipped["long_documents"] += 1
        if self.reading.bad_bytes != "skip":
            raise SourceError(
                f"{self.source.address}: {where} begins a document of more than "
                f"{self.reading.max_document_bytes} bytes; break it up, choose another --document, or leave it out "
                f"with --bad-bytes skip"
            )

    # ---- records -----------------------------------------------------------------------------------------------

    def check_record(self, text: bytes, number: int) -> bytes:
        """The same for the record of this number."""
        try:
            text.decode()
        except UnicodeDecodeError as error:
            bad = BadByte(number, error.start, f"0x{text[error.start]:02x}")
            text = self._replace_bad(text, bad, self.where(number))
        return self.join_newlines(text)

    def check_characters(self, text: str, number: int) -> bytes:
        """The UTF-8 of a record that came as characters; for half of a surrogate pair, what `bad_bytes` makes of it."""
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            place, value = len(text[: error.start].encode()), f"\\u{ord(text[error.start]):04x}"
            found = text.encode(errors="surrogatepass")
            self._pass_bad(BadByte(number, place, value), self.where(number))
        if self.reading.bad_bytes == "skip":
            return found  # `normalize` leaves it out
        replaced, num_replaced = _HALF_PAIR.subn("\N{REPLACEMENT CHARACTER}", text)
        self.skipped["replacements"] += num_replaced
        return replaced.encode()

    def where(self, number: int) -> str:
        """The place of a record, for messages."""
        return f"{self.source.address}, {'line' if self.source.kind == 'jsonl' else 'record'} {number}"

    def refuse_record(self, message: str) -> None:
        """Raise SourceError with `message`, unless bad records are to be skipped."""
        if self.reading.bad_bytes != "skip":
            raise SourceError(message)
        self.skipped["bad_records"] += 1

    # ---- documents ---------------------------------------------------------------------------------------------

    def normalize(self, documents: list[bytes]) -> list[bytes]:
        """`documents` in the Unicode form of the corpus, without those that hold bad bytes."""
        form = self.config.normalization
        if form == "none" and self.reading.bad_bytes != "skip":
            return documents  # they have been checked
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
