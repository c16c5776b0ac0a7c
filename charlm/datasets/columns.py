"""Words in columns: a word and its labels a line, an empty line between sentences, as in the CoNLL shared tasks.

Reads  train.txt …   `Berlin<TAB>B-LOC`, in BIO, IOB1, BIOES, BILOU or BMES where a column labels spans

A column labels spans where most of its tags look like `B-LOC`; else it labels words. Columns with other meanings, and
options: column_options.py.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from charlm.data.sentence import Sentence
from charlm.data.spans import OUTSIDE, is_span_tag, spans_from_tags, split_tag
from charlm.datasets.column_options import NOT_LABELS, TEXT, ColumnOptions, delimiter_of, sentences_of
from charlm.datasets.files import check_known, collector_paused
from charlm.datasets.headers import without_header
from charlm.datasets.lines import ReadingRules, mistake
from charlm.datasets.rows import CONLLU_COLUMNS, Layout, Row, Rows, read_rows_of_words
from charlm.datasets.tag_schemes import UNLABELLED, Scheme, find_scheme

_UNLABELLED_IN_FLAIR = frozenset(["", OUTSIDE])


@dataclass(frozen=True, kw_only=True)
class _Labels:
    """How labels are read."""

    check_tags: bool
    known: Collection[str] | None
    renamed: Callable[[str], str]
    unlabelled: frozenset[str]


@collector_paused()
def read_columns(
    paths: Sequence[Path],
    column_format: Mapping[int, str],
    *,
    column_delimiter: str | None = None,
    comment_symbol: str | None = None,
    rules: ReadingRules | None = None,
    check_tags: bool = True,
    known: Collection[str] | None = None,
    layouts: Sequence[Layout | None] | None = None,
    options: ColumnOptions | None = None,
) -> list[list[Sentence]]:
    """The sentences of each file; all files together decide which columns label spans.

    A header is left out and reported.

    Args:
        layouts: of the files, where they are known.
        options: those of Flair's readers, for which some columns are no labels (column_options.py); then `_` is the
            label of a word, but in CoNLL-U.

    Raises DatasetError with file and line where a column is missing, a tag is wrong, or a label is not among `known`.
    """
    not_labels = frozenset([TEXT]) if options is None else NOT_LABELS
    labels = _Labels(
        check_tags=check_tags,
        known=known,
        renamed=(options or ColumnOptions()).renamed,
        unlabelled=frozenset(UNLABELLED) if options is None else _UNLABELLED_IN_FLAIR,
    )
    options = options or ColumnOptions()
    rules = rules or ReadingRules()
    if options.skip_first_line:
        rules = replace(rules, header=False)
    text_column = next((column for column, layer in column_format.items() if layer == TEXT), 0)
    label_columns = [
        column for column, layer in column_format.items() if column != text_column and layer not in not_labels
    ]
    least = max([text_column, *column_format]) + 1
    files = []
    for path, layout in zip(paths, layouts or [None] * len(paths), strict=True):
        sentences = read_rows_of_words(
            path,
            rules,
            layout=layout,
            delimiter=delimiter_of(column_delimiter),
            comment_symbol=comment_symbol,
            least=least,
            first_line=options.first_line,
            document_column=text_column if options.keeps_document_starts else None,
        )
        sentences = without_header(path, sentences, text_column, label_columns, rules)
        files.append(options.documents(_checked_rows(path, sentences, text_column), text_column))
    words = [
        sentences_of(path, file, column_format, not_labels, options) for path, file in zip(paths, files, strict=True)
    ]
    for column, layer in column_format.items():
        if column != text_column and layer not in not_labels:
            _label(paths, files, words, column, layer, labels)
    return words


def _checked_rows(path: Path, sentences: Iterable[list[Row]], text_column: int) -> Rows:
    """The rows of a file, all of which hold a word."""
    file: Rows = []
    for rows in sentences:
        for row in rows:
            if not row.fields[text_column]:
                raise mistake(path, row.line, f"column {text_column} holds no word")
        file.append(rows)
    if not file:
        raise mistake(path, 1, "the file holds no word")
    return file


def _label(
    paths: Sequence[Path],
    files: Sequence[Rows],
    words: Sequence[list[Sentence]],
    column: int,
    layer: str,
    labels: "_Labels",
) -> None:
    """Put the labels of one column on the sentences."""
    scheme = _scheme_of(paths, files, column, layer)
    if labels.known is not None:
        for path, file in zip(paths, files, strict=True):
            _check_labels(path, file, column, labels.known, scheme)
    if not scheme.spans:
        _label_words(files, words, column, layer, labels)
        return
    name = _order_of(files, column, scheme)
    for path, file in zip(paths, files, strict=True):
        for row in chain(*file):
            if (tag := _tag(row, column, scheme)) != OUTSIDE and not is_span_tag(tag):
                raise mistake(path, row.line, f"{tag!r} is not the tag of a span such as B-{tag}")
        for rows in file if labels.check_tags else ():
            _check_tags(path, rows, column, scheme, name)
    for rows, sentence in zip(chain(*files), chain(*words), strict=True):
        for start, stop, value in spans_from_tags([_tag(row, column, scheme) for row in rows]):
            if (label := labels.renamed(value)) != OUTSIDE:
                sentence[start:stop].add_label(layer, label)


def _label_words(
    files: Sequence[Rows], sentences: Sequence[list[Sentence]], column: int, layer: str, labels: "_Labels"
) -> None:
    for file, words in zip(files, sentences, strict=True):
        unlabelled = UNLABELLED if _is_conllu(file) else labels.unlabelled
        for rows, sentence in zip(file, words, strict=True):
            for row, token in zip(rows, sentence, strict=True):
                if row.fields[column] in unlabelled:
                    continue
                if (label := labels.renamed(row.fields[column])) != OUTSIDE:
                    token.add_label(layer, label)


def _is_conllu(file: Rows) -> bool:
    """Whether the rows are those of CoNLL-U, where `_` means that nothing is said."""
    return len(file[0][0].fields) == CONLLU_COLUMNS and all(rows[0].fields[0] == "1" for rows in file)


def _tag(row: Row, column: int, scheme: Scheme) -> str:
    """The tag of a row in BIO or BIOES."""
    tag = row.fields[column]
    return OUTSIDE if tag in UNLABELLED else scheme.mapping.get(tag, tag)


def _scheme_of(paths: Sequence[Path], files: Sequence[Rows], column: int, layer: str) -> Scheme:
    counts = Counter(row.fields[column] for file in files for rows in file for row in rows)
    try:
        return find_scheme(counts, layer)
    except ValueError as error:
        names = ", ".join(map(str, paths))
        raise mistake(paths[0], files[0][0][0].line, f"column {column} of {names}: {error}") from error


def _order_of(files: Sequence[Rows], column: int, scheme: Scheme) -> str:
    """What rules the tags follow: those of BIOES, of BIO, or of IOB1: B stands only between two spans of one kind."""
    if scheme.name != "BIO":
        return "BIOES"
    for rows in chain(*files):
        previous = OUTSIDE
        for row in rows:
            tag = _tag(row, column, scheme)
            prefix, value = split_tag(tag)
            if prefix == "B" and split_tag(previous) not in (("I", value), ("B", value)):
                return "BIO"
            previous = tag
    return "IOB1"


def _check_labels(path: Path, file: Rows, column: int, known: Collection[str], scheme: Scheme) -> None:
    for row in chain(*file):
        tag = _tag(row, column, scheme)
        if tag != OUTSIDE:
            check_known(path, row.line, split_tag(tag)[1] if scheme.spans else tag, known)


def _check_tags(path: Path, rows: list[Row], column: int, scheme: Scheme, rules: str) -> None:
    """Raise DatasetError at the first tag of a sentence that breaks the rules of the scheme."""
    previous, written = OUTSIDE, OUTSIDE
    for row in rows:
        tag = _tag(row, column, scheme)
        here = OUTSIDE if tag == OUTSIDE else row.fields[column]
        if not _may_follow(previous, tag, rules):
            raise mistake(
                path,
                row.line,
                f"{here} cannot follow {written} in {scheme.name}; correct it "
                f"(ColumnCorpus accepts it with check_tags=False)",
            )
        previous, written = tag, here
    if not _may_follow(previous, OUTSIDE, rules):
        raise mistake(path, rows[-1].line, f"the sentence ends inside a span, with {written} in {scheme.name}")


def _may_follow(previous: str, tag: str, rules: str) -> bool:
    """Whether `tag` may stand behind `previous`; both are `O` at the ends of a sentence."""
    (before, old_value), (prefix, value) = split_tag(previous), split_tag(tag)
    if rules == "IOB1":
        return True
    goes_on = before in ("B", "I") and value == old_value
    if rules == "BIO":
        return prefix != "I" or goes_on
    if before in ("B", "I"):
        return prefix in ("I", "E") and goes_on
    return prefix in ("O", "B", "S")
