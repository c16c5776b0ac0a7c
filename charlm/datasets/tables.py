"""Tables of labelled texts: rows of CSV or TSV, and the header that may stand above them.

Reads  train.csv …   `ham,"Go on, then"`, with commas, tabs, semicolons or bars; quoted fields of any length
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from charlm.datasets.lines import DEFAULT_RULES, ReadingRules, is_blank, mistake, read_lines
from charlm.errors import DatasetError

DELIMITERS = (",", "\t", ";", "|")
_LONGEST_FIELD = 2**31 - 1  # characters; the module csv stops at 131,072 by default
_ROWS_TO_LOOK_AT = 1_000
_TEXT_NAMES = frozenset(
    [
        "text",
        "texts",
        "sentence",
        "sentences",
        "tweet",
        "message",
        "content",
        "review",
        "comment",
        "comments",
        "question",
        "query",
        "utterance",
        "document",
        "body",
        "title",
        "sms",
        "email",
        "headline",
        "description",
        "word",
        "words",
        "token",
        "tokens",
        "form",
    ]
)
_LABEL_NAMES = frozenset(
    [
        "label",
        "labels",
        "class",
        "classes",
        "category",
        "categories",
        "target",
        "sentiment",
        "tag",
        "tags",
        "intent",
        "topic",
        "kind",
        "type",
        "polarity",
        "score",
        "rating",
        "stars",
        "emotion",
        "ner",
        "pos",
        "upos",
        "ner_tags",
        "pos_tags",
    ]
)
_OTHER_NAMES = frozenset(
    [
        "id",
        "idx",
        "index",
        "number",
        "no",
        "nr",
        "source",
        "date",
        "time",
        "author",
        "user",
        "lang",
        "language",
        "split",
        "name",
    ]
)
_NAME = re.compile(r"[^\W\d]\w*(?:[ _./#-]+\w*){0,3}")

TableRow = tuple[int, list[str]]
"""The line that a row begins at, and its cells."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """The first row of a table, taken for the names of its columns."""

    path: Path
    line: int
    names: list[str]

    def __str__(self) -> str:
        return (
            f"{self.path}, line {self.line}: taken as the header: {', '.join(self.names)} "
            f"(no row of data; --no-header reads it as one)"
        )


def table_rows(
    path: Path, delimiter: str, rules: ReadingRules = DEFAULT_RULES, dialect: Mapping[str, object] | None = None
) -> Iterator[TableRow]:
    """The rows of a table that hold anything; a quoted field may hold line breaks.

    `dialect` is more of what the module csv takes: `quotechar`, `escapechar`, `quoting`, `skipinitialspace` and so on.

    Where every line has equally many tabs, each is a row, for texts between tabs often begin with a lone quote.
    Raises DatasetError with the line of a row whose quotes do not close.
    """
    lines: Iterable[tuple[int, str]] = read_lines(path, rules)
    if delimiter == "\t" and not dialect:
        lines = [(number, line) for number, line in lines if not is_blank(line)]
        if len({line.count("\t") for _, line in lines}) == 1:
            for number, line in lines:
                yield number, [_unquoted(cell) for cell in line.split("\t")]
            return
        lines = read_lines(path, rules)
    yield from _quoted_rows(path, lines, delimiter, dialect or {})


def _quoted_rows(
    path: Path, lines: Iterable[tuple[int, str]], delimiter: str, dialect: Mapping[str, object]
) -> Iterator[TableRow]:
    number, read = 1, 0

    def text() -> Iterator[str]:
        nonlocal read
        for read, line in lines:  # noqa: B007  # the number of the line that was read last
            yield f"{line}\n"

    csv.field_size_limit(_LONGEST_FIELD)
    try:
        for row in csv.reader(text(), delimiter=delimiter, **{"strict": True, **dialect}):  # type: ignore[arg-type]
            if len(row) > 1 or (row and not is_blank(row[0])):
                yield number, row
            number = read + 1
    except csv.Error as error:
        raise mistake(path, number, f"this is no table: {error}") from error
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
        widths = Counter(len(row) for row in _parsed(lines, delimiter))
        if not widths:
            continue
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
        if width > 1:
            found.append((count / widths.total(), delimiter))
    best = max(found, key=lambda one: one[0], default=(0.0, None))
    return best[1] if best[0] > 0.5 else None  # a row of another width is refused later, by its line


def _parsed(lines: Sequence[str], delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        for row in csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True):
            if row:
                yield row
    except csv.Error:
        return


def find_header(
    path: Path, rows: Sequence[TableRow], names: Sequence[str] | None, rules: ReadingRules = DEFAULT_RULES
) -> Header | None:
    """The header among the first rows of a table, or None.

    A first row is one where it names columns as people do (`label`, `text`) and none of its labels comes again, or
    where it holds the `names` that were asked for. `rules.header` decides where it is not None.
    """
    if not rows or rules.header is False:
        return None
    line, first = rows[0]
    header = Header(path=path, line=line, names=first)
    if rules.header:
        return header
    folded = [cell.strip().casefold() for cell in first]
    if names is not None and [name.casefold() for name in names if name != "_"] == [
        cell for cell, name in zip(folded, names, strict=False) if name != "_"
    ]:
        return header
    if not all(_NAME.fullmatch(cell) for cell in folded if cell) or len(set(folded)) < len(folded):
        return None
    columns = [place for place, cell in enumerate(folded) if cell in _LABEL_NAMES]
    has_text = any(cell in _TEXT_NAMES for cell in folded)
    if not has_text and not (columns and any(cell in _OTHER_NAMES for cell in folded)):
        return None
    if any(len(row) > place and row[place] == first[place] for _, row in rows[1:] for place in columns):
        return None
    known = sum(cell in _TEXT_NAMES | _LABEL_NAMES | _OTHER_NAMES for cell in folded)
    return header if known * 2 >= len(folded) and (columns or known > 1) else None


def columns_of_header(header: Header) -> tuple[list[int], list[int]] | None:
    """The columns of text and of label by their names, where there is exactly one of each."""
    folded = [name.strip().casefold() for name in header.names]
    texts = [place for place, name in enumerate(folded) if name in _TEXT_NAMES]
    labels = [place for place, name in enumerate(folded) if name in _LABEL_NAMES]
    return (texts, labels) if len(texts) == len(labels) == 1 else None


def suspicious_header(path: Path, rows: Iterable[TableRow], texts: Sequence[int], labels: Sequence[int]) -> None:
    """Raise DatasetError where the first row looks like a header that nobody has named.

    Its class is seen once in the file, its cells are names, all other classes come again, and other texts are longer.
    """
    rows = list(islice(rows, _ROWS_TO_LOOK_AT))
    if len(rows) < 4:
        return
    line, first = rows[0]
    cells = [first[place].strip() for place in (*labels, *texts)]
    counts = Counter(row[place] for _, row in rows for place in labels)
    others = [count for value, count in counts.items() if value not in [first[place] for place in labels]]
    lengths = sorted(len(" ".join(row[place] for place in texts).split()) for _, row in rows[1:])
    if (
        all(counts[first[place]] == 1 for place in labels)
        and others
        and min(others) > 1
        and all(_NAME.fullmatch(cell) for cell in cells)
        and all(len(first[place].split()) < max(2, lengths[len(lengths) // 2]) for place in texts)
    ):
        raise DatasetError(
            f"{path}, line {line}: {', '.join(cells)} looks like a header, for its class stands nowhere else; "
            f"say --skip-header, or --no-header if it is a row of data"
        )
