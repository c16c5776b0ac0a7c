"""Read a text file of the corpus in chunks, the way Flair reads it: UTF-8 with universal newlines.

Small chunks keep the arrays that are made of them in the processor's cache; that is several times faster than working
on a whole shard.
"""

from collections.abc import Iterator
from pathlib import Path

CHUNK_BYTES = 1 << 19


def read_chunks(path: Path) -> Iterator[bytes]:
    r"""The text of `path` in chunks that end at a newline (the last one may not), with `\r\n` and `\r` as `\n`.

    A chunk is longer than `CHUNK_BYTES` only where a line is.
    """
    pending: list[bytes] = []
    with path.open("rb", buffering=0) as file:
        while block := file.read(CHUNK_BYTES):
            cut = max(block.rfind(b"\n"), block.rfind(b"\r", 0, -1)) + 1  # a last \r may be half of a \r\n
            if cut:
                yield with_universal_newlines(b"".join([*pending, memoryview(block)[:cut]]))
                pending = []
            pending.append(block[cut:])
    if rest := b"".join(pending):
        yield with_universal_newlines(rest)


def with_universal_newlines(text: bytes) -> bytes:
    r"""`text` with `\r\n` and `\r` as `\n`."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text
