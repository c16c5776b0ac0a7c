"""Join the blocks of a file into pieces of whole lines."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Lines:
    """Some whole lines of a file, and their place in it."""

    text: bytes
    """It ends with a newline, but for the last piece of a file that does not."""

    line: int
    """Number of the first line, counted from 1."""

    byte: int
    """Its first byte, counted from 0."""

    def place(self, offset: int) -> tuple[int, int]:
        """Line and byte in the file of a byte of `text`."""
        return self.line + self.text.count(b"\n", 0, offset), self.byte + offset


def whole_lines(blocks: Iterable[bytes], max_bytes: int, refuse: Callable[[str], None]) -> Iterator[Lines]:
    """The text of `blocks` in pieces of whole lines.

    `refuse` is called with the place of a line that is longer than `max_bytes`, before it is held in memory. If it
    returns, the line is left out.
    """
    pending: list[bytes] = []  # of a line that has not ended yet
    num_pending, is_too_long = 0, False
    line, byte = 1, 0
    for block in blocks:
        end_of_line = block.find(b"\n") + 1
        if num_pending + (end_of_line or len(block)) > max_bytes and not is_too_long:
            refuse(f"line {line} (byte {byte})")
            is_too_long = True
        if is_too_long:
            pending.clear()
            num_pending += end_of_line or len(block)
            if not end_of_line:
                continue
            line, byte = line + 1, byte + num_pending
            num_pending, is_too_long = 0, False
            block = block[end_of_line:]
        cut = block.rfind(b"\n") + 1
        if cut:
            lines = Lines(b"".join([*pending, block[:cut]]), line, byte)
            yield lines
            line, byte = line + _count_newlines(lines.text), byte + len(lines.text)
            pending, num_pending = [], 0
        if cut < len(block):
            pending.append(block[cut:])
            num_pending += len(block) - cut
    if pending:
        yield Lines(b"".join(pending), line, byte)


def _count_newlines(text: bytes) -> int:
    # Four times as fast as bytes.count, where lines are short.
    return int(np.count_nonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n")))
