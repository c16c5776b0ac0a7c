"""The lines of a labelled file with their numbers, in whichever encoding it was asked for.

A line ends at a line feed; a carriage return before it belongs to the end. A byte order mark is skipped. What is in
another encoding than was asked for is refused, and named where its bytes show it.
"""

import codecs
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO, Literal

from charlm.arrays.encodings import guess_encoding
from charlm.arrays.utf8 import is_utf8, wide_encoding
from charlm.config import AUTO, codec_name
from charlm.data.sentence import Sentence
from charlm.errors import ConfigError, DatasetError
from charlm.tokenization import AnyTokenizer

BLANKS = " \t"
"""What may separate columns. No-break and other blanks of Unicode belong to words."""
_BLOCK = 1 << 16
_MOST_LOOKED_AT = 1 << 20  # bytes of a file whose encoding is to be found
_LOGGER = logging.getLogger("charlm")
_SURE_BYTES = 4096  # of a file that is looked at for zero bytes
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32", "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32", "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16", "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16", "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8", "utf-8-sig"),
)


@dataclass(frozen=True, kw_only=True)
class ReadingRules:
    """How labelled files are read where their content does not show it."""

    encoding: str = "utf-8"
    """Encoding of the files, by any name that Python has for it."""

    header: bool | None = None
    """Whether the first row holds the names of the columns; None looks at the row."""

    bad_bytes: Literal["strict", "replace"] = "strict"
    """What becomes of bytes that are no text, and of half a surrogate pair in JSON: an error, or `\ufffd`."""

    tokenizer: AnyTokenizer = True
    """What finds the words of texts, see Sentence; files with words have them already."""

    def __post_init__(self) -> None:
        try:
            codec_name(self.encoding)
        except ConfigError as error:
            raise DatasetError(str(error)) from error
        if self.bad_bytes not in ("strict", "replace"):
            raise DatasetError(f"bad bytes are strict or replace here, got {self.bad_bytes!r}")

    @property
    def codec(self) -> str:
        """The encoding by its one name, or `auto`."""
        return codec_name(self.encoding)

    def sentence(self, text: str) -> Sentence:
        """The sentence of a text."""
        return Sentence(text, use_tokenizer=self.tokenizer)

    def of(self, path: Path, start: bytes) -> "ReadingRules":
        """The rules for one file that begins with some bytes: with the encoding that is found, and reported."""
        if self.codec != AUTO:
            return self
        found = guess_encoding(start)
        if found is None:
            raise mistake(path, 1, "no encoding fits its bytes; set its encoding")
        if found != "utf-8":
            _report(path, found)
        return replace(self, encoding=found)


DEFAULT_RULES = ReadingRules()


def read_lines(path: Path, rules: ReadingRules = DEFAULT_RULES) -> Iterator[tuple[int, str]]:
    """Number, counted from 1, and text of every line, without what ends it.

    Raises DatasetError with the line where the file is not in the encoding that was asked for.
    """
    for number, line, _ in read_lines_and_places(path, rules):
        yield number, line


def read_lines_and_places(path: Path, rules: ReadingRules = DEFAULT_RULES) -> Iterator[tuple[int, str, int]]:
    """The same with the number of bytes that were read so far."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error
    with file:
        if rules.codec == AUTO:
            rules = rules.of(path, file.read(_MOST_LOOKED_AT))
            file.seek(0)
        _check_encoding(path, file, rules)
        yield from (_utf8_lines if rules.codec in ("utf-8", "utf-8-sig") else _decoded_lines)(path, file, rules)


@cache
def _report(path: Path, encoding: str) -> None:
    """Report once what a file is read as; it may be read several times."""
    _LOGGER.warning("%s is read as %s", path, encoding)


def mistake(path: Path, line: int, what: str) -> DatasetError:
    """The error that says where in a file something is wrong."""
    return DatasetError(f"{path}, line {line}: {what}")


def is_blank(line: str) -> bool:
    """Whether a line holds nothing but ASCII blanks."""
    return not line.strip(" \t\r")


def _utf8_lines(path: Path, file: IO[bytes], rules: ReadingRules) -> Iterator[tuple[int, str, int]]:
    place = 0
    for number, line in enumerate(file, 1):
        place += len(line)
        try:
            text = line.decode("utf-8", rules.bad_bytes)
        except UnicodeDecodeError as error:
            raise mistake(
                path, number, f"this is not {rules.encoding} text ({error.reason}); set its encoding"
            ) from error
        yield number, _without_end(text.removeprefix("\ufeff") if number == 1 else text), place


def _decoded_lines(path: Path, file: IO[bytes], rules: ReadingRules) -> Iterator[tuple[int, str, int]]:
    """The lines of any encoding: line feeds are looked for in the text, not in the bytes."""
    decoder = codecs.getincrementaldecoder(rules.encoding)(rules.bad_bytes)
    number, pending = 1, ""
    while True:
        block = file.read(_BLOCK)
        before = decoder.getstate()
        try:
            pending += decoder.decode(block, final=not block)
        except UnicodeError as error:
            decoder.setstate(before)
            bad_line = number + (pending + _decodable(decoder, block)).count("\n")
            reason = getattr(error, "reason", str(error))
            raise mistake(path, bad_line, f"this is not {rules.encoding} text ({reason}); set its encoding") from error
        *lines, pending = pending.split("\n")
        if not block and pending:
            lines.append(pending)
        for line in lines:
            if number == 1:
                line = line.removeprefix("\ufeff")
            if not line.isascii():
                line = checked_text(path, number, line, rules)
            yield number, _without_end(line), file.tell()
            number += 1
        if not block:
            return


def checked_text(path: Path, number: int, text: str, rules: ReadingRules) -> str:
    """`text` if it can be written again; half a surrogate pair is refused with its line, or replaced."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        if rules.bad_bytes == "strict":
            half = f"U+{ord(text[error.start]):04X}"
            raise mistake(
                path, number, f"{half} is half a character (a lone surrogate): {text[:60]!a}; correct or replace it"
            ) from error
        return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    return text


def _decodable(decoder: codecs.IncrementalDecoder, block: bytes) -> str:
    """The text before the first byte that cannot be decoded."""
    text = ""
    for place in range(len(block)):
        try:
            text += decoder.decode(block[place : place + 1])
        except UnicodeError:
            break
    return text


def _without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _check_encoding(path: Path, file: IO[bytes], rules: ReadingRules) -> None:
    """Raise DatasetError where the first bytes show another encoding, or that lines end with carriage returns."""
    start = file.read(_BLOCK)
    file.seek(0)
    asked = rules.codec.replace("_", "-")
    for mark, *encodings in _MARKS:
        if start.startswith(mark):
            if asked not in encodings:
                raise mistake(
                    path, 1, f"this is {encodings[0]} by its byte order mark, not {rules.encoding}; set the encoding"
                )
            return
    wide = wide_encoding(start[:_SURE_BYTES])
    if wide and wide != asked:
        raise mistake(path, 1, f"its zero bytes show that this is {wide}, not {rules.encoding}; set the encoding")
    if asked.startswith(("utf-16", "utf-32")):
        if start and b"\0" not in start and is_utf8(start[: start.rfind(b"\n") + 1] or start):
            raise mistake(path, 1, f"this is utf-8, not {rules.encoding}, for it has no zero byte; set the encoding")
        return
    if b"\n" not in start and b"\r" in start.rstrip(b"\r"):
        raise mistake(path, 1, "the lines end with carriage returns alone; convert them to line feeds")
