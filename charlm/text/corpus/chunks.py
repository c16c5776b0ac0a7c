"""Read a text file of the corpus in chunks, the way Flair reads it: UTF-8 with universal newlines.

The arrays of a small chunk fit the processor's caches; that is several times faster than working on a whole shard. In
smaller chunks the calls take more of the time; with larger ones two processes compete for the cache.
"""

import os
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path

import numpy as np

from charlm.units.encoded_lines import NUM_BEFORE, NUM_BEHIND

CHUNK_BYTES = 3 << 18


def read_chunks(path: Path) -> Iterator[np.ndarray]:
    r"""The text of `path` in chunks that end at a newline (the last one may not), with `\r\n` and `\r` as `\n`.

    Each is uint8 (NUM_BEFORE + bytes + NUM_BEHIND,), with newlines before and after the text for encoders that look at
    the neighbours of a byte. It is valid until the next chunk is read. Only a single line makes a text longer than
    `CHUNK_BYTES`.
    """
    start = num_read = 0
    with path.open("rb", buffering=0) as file:
        first_size = min(CHUNK_BYTES, max(os.fstat(file.fileno()).st_size, 1))  # of very many shards most are small
        buffer = _buffer(first_size)
        while num_bytes := _read_at(file, start, memoryview(buffer)[NUM_BEFORE:-NUM_BEHIND]):
            end = NUM_BEFORE + num_bytes
            # A last `\r` may be half of a `\r\n`.
            cut = max(buffer.rfind(b"\n", NUM_BEFORE, end), buffer.rfind(b"\r", NUM_BEFORE, end - 1)) + 1
            if not cut and num_bytes > num_read:
                num_read, buffer = num_bytes, _buffer(2 * len(buffer))
                continue
            cut = cut or end
            start += cut - NUM_BEFORE
            if buffer.find(b"\r", NUM_BEFORE, cut) >= 0:
                text = with_universal_newlines(bytes(buffer[NUM_BEFORE:cut]))
                cut = NUM_BEFORE + len(text)
                memoryview(buffer)[NUM_BEFORE:cut] = text
            memoryview(buffer)[cut : cut + NUM_BEHIND] = b"\n" * NUM_BEHIND
            yield np.frombuffer(buffer, dtype=np.uint8)[: cut + NUM_BEHIND]
            if num_read:
                num_read, buffer = 0, _buffer(first_size)


def _read_at(file: RawIOBase, start: int, buffer: memoryview) -> int:
    """Read bytes from `start` into `buffer`; their number, 0 at the end of the file."""
    file.seek(start)
    return file.readinto(buffer) or 0


def _buffer(num_bytes: int) -> bytearray:
    buffer = bytearray(NUM_BEFORE + num_bytes + NUM_BEHIND)
    buffer[:NUM_BEFORE] = b"\n" * NUM_BEFORE
    return buffer


def with_universal_newlines(text: bytes) -> bytes:
    r"""`text` with `\r\n` and `\r` as `\n`."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text
