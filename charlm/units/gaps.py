"""What stands between two words, and what it costs.

From the class of the character before a gap and that of the word after it the gap is predicted: nothing, one space, or
something else, which is then spelled. So `don't`, `do n't` and `don 't` of one text cost about the same, whatever
words a tokenizer makes of it, and words and gaps are a proper code of the text.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import cache

import numpy as np

from charlm.units.spelling import Spelling

NEWLINE, LETTER, DIGIT, OPENING, CLOSING, QUOTE, POINT, CLITIC, OTHER = range(9)
NUM_CLASSES = 9
_KINDS = ("", " ")  # the third kind is any other text
_SMOOTHING = 0.5  # added to each count (Krichevsky and Trofimov 1981)
_QUOTES = frozenset("\"'`´‘’‚“”„«»‹›")
_POINTS = frozenset(".,!?;:…。、，！？；：।")
_CLITIC = re.compile(r"['’]\w+|n['’]t", re.IGNORECASE)

Gap = tuple[int, int, str]
"""The class of the character before it, that of the word after it, and its text."""


@cache
def class_of(character: str) -> int:
    """The class of a character."""
    if character == "\n":
        return NEWLINE
    if character in _QUOTES:
        return QUOTE
    if character in _POINTS:
        return POINT
    category = unicodedata.category(character)
    by_category = {"L": LETTER, "M": LETTER, "N": DIGIT}
    return by_category.get(category[0], {"Ps": OPENING, "Pe": CLOSING}.get(category, OTHER))


def class_before(word: str) -> int:
    """The class of a word for the gap before it; clitics such as `'s` are one of their own."""
    return CLITIC if _CLITIC.fullmatch(word) else class_of(word[0])


class GapModel:
    """Bits that gaps cost.

    Attributes:
        counts: how often each gap occurs.
    """

    def __init__(self, counts: Mapping[Gap, int]) -> None:
        self._kinds = np.full((NUM_CLASSES, NUM_CLASSES, 3), _SMOOTHING)
        for (left, right, text), count in counts.items():
            self._kinds[left, right, _kind(text)] += count
        others = {text: 0 for _, _, text in counts if _kind(text) == 2}
        for (_, _, text), count in counts.items():
            if text in others:
                others[text] += count
        self._spelling = Spelling.of(sorted(others.items()))
        self._set_bits()

    def _set_bits(self) -> None:
        self._bits = -np.log2(self._kinds / self._kinds.sum(axis=-1, keepdims=True))

    def bits(self, gap: Gap) -> float:
        """What a gap costs."""
        left, right, text = gap
        kind = _kind(text)
        bits = float(self._bits[left, right, kind])
        return bits + self._spelling.bits(text) if kind == 2 else bits

    def likely(self, left: str, right: str) -> str:
        """The more frequent of nothing and one space between two words."""
        counts = self._kinds[class_of(left[-1]), class_before(right)]
        return _KINDS[int(counts[1] >= counts[0])]

    def to_json(self) -> dict[str, object]:
        return {
            "kinds": (self._kinds - _SMOOTHING).astype(int).ravel().tolist(),
            "others": self._spelling.ngrams,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> "GapModel":
        """The model in JSON; raises ValueError or TypeError when it is none."""
        kinds, others = value["kinds"], value["others"]
        if not isinstance(kinds, list) or not isinstance(others, dict):
            raise TypeError("a gap model has kinds and others")
        model = cls({})
        model._kinds = np.array(kinds, dtype=np.int64).reshape(NUM_CLASSES, NUM_CLASSES, 3) + _SMOOTHING
        model._spelling = Spelling(others)
        model._set_bits()
        return model


def _kind(text: str) -> int:
    return _KINDS.index(text) if text in _KINDS else 2
