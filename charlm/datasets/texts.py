"""Readers of labelled texts: each gives the line, the labels and the text of one after the other."""

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from charlm.data.sentence import Sentence
from charlm.datasets.files import check_known, collector_paused
from charlm.datasets.headers import check_first_row, columns_of_header, find_header
from charlm.datasets.json_lines import as_label, read_json_objects
from charlm.datasets.lines import BLANKS, DEFAULT_RULES, ReadingRules, is_blank, mistake, read_lines
from charlm.datasets.sniffing import PREFIX
from charlm.datasets.tables import TableRow, table_rows
from charlm.datasets.text_options import TextOptions

LabelledText = tuple[int, list[str], str]
"""Line number, labels and text."""
_LOGGER = logging.getLogger("charlm")
_NO_OPTIONS = TextOptions()
_LABEL = re.compile(rf"(?:^|(?<=\s)){PREFIX}(\S*)(?:[ \t]+|\s|$)")
_LABELS = re.compile(rf"\s*(?:{PREFIX}\S+\s*)+")
_MARK = re.compile("[,;|]")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


@collector_paused()
def label_texts(
    path: Path,
    texts: Iterator[LabelledText],
    label_type: str,
    *,
    known: Collection[str] | None = None,
    options: TextOptions = _NO_OPTIONS,
) -> list[Sentence]:
    """Sentences with their labels.

    Blanks around a label are no part of it. Raises DatasetError with file and line where one has no label or no text,
    or a label is not among `known`.
    """
    sentences = []
    unlabelled: list[int] = []
    for number, found, text in texts:
        found = [label.strip(" \t\r\n") for label in found]
        if not options.keeps(found, text):
            continue
        sentence = options.sentence(text)
        if not len(sentence):
            raise mistake(path, number, "the text is empty")
        labels = options.labels(found)
        if (not labels or "" in labels) and not options.allow_examples_without_labels:
            if options.allow_examples_without_labels is None:
                raise mistake(path, number, f"the text has no label: {text.strip()[:60]!r}")
            unlabelled.append(number)
            continue
        for label in filter(None, labels):
            check_known(path, number, label, known)
            sentence.add_label(label_type, label)
        sentences.append(sentence)
    if not sentences:
        raise mistake(path, 1, "the file holds no text")
    if unlabelled:
        _LOGGER.warning(
            "%s: %d texts without a label are left out, the first in line %d", path, len(unlabelled), unlabelled[0]
        )
    return sentences


def read_labelled_lines(path: Path, rules: ReadingRules = DEFAULT_RULES) -> Iterator[LabelledText]:
    """The lines of the format of fastText: a label is a word with `__label__` in front, wherever it stands.

    Any white space ends a label: blanks and tabs, or one other character, for the next may belong to the text. A line,
    or the text behind a tab, that a table writer has put in quotes is read without them.
    """
    holds_mark, example = True, ""
    for number, line in read_lines(path, rules):
        if is_blank(line):
            continue
        if line.startswith('"' + PREFIX) and line.endswith('"'):
            line = line[1:-1].replace('""', '"')
        labels = _LABEL.findall(line)
        if not all(labels):
            raise mistake(path, number, f"a label is missing behind {PREFIX}")
        text = _LABEL.sub("", line).strip(BLANKS)
        if f"\t{text}" in line and '""' in text[1:-1] and _QUOTED.fullmatch(text):
            text = text[1:-1].replace('""', '"')
        holds_mark = holds_mark and any(map(_MARK.search, labels))
        example = example or next(iter(labels), "")
        yield number, labels, text
    if holds_mark and example:
        _LOGGER.warning("%s: every label holds a comma or the like, such as %r; is this a table?", path, example)


def read_table(
    path: Path,
    texts: Sequence[int] | None = None,
    labels: Sequence[int] | None = None,
    delimiter: str = ",",
    rules: ReadingRules = DEFAULT_RULES,
    names: Sequence[str] | None = None,
    text_first: bool | None = None,
    dialect: Mapping[str, object] | None = None,
) -> Iterator[LabelledText]:
    """The texts of a table, its header left out and reported.

    Args:
        path: the file.
        texts, labels: columns of texts (joined) and of labels; without them those that the header names, else the
            two that there are: the label is in the first one, unless their content shows that the text is.
        delimiter: what stands between cells.
        rules: encoding and header.
        names: of the columns, as they were asked for.
        text_first: whether the text is in the first of two columns, where other files of the corpus show it.
        dialect: more of what the module csv takes, such as `quotechar`.

    Raises DatasetError with the line of a row with too many or too few cells, whichever row comes first.
    """
    rows = list(table_rows(path, delimiter, rules, dialect))
    if not rows:
        raise mistake(path, 1, "the file holds no text")
    header = find_header(path, rows, names, rules)
    asked = (texts, labels) if texts is not None and labels is not None else None
    known = asked or (columns_of_header(header) if header else None)
    texts, labels = known or _guessed_columns(path, rows[header is not None :], text_first)
    needed = max(chain(texts, labels)) + 1
    widths = Counter(len(row) for _, row in rows)
    width = max(widths, key=lambda width: (widths[width], width))
    if known is None and width > needed:
        raise mistake(
            path,
            rows[0][0],
            f"{width} columns are found; name those of label and text, as --columns label,_,text",
        )
    for line, row in rows:
        if len(row) != width or width < needed:
            raise mistake(path, line, f"{max(needed, width)} columns are needed, and {len(row)} found: {str(row)[:60]}")
    if header is not None:
        repeated = [line for line, row in rows[1:] if header.is_repeated_by(row)]
        header.report(repeated)
        if asked is None and width > len(texts) + len(labels):
            shown = [", ".join(header.names[column] for column in columns) for columns in (texts, labels)]
            _LOGGER.warning("%s: texts are read from the column %s and labels from %s", path, *shown)
        rows = [(line, row) for line, row in rows[1:] if line not in repeated]
    elif rules.header is None:
        check_first_row(path, rows, texts, labels)
    cells = [row[column] for _, row in rows for column in labels if row[column]]
    has_prefixes = all(_LABELS.fullmatch(cell) for cell in cells)
    for line, row in rows:
        found = [row[column] for column in labels if row[column]]
        if has_prefixes:
            found = [label for cell in found for label in _LABEL.findall(cell)]
        yield line, found, " ".join(row[column] for column in texts)


def _guessed_columns(
    path: Path, rows: Sequence[TableRow], text_first: bool | None
) -> tuple[Sequence[int], Sequence[int]]:
    """The columns of text and label of a table whose columns have no names."""
    if text_first is None:
        text_first = is_text_first(rows)
    what = ("texts", "labels") if text_first else ("labels", "texts")
    _LOGGER.warning("%s: the first column is taken for the %s and the second for the %s", path, *what)
    return ([0], [1]) if text_first else ([1], [0])


def is_text_first(rows: Sequence[TableRow]) -> bool | None:
    """Whether the first of two columns holds the texts and the second one their labels; None where nothing shows it.

    Most texts have several words, and labels have one.
    """
    if not rows or any(len(row) != 2 for _, row in rows):
        return None
    first, second = ([row[column].strip(BLANKS) for _, row in rows] for column in (0, 1))
    if all(cell.startswith(PREFIX) for cell in second):
        return True
    many_words = [sum(" " in cell for cell in cells) * 2 > len(cells) for cells in (first, second)]
    return many_words[0] if many_words[0] != many_words[1] else None


def read_objects(
    path: Path, text_field: str = "text", label_field: str = "label", rules: ReadingRules = DEFAULT_RULES
) -> Iterator[LabelledText]:
    """The texts of JSON objects, one object a line; labels may be texts, whole numbers or truth values."""
    for number, (text, labels) in read_json_objects(path, (text_field, label_field), rules):
        found = _labels(labels)
        if found is None:
            raise mistake(path, number, f"the field {label_field!r} holds no label and no list of labels")
        if isinstance(text, str):
            yield number, found, text
            continue
        if not isinstance(text, list) or not all(isinstance(item, str) for item in text):
            raise mistake(path, number, f"the field {text_field!r} holds neither text nor a list of texts")
        if not isinstance(labels, list) or len(text) != len(found):
            raise mistake(path, number, f"there must be as many labels in {label_field!r} as texts in {text_field!r}")
        for one_text, label in zip(text, found, strict=True):
            yield number, [label], one_text


def _labels(value: Any) -> list[str] | None:
    """One label or several as texts; None where something else is there."""
    found = [as_label(item) for item in (value if isinstance(value, list) else [value])]
    labels = [label for label in found if label is not None]
    return labels if len(labels) == len(found) else None
