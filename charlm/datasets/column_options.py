"""What programs written for Flair say about columns: its options, and the columns that are no labels.

| name of a column | what it gives |
| --- | --- |
| `text` | the words |
| `space-after` | `-`: no space follows the word |
| `feats`, `misc` | `Number=Plur|SpaceAfter=No`: a label for each feature; and white space |
| `head`, `head_id` | the number of the word that this one depends on |
| anything else | labels of words or of spans |
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from charlm.data.sentence import Sentence, Token
from charlm.datasets.lines import mistake
from charlm.datasets.rows import DOCUMENT_START, Row, Rows
from charlm.errors import DatasetError

TEXT = "text"
_SPACE_AFTER = "space-after"
_FEATURES = ("feats", "misc")
_HEADS = ("head", "head_id")
NOT_LABELS = frozenset([TEXT, _SPACE_AFTER, *_FEATURES, *_HEADS])


@dataclass(frozen=True, kw_only=True)
class ColumnOptions:
    """How the columns of a file are read, beside their names."""

    skip_first_line: bool = False
    """Whether the first line of every file holds names of columns."""

    label_name_map: Mapping[str, str] = field(default_factory=dict)
    """Other names for labels; `O` for none."""

    banned_sentences: Collection[str] = ()
    """Sentences with one of these texts in them are left out."""

    document_separator_token: str | None = None
    """The text of sentences that stand between documents, such as `-DOCSTART-`; they stay in the corpus."""

    every_sentence_is_independent: bool = False
    """Whether no sentence is context of another one."""

    documents_as_sentences: bool = False
    """Whether a document is one sentence; `document_separator_token` stands between them."""

    default_whitespace_after: int = 1
    """Spaces behind a word whose line says nothing about it."""

    def __post_init__(self) -> None:
        if self.documents_as_sentences and not self.document_separator_token:
            raise DatasetError("documents_as_sentences needs document_separator_token, such as -DOCSTART-")

    @property
    def first_line(self) -> int:
        """The number of the first line that is read."""
        return 2 if self.skip_first_line else 1

    @property
    def keeps_document_starts(self) -> bool:
        """Whether `-DOCSTART-` is a word."""
        return self.document_separator_token == DOCUMENT_START

    def renamed(self, label: str) -> str:
        return self.label_name_map.get(label, label)

    def documents(self, rows: Rows, text_column: int) -> Rows:
        """The rows of whole documents, without their separators, where documents are sentences."""
        if not self.documents_as_sentences:
            return rows
        found: Rows = [[]]
        for sentence in rows:
            for row in sentence:
                if row.fields[text_column] == self.document_separator_token:
                    found.append([])
                else:
                    found[-1].append(row)
        return [document for document in found if document]

    def finish(self, sentences: list[Sentence]) -> list[Sentence]:
        """The sentences that are not banned, as neighbours in their documents."""
        kept = [
            sentence
            for sentence in sentences
            if not any(text in sentence.to_plain_string() for text in self.banned_sentences)
        ]
        every = self.every_sentence_is_independent or self.documents_as_sentences
        for sentence in kept if every or self.document_separator_token else ():
            sentence.is_document_boundary = every or sentence.to_plain_string() == self.document_separator_token
        Sentence.set_context_for_sentences(kept)
        return kept


def delimiter_of(text: str | None) -> str | re.Pattern[str] | None:
    """What separates columns: one character or a plain text stands for itself, anything else is a regular expression.

    Raises DatasetError for what is no regular expression.
    """
    if text is None or len(text) == 1 or re.escape(text) == text:
        return text
    try:
        return re.compile(text)
    except re.error as error:
        raise DatasetError(f"column_delimiter {text!r} is no regular expression: {error}") from error


def sentences_of(
    path: Path, rows: Rows, column_format: Mapping[int, str], not_labels: Collection[str], options: ColumnOptions
) -> list[Sentence]:
    """The sentences of a file with what its columns in `not_labels` say."""
    text_column = next((column for column, layer in column_format.items() if layer == TEXT), 0)
    special = {column: layer for column, layer in column_format.items() if layer in not_labels and layer != TEXT}
    if not special and options.default_whitespace_after == 1:
        return [Sentence([row.fields[text_column] for row in sentence]) for sentence in rows]
    return [Sentence(_tokens(path, sentence, special, text_column, options)) for sentence in rows]


def _tokens(
    path: Path, rows: Sequence[Row], special: Mapping[int, str], text_column: int, options: ColumnOptions
) -> list[Token]:
    tokens = []
    for line, fields in rows:
        token = Token(fields[text_column], whitespace_after=options.default_whitespace_after)
        for column, layer in special.items():
            _take(path, line, token, layer, fields[column], options)
        tokens.append(token)
    return tokens


def _take(path: Path, line: int, token: Token, layer: str, cell: str, options: ColumnOptions) -> None:
    """Give a token what the cell of a special column says about it."""
    if layer == _SPACE_AFTER:
        if cell == "-":
            token.whitespace_after = 0
    elif layer in _HEADS:
        if not cell.isdecimal():
            if cell != "_":
                raise mistake(path, line, f"the head must be the number of a word, got {cell[:60]!r}")
            return
        token.head_id = int(cell)
    else:
        for feature in cell.split("|"):
            name, is_feature, value = feature.partition("=")
            if feature == "SpaceAfter=No":
                token.whitespace_after = 0
            elif is_feature and options.renamed(value) != "O":
                token.add_label(name, options.renamed(value))
