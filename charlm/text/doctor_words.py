"""What a text is made of as words: how large a vocabulary is at several cut-offs, and what it leaves unknown."""

# W = different words, most frequent first

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from charlm.config import SplitConfig
from charlm.units.unit import find_unit
from charlm.units.word_tokenizers import EOS_TOKEN, UNK_TOKEN

_MIN_COUNTS = (1, 2, 3, 5, 10, 20)
_READ_LITERALLY = ("whitespace", "moses")
LITERALS = (UNK_TOKEN, EOS_TOKEN)


@dataclass(frozen=True)
class Vocabulary:
    """The words of a text that occur often enough."""

    min_count: int
    size: int
    """Its words, `<unk>` included."""

    coverage: float
    """Share of the text that they make up, each end of a line included."""

    unk_rate: float
    """Share of `<unk>` to expect in new text of the kind: of this one, had each word been counted elsewhere only."""


@dataclass(frozen=True)
class WordReport:
    """A text as words."""

    tokenizer: str
    words: int
    """All of them, each end of a line included."""

    types: int
    """Different ones."""

    vocabularies: list[Vocabulary]


class WordExamination:
    """Counts the words of a text, as `prepare --unit word` would."""

    def __init__(self, unit: str | None, tokenizer: str | None) -> None:
        found = find_unit(unit or "char")
        given = {} if tokenizer is None else {"tokenizer": tokenizer}
        split = SplitConfig.from_json({"unit": found.name} | found.default_split() | given)
        counted = found.with_split(split)
        self._tokenizer = split.tokenizer
        self._counter = None if self._tokenizer is None else counted.counter()
        self._literals: Counter[str] = Counter()

    def add(self, joined: bytes) -> None:
        """Count whole documents."""
        for literal in LITERALS:
            self._literals[literal] += joined.count(literal.encode())
        if self._counter is not None:
            self._counter.add(joined)

    @property
    def report(self) -> WordReport | None:
        """None where nobody has asked for words."""
        if self._counter is None or self._tokenizer is None:
            return None
        counts = self._counter.counts.ranked()
        return WordReport(self._tokenizer, counts.total, len(counts.counts), list(_vocabularies(counts.counts)))

    def advice(self) -> Iterator[str]:
        """What to know of literal special words."""
        for literal, number in self._literals.items():
            if not number:
                continue
            found = f"{literal} stands in the text {number:,} times: "
            if self._tokenizer is None:
                yield f"{found}a corpus that was tokenised before is for --unit word --tokenizer whitespace"
            elif self._tokenizer in _READ_LITERALLY:
                meaning = "a word that is not known" if literal == UNK_TOKEN else "the end of a line"
                yield f"{found}with the tokenizer {self._tokenizer} it is {meaning}"
            else:
                yield f"{found}the tokenizer {self._tokenizer} cuts it up; whitespace keeps it whole"


def _vocabularies(counts: np.ndarray) -> Iterator[Vocabulary]:
    total = max(int(counts.sum()), 1)
    for min_count in _MIN_COUNTS:
        kept = counts >= min_count  # (W,)
        # A word that occurs just often enough would have been left out without the occurrence that is looked at.
        unknown = int(counts[counts <= min_count].sum())
        yield Vocabulary(
            min_count,
            1 + int(np.count_nonzero(kept)),
            coverage=round(int(counts[kept].sum()) / total, 4),
            unk_rate=round(unknown / total, 4),
        )


def describe_words(report: WordReport) -> list[str]:
    """The report as lines of text."""
    return [
        f"words       {report.words:,} by {report.tokenizer}, {report.types:,} different",
        *(
            f"            --min-count {found.min_count}: {found.size:,} ids, {found.coverage:.2%} of the text; "
            f"about {found.unk_rate:.1%} <unk> in new text"
            for found in report.vocabularies
        ),
    ]
