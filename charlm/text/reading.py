"""Read a text file of the corpus in chunks, the way Flair reads it: UTF-8 with universal newlines.

Small chunks keep the arrays that are made of them in the processor's cache; that is several times faster than working
on a whole shard.
"""

import os
from collections.abc import Iterator
from pathlib import Path

CHUNK_BYTES = 1 << 19


def read_chunks(path: Path) -> Iterator[memoryview]:
    r"""The text of `path` in chunks that end at a newline (the last one may not), with `\r\n` and `\r` as `\n`.

    A chunk is longer than `CHUNK_BYTES` only where a line is.
    """
    start = 0
    with path.open("rb", buffering=0) as file:
        while block := os.pread(file.fileno(), CHUNK_BYTES, start):
            cut = _end_of_lines(block)
            while not cut and (more := os.pread(file.fileno(), len(block), start + len(block))):
                block += more
                cut = _end_of_lines(block)
            cut = cut or len(block)
            start += cut
            chunk = memoryview(block)[:cut]
            yield memoryview(with_universal_newlines(bytes(chunk))) if b"\r" in block else chunk


def _end_of_lines(block: bytes) -> int:
    r"""Where the last whole line of a block ends; a last `\r` may be half of a `\r\n`."""
    return max(block.rfind(b"\n"), block.rfind(b"\r", 0, -1)) + 1


def with_universal_newlines(text: bytes) -> bytes:
    r"""`text` with `\r\n` and `\r` as `\n`."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text
