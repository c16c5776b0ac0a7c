"""Texts to embed or to label: sentences of any file that the readers of labelled data know, one after the other.

| what the file is | sentences |
| --- | --- |
| words in columns: `.conll`, `.conllu`, CoNLL-U, `-DOCSTART-` or span tags by content | its words |
| `__label__` lines, JSON lines (field `text`), tables `.csv` and `.tsv` | its texts, without the labels |
| anything else | a line each |

What is more than lines of text is reported. The file is not held in memory, but for tables.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from charlm.data.sentence import Sentence
from charlm.datasets.headers import are_names, without_header
from charlm.datasets.json_lines import read_json_objects
from charlm.datasets.lines import DEFAULT_RULES, ReadingRules, is_blank, read_lines, read_lines_and_places
from charlm.datasets.rows import Layout, find_layout, is_document_start, read_rows_of_words
from charlm.datasets.sniffing import PREFIX, sniff
from charlm.datasets.tables import table_rows
from charlm.datasets.tag_schemes import looks_like_a_tag
from charlm.datasets.texts import read_labelled_lines, read_table
from charlm.errors import DatasetError
from charlm.units.tokenization import clean_text, cleaned_positions

InputFormat = Literal["text", "conll", "jsonl", "lines", "table"]
_LOGGER = logging.getLogger("charlm")
_LINES_TO_LOOK_AT = 2_000
_WHAT = {
    "conll": "words in columns",
    "jsonl": "JSON lines, of which the field text is taken",
    "lines": "lines of fastText, without their labels",
    "table": "a table, without its labels",
}


@dataclass(frozen=True)
class InputText:
    """A sentence of the input."""

    sentence: Sentence
    text: str
    """The sentence exactly as in the file."""

    position: int
    """Where it ends in the input: bytes of a file, about, or rows of Parquet."""

    def token_spans(self) -> list[tuple[int, int]]:
        """Start and end of every token in `text`, in characters."""
        spans = self.sentence.word_spans
        if len(clean_text(self.text)) == len(self.text):
            return spans
        positions = cleaned_positions(self.text)
        return [(positions[start], positions[end - 1] + 1) for start, end in spans]


def read_inputs(
    path: Path, file_format: InputFormat | None = None, rules: ReadingRules = DEFAULT_RULES
) -> Iterator[InputText]:
    """The sentences of a file; without `file_format` its name and content decide.

    Raises DatasetError with the line where the file is malformed.
    """
    if file_format is None:
        file_format = find_input_format(path, rules)
        if file_format != "text" and path.suffix.lower() not in (".conll", ".conllu"):
            _LOGGER.warning("%s is read as %s", path, _WHAT[file_format])
    if file_format == "conll":
        return _words(path, rules)
    if file_format == "text":
        return _plain(path, rules)
    return _texts(path, file_format, rules)


def find_input_format(path: Path, rules: ReadingRules = DEFAULT_RULES) -> InputFormat:
    """What a file is. Content beats lines of text only where no text has such lines."""
    suffix = path.suffix.lower()
    if suffix in (".conll", ".conllu"):
        return "conll"
    full = [line for _, line in islice(read_lines(path, rules), _LINES_TO_LOOK_AT) if not is_blank(line)]
    sniffed = sniff(path, rules) if full else None
    match sniffed.format if sniffed else None:
        case "conllu":
            return "conll"
        case "lines":
            return "lines"
        case "jsonl" | "spans":
            return "jsonl"
        case "table" if suffix in (".csv", ".tsv") or all(PREFIX in line for line in full[1:]):
            assert sniffed is not None
            widths = [len(row) for _, row in islice(table_rows(path, sniffed.delimiter or ",", rules), 100)]
            return "table" if widths and min(widths) > 1 else "text"
        case "columns" if _are_tagged(path, full):
            return "conll"
    return "text"


def _are_tagged(path: Path, lines: list[str]) -> bool:
    """Whether all lines, but a header, are words with tags of spans, or there are starts of documents."""
    if any(map(is_document_start, lines)):
        return True
    layout = find_layout(lines)
    rows = [(line, layout.split(line)) for line in lines]
    rows = [(line, row) for line, row in rows if not line.startswith("#") or looks_like_a_tag(row[-1])]
    if len(rows) > 2 and are_names([rows[0][1][0], rows[0][1][-1]]):
        del rows[0]
    if layout.width < 2 or len(rows) < 2:
        return False
    others = [line for line, row in rows if len(row) != layout.width or not looks_like_a_tag(row[-1])]
    if others and len(others) * 2 < len(rows):
        _LOGGER.warning("%s is read as lines of text, though most look like words with tags; not %r", path, others[0])
    return not others


def _plain(path: Path, rules: ReadingRules) -> Iterator[InputText]:
    for _, line, position in read_lines_and_places(path, rules):
        if line.strip():
            yield InputText(rules.sentence(line), line, position)


def _words(path: Path, rules: ReadingRules) -> Iterator[InputText]:
    """The words of every sentence: the first column, or in CoNLL-U the second."""
    lines = [line for _, line in islice(read_lines(path, rules), _LINES_TO_LOOK_AT)]
    layout: Layout = find_layout(lines)
    if path.suffix.lower() == ".conllu" and not layout.is_conllu:
        if layout.width and (layout.delimiter != "\t" or layout.width < 2):
            raise DatasetError(f"{path} is not CoNLL-U: its rows do not begin with a number and a tab")
        layout = replace(layout, is_numbered=True)
    if layout.has_tags_first:
        raise DatasetError(f"{path} has tags such as B-LOC in its first column; put the words there")
    column = layout.word_column
    size = path.stat().st_size
    with path.open("rb") as file:
        last = max(1, sum(1 for _ in file))
    sentences = read_rows_of_words(path, rules, layout=layout)
    if not layout.is_conllu:
        labels = [layout.width - 1] if layout.width > column + 1 else []
        sentences = without_header(path, sentences, column, labels, rules)
    for rows in sentences:
        words = [row.fields[column] for row in rows]
        if not all(words):
            number = next(row.line for row in rows if not row.fields[column])
            raise DatasetError(f"{path}, line {number}: column {column} holds no word")
        yield InputText(Sentence(words), " ".join(words), min(size, size * rows[-1].line // last))


def _texts(path: Path, file_format: InputFormat, rules: ReadingRules) -> Iterator[InputText]:
    size = path.stat().st_size
    num_empty = 0
    for text in _bare_texts(path, file_format, rules):
        sentence = rules.sentence(text)
        if len(sentence):
            yield InputText(sentence, text, size)
        else:
            num_empty += 1
    if num_empty:
        _LOGGER.warning("%s: %d texts without words are left out", path, num_empty)


def _bare_texts(path: Path, file_format: InputFormat, rules: ReadingRules) -> Iterable[str]:
    if file_format == "lines":
        return (text for _, _, text in read_labelled_lines(path, rules))
    if file_format == "table":
        delimiter = sniff(path, rules).delimiter or ","
        return (text for _, _, text in read_table(path, None, None, delimiter, rules))
    return _json_texts(path, rules)


def _json_texts(path: Path, rules: ReadingRules) -> Iterator[str]:
    for number, (text,) in read_json_objects(path, ("text",), rules):
        for one in text if isinstance(text, list) else [text]:
            if not isinstance(one, str):
                raise DatasetError(f"{path}, line {number}: the field 'text' holds neither text nor a list of texts")
            yield one
