"""ColumnCorpus: a word and its labels a line, an empty line between sentences, as in the CoNLL shared tasks.

Reads  train.txt …   `Berlin<TAB>B-LOC`, in BIO, BIOES or IOB1 where a column labels spans

A column labels spans where most of its tags look like `B-LOC`; else it labels words.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from charlm.data.corpus import Corpus
from charlm.data.sentence import Sentence
from charlm.data.spans import OUTSIDE, is_span_tag, spans_from_tags, split_tag
from charlm.datasets.files import check_known, collector_paused, find_splits, mistake, read_lines

TEXT = "text"
_UNLABELLED = ("", "_", OUTSIDE)
_DOCUMENT_START = "-DOCSTART-"  # a line of CoNLL-2003 that is no sentence


class _Row(NamedTuple):
    """One word: the number of its line, and its columns."""

    line: int
    fields: list[str]


_Rows = list[list[_Row]]
"""The rows of one file, by sentence."""


class ColumnCorpus(Corpus):
    """A corpus of words in columns.

    Args:
        data_folder: where the files are.
        column_format: what stands in which column, counted from 0: `{0: "text", 1: "pos", 3: "ner"}`.
        train_file, dev_file, test_file: their names; without any, the names in the folder tell (see `find_splits`).
        column_delimiter: what stands between columns; by default a tab where a line has one, and white space elsewhere.
        comment_symbol: lines that begin with it are left out.
        check_tags: whether tags in a wrong order are an error; otherwise they are read as conlleval reads them.

    Raises DatasetError with file and line where a column is missing or a tag is wrong.
    """

    def __init__(
        self,
        data_folder: Path | str,
        column_format: Mapping[int, str],
        train_file: Path | str | None = None,
        test_file: Path | str | None = None,
        dev_file: Path | str | None = None,
        *,
        column_delimiter: str | None = None,
        comment_symbol: str | None = None,
        encoding: str = "utf-8",
        check_tags: bool = True,
        name: str | None = None,
        sample_missing_splits: bool = True,
    ) -> None:
        files = find_splits(data_folder, train_file, dev_file, test_file)
        read = iter(
            read_columns(
                files.found,
                column_format,
                column_delimiter=column_delimiter,
                comment_symbol=comment_symbol,
                encoding=encoding,
                check_tags=check_tags,
            )
        )
        train, dev, test = (next(read) if path else None for path in (files.train, files.dev, files.test))
        super().__init__(train, dev, test, name or str(data_folder), sample_missing_splits=sample_missing_splits)


@collector_paused()
def read_columns(
    paths: Sequence[Path],
    column_format: Mapping[int, str],
    *,
    column_delimiter: str | None = None,
    comment_symbol: str | None = None,
    encoding: str = "utf-8",
    check_tags: bool = True,
    known: Collection[str] | None = None,
) -> list[list[Sentence]]:
    """The sentences of each file; which columns label spans is told from all files together.

    Raises DatasetError with file and line where a column is missing, a tag is wrong, or a label is not among `known`.
    """
    text_column = next((column for column, layer in column_format.items() if layer == TEXT), 0)
    width = max([text_column, *column_format]) + 1
    files = [_read_rows(path, width, text_column, column_delimiter, comment_symbol, encoding) for path in paths]
    sentences = [[Sentence([row.fields[text_column] for row in rows]) for rows in file] for file in files]
    for column, layer in column_format.items():
        if column == text_column:
            continue
        spans = _labels_spans(files, column)
        if known is not None:
            for path, file in zip(paths, files, strict=True):
                _check_labels(path, file, column, known, spans=spans)
        if not spans:
            _label_words(files, sentences, column, layer)
            continue
        if check_tags:
            scheme = _scheme_of(files, column)
            for path, file in zip(paths, files, strict=True):
                for rows in file:
                    _check_tags(path, rows, column, scheme)
        _label_spans(files, sentences, column, layer)
    return sentences


def _read_rows(
    path: Path, width: int, text_column: int, delimiter: str | None, comment_symbol: str | None, encoding: str
) -> _Rows:
    """The words of a file, each with at least `width` columns."""
    sentences: _Rows = [[]]
    for number, line in read_lines(path, encoding):
        if comment_symbol and line.startswith(comment_symbol):
            continue
        if not line.strip() or line.startswith(_DOCUMENT_START):
            if sentences[-1]:
                sentences.append([])
            continue
        row = _Row(number, _fields(path, number, line, width, delimiter))
        if not row.fields[text_column]:
            raise mistake(path, number, f"column {text_column} holds no word")
        sentences[-1].append(row)
    if not sentences[-1]:
        sentences.pop()
    if not sentences:
        raise mistake(path, 1, "the file holds no word")
    return sentences


def _label_words(files: Sequence[_Rows], sentences: Sequence[list[Sentence]], column: int, layer: str) -> None:
    for rows, sentence in zip(chain(*files), chain(*sentences), strict=True):
        for row, token in zip(rows, sentence, strict=True):
            if row.fields[column] not in _UNLABELLED:
                token.add_label(layer, row.fields[column])


def _label_spans(files: Sequence[_Rows], sentences: Sequence[list[Sentence]], column: int, layer: str) -> None:
    for rows, sentence in zip(chain(*files), chain(*sentences), strict=True):
        for start, stop, value in spans_from_tags([_tag(row, column) for row in rows]):
            sentence[start:stop].add_label(layer, value)


def _fields(path: Path, number: int, line: str, width: int, delimiter: str | None) -> list[str]:
    """The columns of a line, at least `width` of them."""
    if delimiter is None and "\t" in line:
        delimiter = "\t"
    fields = line.split(delimiter)
    if len(fields) < width:
        raise mistake(path, number, f"{width} columns are needed, and {len(fields)} found: {line.strip()[:60]!r}")
    return fields


def _tag(row: _Row, column: int) -> str:
    return OUTSIDE if row.fields[column] in _UNLABELLED else row.fields[column]


def _labels_spans(files: Sequence[_Rows], column: int) -> bool:
    """Whether most tags of a column are tags of spans."""
    tags = [row.fields[column] for rows in chain(*files) for row in rows if row.fields[column] not in _UNLABELLED]
    return sum(map(is_span_tag, tags)) * 2 > len(tags)


def _scheme_of(files: Sequence[_Rows], column: int) -> str:
    """BIOES where a tag begins with E or S; IOB1 where B stands only between two spans of one kind; else BIO."""
    prefixes = set()
    b_begins_where_i_could = False
    for rows in chain(*files):
        previous = OUTSIDE
        for row in rows:
            tag = _tag(row, column)
            prefix, value = split_tag(tag)
            prefixes.add(prefix)
            b_begins_where_i_could |= prefix == "B" and split_tag(previous) not in (("I", value), ("B", value))
            previous = tag
    if prefixes & {"E", "S"}:
        return "BIOES"
    return "BIO" if b_begins_where_i_could else "IOB1"


def _check_labels(path: Path, file: _Rows, column: int, known: Collection[str], *, spans: bool) -> None:
    for row in chain(*file):
        tag = _tag(row, column)
        if tag != OUTSIDE:
            check_known(path, row.line, split_tag(tag)[1] if spans else tag, known)


def _check_tags(path: Path, rows: list[_Row], column: int, scheme: str) -> None:
    """Raise DatasetError at the first tag of a sentence that breaks the rules of the scheme."""
    previous = OUTSIDE
    for row in rows:
        tag = _tag(row, column)
        if tag != OUTSIDE and not is_span_tag(tag):
            raise mistake(path, row.line, f"{tag!r} is no tag of a span such as B-{tag}")
        if not _may_follow(previous, tag, scheme):
            raise mistake(
                path, row.line, f"{tag} cannot stand behind {previous} in {scheme}; mend it or say check_tags=False"
            )
        previous = tag
    if not _may_follow(previous, OUTSIDE, scheme):
        raise mistake(path, rows[-1].line, f"the sentence ends inside a span, with {previous} in {scheme}")


def _may_follow(previous: str, tag: str, scheme: str) -> bool:
    """Whether `tag` may stand behind `previous`; both are `O` at the ends of a sentence."""
    (before, old_value), (prefix, value) = split_tag(previous), split_tag(tag)
    if scheme == "IOB1":
        return True
    goes_on = before in ("B", "I") and value == old_value
    if scheme == "BIO":
        return prefix != "I" or goes_on
    if before in ("B", "I"):
        return prefix in ("I", "E") and goes_on
    return prefix in ("O", "B", "S")
