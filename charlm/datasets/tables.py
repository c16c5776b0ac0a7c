"""Tables of labelled texts: rows of CSV or TSV.

Reads  train.csv …   `ham,"Go on, then"`, with commas, tabs, semicolons or bars; quoted fields of any length
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from charlm.datasets.lines import DEFAULT_RULES, ReadingRules, is_blank, mistake, read_lines
from charlm.errors import DatasetError

DELIMITERS = ",\t;|"
_NAMED_DELIMITER = re.compile(r'"?sep=([,;|\t])"?')
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_LONGEST_FIELD = 2**31 - 1  # characters; the module csv stops at 131,072 by default
TableRow = tuple[int, list[str]]
"""The line that a row begins at, and its cells."""


def table_rows(
    path: Path, delimiter: str, rules: ReadingRules = DEFAULT_RULES, dialect: Mapping[str, object] | None = None
) -> Iterator[TableRow]:
    """The rows of a table that hold anything; a quoted field may hold line breaks.

    Where every line has equally many tabs, each is a row, for texts between tabs often begin with a lone quote. A first
    line such as `sep=;` is no row. `dialect` is more of what the module csv takes: `quotechar`, `quoting` and so on.
    Raises DatasetError with the line of a row whose quotes do not close.
    """
    lines = _lines(path, rules)
    if delimiter == "\t" and not dialect:
        lines = [(number, line) for number, line in lines if not is_blank(line)]
        if len({line.count("\t") for _, line in lines}) == 1:
            for number, line in lines:
                yield number, [_unquoted(cell) for cell in line.split("\t")]
            return
        lines = _lines(path, rules)
    yield from _quoted_rows(path, lines, delimiter, dialect or {})


def named_delimiter(line: str) -> str | None:
    """The delimiter that a first line `sep=;` names, as spreadsheets write it; None where it is another line."""
    match = _NAMED_DELIMITER.fullmatch(line)
    return match[1] if match else None


def _lines(path: Path, rules: ReadingRules) -> Iterable[tuple[int, str]]:
    return ((number, line) for number, line in read_lines(path, rules) if number > 1 or named_delimiter(line) is None)


def _quoted_rows(
    path: Path, lines: Iterable[tuple[int, str]], delimiter: str, dialect: Mapping[str, object]
) -> Iterator[TableRow]:
    number, read = 0, 0

    def text() -> Iterator[str]:
        nonlocal number, read
        for read, line in lines:
            number = number or read
            yield f"{line}\n"

    csv.field_size_limit(_LONGEST_FIELD)
    try:
        for row in csv.reader(text(), delimiter=delimiter, **{"strict": True, **dialect}):  # type: ignore[arg-type]
            if len(row) > 1 or (row and not is_blank(row[0])):
                yield number, row
            number = 0
    except csv.Error as error:
        raise mistake(path, number or max(1, read), f"this is not a valid table: {error}") from error
    except TypeError as error:  # what csv says of an argument that it does not know, or of two characters for one
        raise DatasetError(f"{path}: the module csv takes no such dialect: {error}") from error


def _unquoted(cell: str) -> str:
    """A cell without the quotes around it, if those inside are doubled."""
    inner = cell[1:-1]
    if len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return cell


def find_delimiter(lines: Sequence[str]) -> str | None:
    """The delimiter that cuts the `lines` into rows of one width, at least two columns; None where none does.

    The last row is left out where its quotes do not close, for the lines may be the beginning of a file.
    """
    found: list[tuple[float, str]] = []
    for delimiter in DELIMITERS:
        widths = Counter(len(row) for row in parse_rows(lines, delimiter))
        if not widths:
            continue
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
        if width > 1:
            found.append((count / widths.total(), delimiter))
    is_decimal = len(found) > 1 and found[0][1] == "," and any(share == 1 for share, _ in found[1:])
    if is_decimal and all("," not in _DECIMAL_COMMA.sub("", line) for line in lines):
        del found[0]  # as in `1;0,5;Go home`
    best = max(found, key=lambda one: one[0], default=(0.0, None))
    return best[1] if best[0] > 0.5 else None  # a row of another width is refused later, by its line


def parse_rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """The rows of `lines` that hold anything, up to a quote that does not close."""
    csv.field_size_limit(_LONGEST_FIELD)
    rows: list[list[str]] = []
    try:
        for row in csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True):
            if row:
                rows.append(row)
    except csv.Error:
        pass
    return rows
