"""Where documents begin: at each line, at each paragraph, or only at the top of a file.

Blank lines (white space at most) belong to the document before them, those at the top to the first document. Joined,
the documents are the text.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

DocumentStart = Literal["line", "paragraph", "file"]

_NEWLINE = ord("\n")
_BLANKS = np.zeros(256, dtype=bool)
_BLANKS[list(b" \t\r\f\v")] = True
_USUAL_INDENTATION = 16  # bytes; looking at a byte of all lines at once is faster than at one line after the other
# Text has paragraphs when blank lines are a habit in it, not when a lone one follows the title.
_MOST_LINES_PER_PARAGRAPH = 100


def choose_document_mode(sample: bytes) -> Literal["line", "paragraph"]:
    """What `--document auto` means for a file that begins with `sample`."""
    text = sample.strip() + b"\n"
    num_paragraphs = len(find_starts(text, "paragraph")) + 1
    num_lines = text.count(b"\n")
    is_habit = num_lines <= _MOST_LINES_PER_PARAGRAPH * (num_paragraphs - 1)
    return "paragraph" if num_paragraphs > 1 and is_habit else "line"


def find_starts(text: bytes, mode: DocumentStart) -> list[int]:
    """The byte at which each document but the first begins; `text` ends with a newline."""
    if mode == "file":
        return []
    characters = np.frombuffer(text, dtype=np.uint8)
    ends = np.flatnonzero(characters == _NEWLINE)
    starts = np.concatenate([[0], ends[:-1] + 1])
    is_blank = starts == ends
    lines = np.flatnonzero(_BLANKS[characters[starts]])  # the others are empty or begin with text
    for depth in range(1, _USUAL_INDENTATION + 1):
        following = characters[starts[lines] + depth]
        is_blank[lines[following == _NEWLINE]] = True
        lines = lines[_BLANKS[following]]
    for line in lines.tolist():  # all white space so far
        is_blank[line] = text[starts[line] : ends[line]].isspace()
    is_start = ~is_blank
    if mode == "paragraph":
        is_start[1:] &= is_blank[:-1]
    found: list[int] = starts[is_start].tolist()
    return found[1:]  # the first document begins at the top, with any blank lines there


class Cutter:
    """Cuts text that comes in pieces of whole lines into documents; the last document is kept until its end is known.

    `refuse` is called with the place of a document that is longer than `max_bytes`. If it returns, the document is left
    out.
    """

    def __init__(self, mode: DocumentStart, max_bytes: int, refuse: Callable[[str], None]) -> None:
        self.mode = mode
        self.max_bytes = max_bytes
        self.refuse = refuse
        self._open = b""
        self._num_cut = 0
        self._is_dropping = False

    def cut(self, lines: bytes) -> list[bytes]:
        """The documents that end within `lines`."""
        text = self._open + lines if self._open else lines
        starts = find_starts(text, self.mode)
        documents = [text[start:end] for start, end in zip([0, *starts], starts, strict=False)]
        if starts:
            self._open = text[starts[-1] :]
            self._num_cut += starts[-1]
        else:
            self._open = text
        if self._is_dropping and documents:
            del documents[0]
            self._is_dropping = False
        if len(self._open) > self.max_bytes:
            if not self._is_dropping:
                self.refuse(f"byte {self._num_cut}")
            self._is_dropping = True
            self._open = b"-\n"  # a placeholder for the document that is left out
        return documents

    def finish(self) -> list[bytes]:
        """The last document, when there is one."""
        return [self._open] if self._open.strip() and not self._is_dropping else []
