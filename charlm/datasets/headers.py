"""Headers of labelled files: a first row that names the columns is taken as such and reported, or refused in doubt.

`ReadingRules.header` decides where it is not None. Otherwise a first row is a header where its cells are names that
people give to such columns (`label,text`; `tweet_text`; `word tag`) and its label does not occur again. A first row
that looks like a header under other names is refused, for it could be data.
"""

# ruff: noqa: SIM905  # names in a text are read more easily than in a list

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from charlm.datasets.lines import DEFAULT_RULES, ReadingRules
from charlm.datasets.rows import Row
from charlm.datasets.tables import TableRow
from charlm.datasets.tag_schemes import UNLABELLED, looks_like_a_tag
from charlm.errors import DatasetError

_LOGGER = logging.getLogger("charlm")
_ROWS_TO_LOOK_AT = 1_000
_WORD_NAMES = frozenset("text word words token tokens form".split())
_TEXT_NAMES = _WORD_NAMES | frozenset(
    "texts sentence sentences tweet message messages content review comment comments question query utterance document "
    "body title sms email headline description abstract".split()
)
_LABEL_NAMES = frozenset(
    "label labels class classes category categories target sentiment tag tags intent topic kind type polarity score "
    "rating stars emotion ner pos upos xpos chunk entity entities iob bio".split()
)
_OTHER_NAMES = frozenset("id idx index number no nr source date time author user lang language split name".split())
_NAME = re.compile(r"[^\W\d]\w*(?:[ _./#-]+\w*){0,3}")
_PARTS = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_BY_FORCE = "--skip-header, or --no-header if it is a row of data"


@dataclass(frozen=True, kw_only=True)
class Header:
    """The first row of a table, taken as the names of its columns."""

    path: Path
    line: int
    names: list[str]

    def report(self, repeated: Sequence[int] = ()) -> None:
        """Say which row is not read as data, and in which lines it is repeated."""
        again = f", and again in line {', '.join(map(str, repeated[:5]))}" if repeated else ""
        _LOGGER.warning(
            "%s, line %d%s: taken as the header: %s (not read as data; --no-header reads it)",
            self.path,
            self.line,
            again,
            ", ".join(self.names),
        )

    def is_repeated_by(self, row: Sequence[str]) -> bool:
        """Whether a row is the header of another table that was appended: it has the same names, of text and label."""
        return row == self.names and {"text", "label"} <= set(map(_kind_of, self.names))


def find_header(
    path: Path, rows: Sequence[TableRow], names: Sequence[str] | None, rules: ReadingRules = DEFAULT_RULES
) -> Header | None:
    """The header among the first rows of a table, or None; `names` are the columns that were asked for."""
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
    kinds = [_kind_of(cell) for cell in first]
    labels = [place for place, kind in enumerate(kinds) if kind == "label"]
    if "text" not in kinds and not (labels and "other" in kinds):
        return None
    others = [row for _, row in rows[1:] if not header.is_repeated_by(row)]
    if any(len(row) > place and row[place] == first[place] for row in others for place in labels):
        return None
    known = sum(kind is not None for kind in kinds)
    return header if known * 2 >= len(folded) and (labels or known > 1) else None


def columns_of_header(header: Header) -> tuple[list[int], list[int]] | None:
    """The columns of text and of label by their names, where there is exactly one of each."""
    kinds = [_kind_of(name) for name in header.names]
    found: list[list[int]] = []
    for kind, exact in (("text", _TEXT_NAMES), ("label", _LABEL_NAMES)):
        places = [place for place, one in enumerate(kinds) if one == kind]
        named = [place for place in places if header.names[place].strip().casefold() in exact]
        found.append(named if len(named) == 1 else places)
    texts, labels = found
    return (texts, labels) if len(texts) == len(labels) == 1 else None


def check_first_row(path: Path, rows: Iterable[TableRow], texts: Sequence[int], labels: Sequence[int]) -> None:
    """Raise DatasetError where the first row of a table looks like a comment, or a header under unusual names.

    The class of such a header is seen once in the file, its cells are names, all other classes come again, and other
    texts are longer.
    """
    rows = list(islice(rows, _ROWS_TO_LOOK_AT))
    line, first = rows[0]
    if first[0].lstrip().startswith("#") and 0 in labels and not any(row[0].startswith("#") for _, row in rows[1:]):
        raise DatasetError(
            f"{path}, line {line}: {', '.join(first)[:60]} looks like a comment, and a table has none; delete it, or "
            f"use --no-header if it is a row of data"
        )
    if len(rows) < 4:
        return
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
            f"{path}, line {line}: {', '.join(cells)} looks like a header, for its class does not occur again; "
            f"use {_BY_FORCE}"
        )


def without_header(
    path: Path, sentences: Iterator[list[Row]], text: int, labels: Sequence[int], rules: ReadingRules = DEFAULT_RULES
) -> Iterator[list[Row]]:
    """The sentences of a file of words in columns without the row that names the columns, which is reported.

    Args:
        path: the file.
        sentences: its rows.
        text: column of the words.
        labels: columns of labels.
        rules: whether there is a header.

    Raises DatasetError where the first row looks like a header and could be a word.
    """
    first = list(islice(sentences, _ROWS_TO_LOOK_AT))
    if first and rules.header is not False and _begins_with_header(path, first, text, labels, rules):
        line, names = first[0].pop(0)
        Header(path=path, line=line, names=names).report()
    return (rows for rows in chain(first, sentences) if rows)


def are_names(cells: Iterable[str]) -> bool:
    """Whether all cells are names that people give to columns of texts, words and labels."""
    return all(_kind_of(cell) in ("text", "label") for cell in cells)


def _begins_with_header(
    path: Path, sentences: list[list[Row]], text: int, labels: Sequence[int], rules: ReadingRules
) -> bool:
    if rules.header:
        return True
    (line, names), *others = chain.from_iterable(sentences)
    columns = [text, *labels]
    rows = [row.fields for row in others if len(row.fields) == len(names)]
    if max(columns) >= len(names) or any(row[column] == names[column] for row in rows for column in columns):
        return False
    if are_names(names[column] for column in columns):
        return True
    values = {row[column] for row in rows for column in labels}.difference(UNLABELLED)
    if _look_like_names(names[text], [names[column] for column in labels], values if len(rows) > 2 else ()):
        raise DatasetError(
            f"{path}, line {line}: {' '.join(names)} looks like a header, for its label does not occur again; "
            f"use {_BY_FORCE}"
        )
    return False


def _look_like_names(word: str, labels: Sequence[str], others: Collection[str]) -> bool:
    """Whether a first word and its labels, which occur nowhere else, could be names of columns.

    Either the word is such a name, or the labels have small letters and all `others` have none.
    """
    if not labels or any(len(label) < 3 or looks_like_a_tag(label) or not _NAME.fullmatch(label) for label in labels):
        return False
    if word.casefold() in _WORD_NAMES:
        return True
    return bool(others) and all(value == value.upper() for value in others) and labels != list(map(str.upper, labels))


def _kind_of(name: str) -> Literal["text", "label", "other"] | None:
    """What a column holds by its name: `text`, `Text`, `tweet_text`, `cleanText`; None for anything else."""
    name = name.strip()
    parts = [name.casefold()] if " " in name else [name.casefold(), *_PARTS.findall(_CAMEL.sub("_", name).casefold())]
    if parts[0] in _OTHER_NAMES or parts[-1] in ("id", "idx"):
        return "other"
    kinds: set[Literal["text", "label"]] = set()
    if not _TEXT_NAMES.isdisjoint(parts):
        kinds.add("text")
    if not _LABEL_NAMES.isdisjoint(parts):
        kinds.add("label")
    return kinds.pop() if len(kinds) == 1 else None
