"""What a labelled file is, by its content: decided once, for all who read it.

| format | recognized by |
| --- | --- |
| lines | most lines have a word that begins with `__label__`, whatever the file is called |
| jsonl, spans | lines are JSON objects; spans where labels are lists of places |
| conllu | ten columns between tabs, the first one numbered |
| table | rows of equally many cells, one of which holds texts of several words; or the suffix `.csv` |
| columns | anything else: a word and its labels a line |

A suffix decides where content alone cannot: an empty `.jsonl`, a `.csv` of single words.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal

from charlm.datasets.json_lines import parse_object
from charlm.datasets.lines import DEFAULT_RULES, ReadingRules, is_blank, read_lines
from charlm.datasets.rows import Layout, find_layout, is_document_start
from charlm.datasets.tables import DELIMITERS, find_delimiter, named_delimiter, parse_rows
from charlm.errors import DatasetError

Format = Literal["conllu", "table", "jsonl", "spans", "lines", "columns"]
PREFIX = "__label__"
_LINES_TO_LOOK_AT = 2_000
_LABEL = re.compile(rf'(?:^"?|(?<=\s)){PREFIX}')
_LABEL_CELL = re.compile(rf"\s*(?:{PREFIX}\S+\s*)+")
_TABLE_SUFFIXES = (".csv", ".tsv")
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, kw_only=True)
class Sniffed:
    """The format of a file, and what stands between its columns."""

    format: Format
    delimiter: str | None = None
    """Of a table."""

    layout: Layout | None = None
    """Of words in columns."""


def sniff(path: Path, rules: ReadingRules = DEFAULT_RULES, *, label_field: str | None = None) -> Sniffed:
    """The format of a labelled file.

    Args:
        path: the file.
        rules: its encoding.
        label_field: name of the field that holds labels or spans, in JSON lines.

    Raises DatasetError where the file cannot be read in its encoding.
    """
    lines = [line for _, line in islice(read_lines(path, rules), _LINES_TO_LOOK_AT)]
    delimiter = named_delimiter(lines[0]) if lines else None
    if delimiter is not None:
        return Sniffed(format="table", delimiter=delimiter)
    full = [line for line in lines if not is_blank(line)]
    suffix = path.suffix.lower()
    is_json = bool(full) and _is_object(full[0])
    if not is_json and sum(map(_has_label, full)) * 2 >= max(1, len(full)):
        delimiter = _delimiter_of_labels(full, is_table=suffix in _TABLE_SUFFIXES)
        return Sniffed(format="table" if delimiter else "lines", delimiter=delimiter)
    if suffix in _JSON_SUFFIXES or is_json:
        return Sniffed(format=_json_format(path, rules, label_field or "label"))
    layout = find_layout(lines)
    if suffix == ".conllu" or layout.is_conllu:
        return Sniffed(format="conllu", layout=layout)
    delimiter = _table_delimiter(lines, full, layout, suffix)
    if delimiter is not None:
        return Sniffed(format="table", delimiter=delimiter)
    return Sniffed(format="columns", layout=layout)


def _has_label(line: str) -> bool:
    return PREFIX in line and _LABEL.search(line) is not None


def _delimiter_of_labels(lines: Sequence[str], *, is_table: bool) -> str | None:
    """What separates labels from texts in a table of `__label__ham,Go home`; None for lines of fastText.

    A first line without label may name the columns. A tab ends a label in lines of fastText too, and a label of theirs
    may hold any other delimiter: unless the file `is_table` by its suffix, each line would then have a label of its
    own.
    """
    lines = lines if _has_label(lines[0]) else lines[1:]
    for delimiter in DELIMITERS.replace("\t", ""):
        rows = parse_rows(lines, delimiter)
        is_first = all(len(row) > 1 and _LABEL_CELL.fullmatch(row[0]) for row in rows)
        is_somewhere = len({len(row) for row in rows}) == 1 and all(
            len(row) > 1 and any(map(_LABEL_CELL.fullmatch, row)) for row in rows
        )
        if not rows or not (is_first or (is_table and is_somewhere)):
            continue
        labels = [word for line in lines for word in line.split() if word.startswith(PREFIX) and delimiter in word]
        if is_table or len(set(labels)) == len(labels):
            return delimiter
    return None


def _is_object(line: str) -> bool:
    if not line.lstrip(" \t").startswith('{"') and line.split() != ["{"]:
        return False
    try:
        parse_object(Path(), 1, line)
    except DatasetError:
        return line.lstrip().startswith('{"') and " O" not in line
    return True


def _json_format(path: Path, rules: ReadingRules, label_field: str) -> Format:
    """Whether the labels of a JSON-lines file are spans, by the first object that has any."""
    for number, line in read_lines(path, rules):
        if is_blank(line):
            continue
        labels = parse_object(path, number, line).get(label_field)
        if labels:
            return "spans" if _are_spans(labels) else "jsonl"
    return "jsonl"


def _are_spans(labels: Any) -> bool:
    return isinstance(labels, list) and isinstance(labels[0], list | dict)


def _table_delimiter(lines: Sequence[str], full: Sequence[str], layout: Layout, suffix: str) -> str | None:
    """What separates the cells, where the lines are rows of a table and not words in columns."""
    if not full or any(map(is_document_start, full)):
        return ("," if suffix == ".csv" else None) if not full else None
    num_sentences = 1 + sum(is_blank(line) and not is_blank(after) for line, after in pairwise(lines))
    rows_in_a_sentence = len(full) / num_sentences
    has_sentences = num_sentences > 1 and rows_in_a_sentence > 1.2
    if layout.delimiter == "\t" and layout.width > 1 and not (suffix == ".csv" and find_delimiter(full) in (",", ";")):
        if not has_sentences and _holds_texts([line.split("\t") for line in full]):
            return "\t"
        return None if has_sentences or suffix != ".csv" else "\t"
    delimiter = find_delimiter(full)
    if suffix == ".csv":
        return delimiter or ","
    if delimiter in (None, "\t") or has_sentences:
        return None
    assert delimiter is not None
    widths = {len(layout.split(line)) for line in full}
    if len(widths) == 1 and layout.width > 1:
        return None  # `word , tag`: blanks cut it as well
    return delimiter if _holds_texts([line.split(delimiter) for line in full]) else None


def _holds_texts(rows: Sequence[Sequence[str]]) -> bool:
    """Whether most rows have a cell of several words."""
    return sum(any(" " in cell.strip() for cell in row) for row in rows) * 2 > len(rows)
