"""UniversalDependenciesCorpus: treebanks in CoNLL-U (https://universaldependencies.org/format.html).

Reads  *-ud-train.conllu …

Every token gets the layers `lemma`, `upos`, `pos` (the treebank's own tags), `dependency`, one layer for each
morphological feature (`number`, `case` …), and its head. White space is kept: `SpaceAfter=No` of words and of
multiword tokens.
"""

from collections.abc import Collection
from pathlib import Path

from charlm.data.sentence import Sentence, Token
from charlm.datasets.files import FileCorpus, check_known, collector_paused
from charlm.datasets.lines import DEFAULT_RULES, ReadingRules, is_blank, mistake, read_lines
from charlm.datasets.rows import DOCUMENT_START

_COLUMNS = 10


class UniversalDependenciesCorpus(FileCorpus):
    """A treebank; its files are those named, or the `.conllu` files of the folder whose names show what they are.

    Raises DatasetError with file and line where a line is no CoNLL-U.
    """

    def __init__(
        self,
        data_folder: Path | str,
        train_file: Path | str | None = None,
        test_file: Path | str | None = None,
        dev_file: Path | str | None = None,
        *,
        name: str | None = None,
        sample_missing_splits: bool = True,
    ) -> None:
        super().__init__(
            data_folder,
            (train_file, dev_file, test_file),
            read_conllu,
            suffix=".conllu",
            name=name,
            sample_missing_splits=sample_missing_splits,
        )


@collector_paused()
def read_conllu(
    path: Path,
    label_type: str | None = None,
    known: Collection[str] | None = None,
    rules: ReadingRules = DEFAULT_RULES,
) -> list[Sentence]:
    """The sentences of a CoNLL-U file; where `known` is given, labels of the layer `label_type` must be among them."""
    sentences: list[Sentence] = []
    tokens: list[Token] = []
    multiword: _Multiword | None = None
    for number, line in read_lines(path, rules):
        if line.startswith("#"):
            continue
        if not line or is_blank(line) or line.startswith(DOCUMENT_START):
            if tokens:
                sentences.append(Sentence(tokens))
            tokens, multiword = [], None
            continue
        fields = line.split("\t")
        while len(fields) > _COLUMNS and not fields[-1]:
            fields.pop()
        if len(fields) != _COLUMNS:
            raise mistake(
                path, number, f"{_COLUMNS} columns are needed, and {len(fields)} found: {line.strip()[:60]!r}"
            )
        word_id = fields[0]
        if "." in word_id:  # an empty node, which no word of the text stands for
            continue
        if "-" in word_id:
            multiword = _Multiword(fields, last=word_id.partition("-")[2])
            continue
        if word_id != str(len(tokens) + 1):
            raise mistake(path, number, f"word {len(tokens) + 1} is expected, and {word_id!r} found")
        token = _token(path, number, fields)
        for label in token.get_labels(label_type) if known is not None else ():
            check_known(path, number, label.value, known)
        tokens.append(token)
        if multiword is not None:
            multiword.parts.append(token)
            if word_id == multiword.last:
                multiword.set_white_space()
                multiword = None
    if tokens:
        sentences.append(Sentence(tokens))
    if not sentences:
        raise mistake(path, 1, "the file holds no word")
    return sentences


class _Multiword:
    """A token of the text that stands for several words: `don't` for `do` and `n't`, `im` for `in` and `dem`."""

    def __init__(self, fields: list[str], last: str) -> None:
        self.text, self.misc, self.last = fields[1], fields[9], last
        self.parts: list[Token] = []

    def set_white_space(self) -> None:
        """No space between the words where they spell the token; behind them what stands behind the token."""
        if "".join(part.text for part in self.parts) == self.text:
            for part in self.parts:
                part.whitespace_after = 0
        self.parts[-1].whitespace_after = _white_space(self.misc)


def _token(path: Path, number: int, fields: list[str]) -> Token:
    _, word, lemma, upos, pos, features, head, dependency, _, misc = fields
    if not word:
        raise mistake(path, number, "column 1 holds no word")
    if not (head.isdecimal() or head == "_"):
        raise mistake(path, number, f"the head must be the number of a word, got {head!r}")
    token = Token(word, None if head == "_" else int(head), _white_space(misc))
    for layer, value in (("lemma", lemma), ("upos", upos), ("pos", pos), ("dependency", dependency)):
        if value != "_" or word == "_":
            token.add_label(layer, value)
    for feature in features.split("|"):
        layer, is_feature, value = feature.partition("=")
        if is_feature:
            token.add_label(layer.lower(), value)
    return token


def _white_space(misc: str) -> int:
    return 0 if "SpaceAfter=No" in misc.split("|") else 1
