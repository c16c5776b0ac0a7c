"""Words in columns: the rows of a file, sentence by sentence, whatever their columns mean.

A tab separates columns where most rows have one, unless too few columns stand between tabs; else blanks do. Blanks
around a cell between tabs are no part of it. The number of columns is that of most rows; a row with another number is
refused by its own line. Comments stand before sentences, `-DOCSTART-` between documents. Rows may be numbered, as in
CoNLL-U.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from charlm.datasets.lines import BLANKS, DEFAULT_RULES, ReadingRules, is_blank, mistake, read_lines
from charlm.datasets.tag_schemes import UNLABELLED, looks_like_a_tag

_LOGGER = logging.getLogger("charlm")
DOCUMENT_START = "-DOCSTART-"
CONLLU_COLUMNS = 10
_CONLLU_WORD = re.compile(r"[0-9]{1,9}")
_CONLLU_OTHER = re.compile(r"[0-9]+[-.][0-9]+")  # `3-4` are words written as one, `3.1` is not in the text
_SENTENCES_TO_LOOK_AT = 1_000
_ANY_WIDTH = 10**9


class Row(NamedTuple):
    """One word: the number of its line, and its columns."""

    line: int
    fields: list[str]


Rows = list[list[Row]]
"""The rows of one file, by sentence."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the rows of a file are cut into columns."""

    delimiter: str | re.Pattern[str] | None
    """What stands between columns, as text or as a regular expression; None for runs of ASCII blanks."""

    width: int
    """Number of columns."""

    is_numbered: bool = False
    """Whether the first column counts the words of a sentence, as in CoNLL-U; ranges and empty nodes are no words."""

    has_tags_first: bool = False
    """Whether most first cells are tags of spans, and last ones are not."""

    @property
    def is_conllu(self) -> bool:
        return self.is_numbered and self.width == CONLLU_COLUMNS and self.delimiter == "\t"

    @property
    def word_column(self) -> int:
        return int(self.is_numbered)

    def split(self, line: str) -> list[str]:
        """The columns of a line."""
        if self.delimiter is None:
            if "\t" in line:  # a row of its own kind
                fields = line.split("\t")
                if len(fields) == self.width:
                    return fields
                line = line.replace("\t", " ")
            fields = line.split(" ")
            return fields if "" not in fields else [field for field in fields if field]
        if isinstance(self.delimiter, re.Pattern):
            return self.delimiter.split(line.rstrip())
        fields = line.split(self.delimiter)
        if " " in line and self.delimiter != " ":
            fields = [field.strip(" ") or field for field in fields]
        while len(fields) > self.width and not fields[-1]:
            fields.pop()
        return fields


def find_layout(lines: list[str], delimiter: str | re.Pattern[str] | None = None, *, least: int = 2) -> Layout:
    """The layout that most of the `lines` have; comments and what stands between sentences are no rows.

    A tab that ends every row begins no column, unless fewer than `least` would be left.
    """
    lines = [line for line in lines if not _is_between(line)]
    rows = [line for line in lines if not line.startswith("#")] or lines
    if delimiter is None and _tabs_separate(rows, least):
        delimiter = "\t"
    split = Layout(delimiter=delimiter, width=_ANY_WIDTH).split
    widths = Counter(len(split(line)) for line in rows)
    width = max(widths, key=lambda width: (widths[width], width), default=0)
    cells = [split(line) for line in rows]
    while width > max(least, 2) and all(len(row) == width and not row[-1] for row in cells):
        width -= 1
        cells = [row[:width] for row in cells]
    is_conllu = width == CONLLU_COLUMNS and delimiter == "\t"
    num_tags = [sum(map(looks_like_a_tag, (row[place] for row in cells))) for place in (0, -1)]
    return Layout(
        delimiter=delimiter,
        width=width,
        is_numbered=width > 2 and _is_numbered([row[0] for row in cells], is_conllu=is_conllu),
        has_tags_first=num_tags[0] * 2 > len(cells) > num_tags[1] * 2,
    )


def _tabs_separate(rows: list[str], least: int) -> bool:
    """Whether most rows have tabs, and at least as many columns between them as are needed, or as between blanks."""
    with_tabs = [line for line in rows if "\t" in line]
    if len(with_tabs) * 2 <= len(rows):
        return False
    too_few = [line for line in with_tabs if line.count("\t") + 1 < least <= len(line.split())]
    return len(too_few) * 2 < len(with_tabs)


def read_rows_of_words(
    path: Path,
    rules: ReadingRules = DEFAULT_RULES,
    *,
    layout: Layout | None = None,
    delimiter: str | re.Pattern[str] | None = None,
    comment_symbol: str | None = None,
    least: int = 1,
    first_line: int = 1,
    document_column: int | None = None,
) -> Iterator[list[Row]]:
    """The sentences of a file, each a list of its rows; the file is not held.

    Args:
        path: the file.
        rules: its encoding.
        layout: where it is known.
        delimiter: what stands between columns, where that is known.
        comment_symbol: lines that begin with it are left out wherever they stand, but for words with a known tag.
        least: columns that a row needs.
        first_line: the number of the first line that is read.
        document_column: where a line `-DOCSTART-` is a sentence of one word, in this column; None drops it.

    Raises DatasetError with the line of a row that has too few or too many columns.
    """
    blocks = _blocks(path, rules, first_line, document_column is not None)
    first = list(islice(blocks, _SENTENCES_TO_LOOK_AT))
    layout = layout or find_layout([line for block in first for _, line in block], delimiter, least=least)
    if layout.width < least and first:
        rows = [row for block in first for row in block]
        number, line = next((row for row in rows if not row[1].startswith("#")), rows[0])
        raise mistake(path, number, f"{least} columns are needed, and {layout.width} found: {line[:60]!r}")
    comments = _Comments(layout, first, comment_symbol)
    for place, block in enumerate(chain(first, blocks)):
        if document_column is not None and _is_between(block[0][1]):  # often it lacks the other columns
            fields = ["O"] * layout.width
            fields[document_column] = DOCUMENT_START
            yield [Row(block[0][0], fields)]
        elif rows_of_block := _rows_of_block(path, block, layout, comments, is_first=not place):
            yield rows_of_block
    comments.report(path)


_Block = list[tuple[int, str]]
"""The lines between two blank lines, with their numbers."""


def _blocks(path: Path, rules: ReadingRules, first_line: int, keep_document_starts: bool) -> Iterator[_Block]:
    block: _Block = []
    for number, line in islice(read_lines(path, rules), first_line - 1, None):
        if _is_between(line):
            if block:
                yield block
                block = []
            if keep_document_starts and not is_blank(line):
                yield [(number, line)]
        else:
            block.append((number, line))
    if block:
        yield block


def _rows_of_block(path: Path, block: _Block, layout: Layout, comments: "_Comments", *, is_first: bool) -> list[Row]:
    rows: list[Row] = []
    split, width = layout.split, layout.width
    for number, line in block:
        if line.startswith(comments.symbols) and comments.has(number, line, in_sentence=bool(rows)):
            continue
        fields = split(line)
        if len(fields) != width:
            raise mistake(
                path, number, f"{width} columns are needed, and {len(fields)} found: {line.strip(BLANKS)[:60]!r}"
            )
        if layout.is_numbered:
            if _CONLLU_OTHER.fullmatch(fields[0]):
                continue
            may_be_header = is_first and not rows and not layout.is_conllu
            if not _CONLLU_WORD.fullmatch(fields[0]) and not may_be_header:
                raise mistake(path, number, f"column 0 must be the number of a word, got {fields[0][:60]!r}")
        rows.append(Row(number, fields))
    return rows


class _Comments:
    """Tells comments from words that begin alike, such as `#` and `#hashtag`."""

    def __init__(self, layout: Layout, blocks: list[_Block], symbol: str | None) -> None:
        self.layout = layout
        self.blocks = blocks
        self.symbol = symbol
        self.symbols = ("#", symbol) if symbol else ("#",)
        self._doubtful: dict[bool, _Block] = {True: [], False: []}

    def has(self, number: int, line: str, *, in_sentence: bool) -> bool:
        """Whether a line that begins with one of `symbols` is a comment.

        It is none where it has all columns and its last one holds what other rows hold there, or the tag of a span, as
        in `#<TAB>O`. A comment stands before a sentence, unless its symbol was given. A line such as `# SYM` could be
        either; see `report`.
        """
        if self.layout.is_numbered:
            return True
        given = self.symbol is not None and line.startswith(self.symbol)
        if in_sentence and not given:
            return False
        fields = self.layout.split(line)
        if len(fields) != self.layout.width:
            return True
        if self.layout.width == 1 or (not given and line.lstrip("#")[:1] not in BLANKS):
            return given
        if fields[-1] in self._last_values or looks_like_a_tag(fields[-1]):
            return False
        if fields[0].strip("#") or " " in fields[-1]:
            return True
        if any(map(looks_like_a_tag, self._last_values.difference(UNLABELLED))):
            return True
        is_comment = self.layout.delimiter is None and not self._is_like_labels(fields[-1])
        self._doubtful[is_comment].append((number, line))
        return is_comment

    def report(self, path: Path) -> None:
        """Say how lines were read that could be a word and its label, or a comment of that many words."""
        for is_comment, lines in self._doubtful.items():
            if lines:
                what = "comment" if is_comment else "word and its label"
                more = f" ({len(lines) - 1:,} more lines like it)" if len(lines) > 1 else ""
                _LOGGER.warning("%s, line %d: %r is read as a %s%s", path, *lines[0], what, more)

    def _is_like_labels(self, text: str) -> bool:
        """Whether a text could be a label of words: it has no small letters where all labels have none."""
        others = self._last_values.difference(UNLABELLED)
        return bool(others) and (text == text.upper() or any(value != value.upper() for value in others))

    @cached_property
    def _last_values(self) -> set[str]:
        """What stands in the last column of rows that begin otherwise."""
        split, width = self.layout.split, self.layout.width
        rows = [split(line) for block in self.blocks for _, line in block if not line.startswith(self.symbols)]
        return {"O", "_", *(fields[-1] for fields in rows if len(fields) == width)}


def _is_between(line: str) -> bool:
    """Whether a line stands between sentences: blank, or the start of a document, with columns or without."""
    return not line or is_document_start(line) or is_blank(line)


def is_document_start(line: str) -> bool:
    """Whether a cell of a line is `-DOCSTART-`, or begins with it in the first place."""
    if line.startswith(DOCUMENT_START):
        return True
    return DOCUMENT_START in line and DOCUMENT_START in line.replace("\t", " ").split(" ")


def _is_numbered(first: Iterable[str], *, is_conllu: bool) -> bool:
    """Whether the first cells count words; those of CoNLL-U are checked later."""
    starts = set[int]()
    previous = highest = -1
    for place, word in enumerate(first):
        if _CONLLU_OTHER.fullmatch(word):
            continue
        if not _CONLLU_WORD.fullmatch(word):
            if place or is_conllu:
                return False
            continue  # the name of the column
        number = int(word)
        if previous < 0 or number != previous + 1:
            starts.add(number)
        previous, highest = number, max(highest, number)
    return bool(starts) if is_conllu else starts in ({0}, {1}) and highest not in starts
