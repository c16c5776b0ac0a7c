"""Plain text: its lines, and the documents in them."""

import logging
from collections.abc import Iterator
from itertools import chain

from charlm.arrays.encodings import as_utf8, guess_encoding
from charlm.arrays.utf8 import is_utf8, wide_encoding
from charlm.config import AUTO
from charlm.errors import SourceError
from charlm.text.sources.boundaries import Cutter, choose_document_mode
from charlm.text.sources.checking import SourceText
from charlm.text.sources.lines import Lines, whole_lines
from charlm.text.sources.raw import RawStream, sha256_of_source

_LOGGER = logging.getLogger("charlm")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONGEST_LINE = 100_000  # bytes on average; a lone carriage return in a longer text does not end a line


def read_text(source: SourceText) -> Iterator[list[bytes]]:
    """The documents of a text file, some at a time."""
    cutter: Cutter | None = None
    for lines in read_lines(source):
        text = with_last_newline(source.check_lines(lines))
        if cutter is None:
            cutter = _make_cutter(source, text)
        yield cutter.cut(text)
    if cutter is not None:
        yield cutter.finish()


def _make_cutter(source: SourceText, sample: bytes) -> Cutter:
    mode = source.config.document
    if mode == "auto":
        mode = choose_document_mode(sample)
    return Cutter(mode, source.reading.max_document_bytes, source.refuse_long)


def read_lines(source: SourceText) -> Iterator[Lines]:
    """The unchecked text of the source in pieces of whole lines; nothing of a file that is to be skipped.

    A byte order mark at its beginning is left out.
    """
    with RawStream(source.source, source.reading) as stream:
        blocks = _in_utf8(source, stream.blocks())
        first = next(blocks, b"")
        if _is_foreign(source, first):
            source.num_stored, source.sha256 = source.source.size or 0, sha256_of_source(source.source)
            return
        source.has_byte_order_mark = first.startswith(_BYTE_ORDER_MARK)
        first = first.removeprefix(_BYTE_ORDER_MARK)
        _check_line_ends(source, first)
        start = len(_BYTE_ORDER_MARK) if source.has_byte_order_mark else 0
        blocks = chain([first], blocks)
        for lines in whole_lines(blocks, source.reading.max_document_bytes, source.refuse_long, start=start):
            source.num_stored = stream.num_stored
            yield lines
        source.num_stored, source.sha256 = stream.num_stored, stream.sha256


def _in_utf8(source: SourceText, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks of a text as UTF-8, unchecked where that is its encoding; another one that was found is counted."""
    encoding = source.reading.codec
    if encoding == AUTO:
        first = next(blocks, b"")
        found = guess_encoding(first)
        if found is None:
            raise SourceError(f"{source.source.address}: no encoding fits its bytes; name its --encoding")
        blocks, encoding = chain([first], blocks), found
        if found != "utf-8":
            source.skipped[f"files that were read as {found}"] += 1
            _LOGGER.warning("%s is read as %s", source.source.address, found)
    if encoding == "utf-8":
        return blocks
    source.encoding = encoding
    errors = "replace" if source.reading.bad_bytes == "replace" else "strict"
    return as_utf8(blocks, encoding, errors, source.source.address)


def _is_foreign(source: SourceText, block: bytes) -> bool:
    """True for a file that is to be skipped, because it is no UTF-8 text at all."""
    head = block[:8192]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        found = "UTF-16 text; convert it with iconv -f UTF-16 -t UTF-8"
    elif encoding := wide_encoding(head):
        found = f"{encoding.upper()} text by its zero bytes; convert it with iconv -f {encoding.upper()} -t UTF-8"
    elif b"\0" in head and not _is_utf8_but_for_its_end(head):
        found = "a binary file; leave it out or use --bad-bytes skip"
    else:
        return False
    if source.reading.bad_bytes != "skip":
        raise SourceError(f"{source.source.address} is {found}")
    source.skipped["binary_files"] += 1
    return True


def _check_line_ends(source: SourceText, block: bytes) -> None:
    """Note, and raise SourceError where line ends matter, that the lines of a file end with `\\r` alone."""
    text = block.strip(b"\r\n")
    source.has_only_returns = b"\n" not in text and text.count(b"\r") * _LONGEST_LINE > len(text)
    if source.has_only_returns and source.config.normalize_newlines:
        raise SourceError(only_returns(source))


def only_returns(source: SourceText) -> str:
    """What to do about a file whose lines end with `\\r` alone."""
    return (
        f"{source.source.address}: its lines end with carriage returns only (\\r, as on old Macs), so the file would "
        f"be a single line; convert it: tr '\\r' '\\n' < OLD > NEW"
    )


def with_last_newline(text: bytes) -> bytes:
    """`text` with a newline at its end."""
    return text if text.endswith(b"\n") else text + b"\n"


def _is_utf8_but_for_its_end(text: bytes) -> bool:
    """True for UTF-8 that may be cut inside its last character."""
    return any(is_utf8(text[: len(text) - cut]) for cut in range(4))
