"""Which encoding a text is in: as its bytes show, or as charset-normalizer advises.

Advice may be wrong: it is asked for by the name `auto`, and what was taken is always reported.
"""

import codecs
from collections.abc import Iterable, Iterator

from charlm.arrays.utf8 import is_utf8, wide_encoding
from charlm.errors import ConfigError, SourceError, how_to_install

_SAMPLE_BYTES = 1 << 16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def guess_encoding(start: bytes) -> str | None:
    """The encoding of a text that begins with some bytes; None where nothing fits.

    Byte order marks, UTF-8 and zero bytes are certain. Anything else is the advice of charset-normalizer; raises
    ConfigError where that is not installed.
    """
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if any(is_utf8(start[: len(start) - cut]) for cut in range(4)):  # it may end inside of a character
        return "utf-8"
    if wide := wide_encoding(start[:4096]):
        return wide
    try:
        from charset_normalizer import from_bytes
    except ImportError as error:
        raise ConfigError(
            f"--encoding auto needs the package charset-normalizer; {how_to_install('pipeline')}"
        ) from error
    best = from_bytes(_telling_sample(start)).best()
    return None if best is None else codecs.lookup(best.encoding).name


def _telling_sample(start: bytes) -> bytes:
    """As many of the lines that are not ASCII as a guess needs; the others say nothing."""
    lines = [line for line in start.splitlines(keepends=True) if not line.isascii()]
    return b"".join(lines)[:_SAMPLE_BYTES] or start[:_SAMPLE_BYTES]


def as_utf8(blocks: Iterable[bytes], encoding: str, errors: str, address: str) -> Iterator[bytes]:
    """Blocks of text in an encoding as blocks of UTF-8; raises SourceError with the byte that does not belong to it."""
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    num_before = 0
    for block in blocks:
        yield _encoded(decoder, block, address, encoding, num_before, is_last=False)
        num_before += len(block)
    yield _encoded(decoder, b"", address, encoding, num_before, is_last=True)


def _encoded(
    decoder: codecs.IncrementalDecoder, block: bytes, address: str, encoding: str, num_before: int, *, is_last: bool
) -> bytes:
    try:
        return decoder.decode(block, final=is_last).removeprefix("\ufeff" if not num_before else "").encode()
    except UnicodeError as error:
        reason, place = getattr(error, "reason", str(error)), num_before + getattr(error, "start", 0)
        raise SourceError(
            f"{address}: this is not {encoding} text ({reason} at about byte {place}); name its --encoding"
        ) from error
