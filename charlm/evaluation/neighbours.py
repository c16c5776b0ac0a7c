"""Words that are nearest to a word in its context, and words that mean different things in different contexts.

It is what contextual embeddings are for: `return` is a verb in one sentence and a noun in another, and its neighbours
in the two differ.
"""

# N = words, E = embedding length

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

_NUM_AROUND = 4
_LONGEST_WORD = 40  # characters of a word that is shown
_FEWEST, _SHORTEST = 3, 4  # occurrences, and characters, of a word whose contexts are compared
_MOST = 200  # occurrences of it


@dataclass(frozen=True)
class Context:
    """A word and the words around it in its sentence; as text the word stands in brackets: `the [grass] is green`."""

    before: str
    word: str
    after: str

    @classmethod
    def of(cls, words: Sequence[str], position: int, *, num_around: int = _NUM_AROUND) -> Self:
        """The context of one word of a sentence."""
        before = words[max(0, position - num_around) : position]
        after = words[position + 1 : position + 1 + num_around]
        return cls(" ".join(map(_short, before)), _short(words[position]), " ".join(map(_short, after)))

    def __str__(self) -> str:
        return " ".join(part for part in (self.before, f"[{self.word}]", self.after) if part)


@dataclass(frozen=True)
class EmbeddedWord:
    """A word in its sentence, and its vector."""

    word: str
    place: Context
    vector: npt.NDArray[np.float32]

    @property
    def context(self) -> str:
        """The sentence's words around it, itself in brackets."""
        return str(self.place)


@dataclass(frozen=True)
class Neighbour:
    """A word in its context, and the cosine of its vector to another one's."""

    place: Context
    cosine: float


@dataclass(frozen=True)
class WordNeighbours:
    """A word in one context, and the words that are nearest to it, best first."""

    place: Context
    neighbours: list[Neighbour]


def nearest_words(query: EmbeddedWord, candidates: Sequence[EmbeddedWord], *, num: int) -> list[EmbeddedWord]:
    """The `num` candidates of greatest cosine to `query`, each context once, best first."""
    return [candidate for candidate, _ in _nearest(query, candidates, num)]


def neighbours_of(query: EmbeddedWord, candidates: Sequence[EmbeddedWord], *, num: int) -> WordNeighbours:
    """The words in other contexts that are nearest to `query`."""
    others = [candidate for candidate in candidates if candidate.context != query.context]
    found = [Neighbour(candidate.place, cosine) for candidate, cosine in _nearest(query, others, num)]
    return WordNeighbours(query.place, found)


def ambiguous_words(words: Sequence[EmbeddedWord], *, num: int) -> list[tuple[EmbeddedWord, EmbeddedWord]]:
    """Two occurrences of each of the `num` words whose vectors differ most from context to context, greatest first.

    Of words of letters only, at least four of them, which occur at least three times.
    """
    by_word: dict[str, list[EmbeddedWord]] = defaultdict(list)
    for word in words:
        if word.word.isalpha() and len(word.word) >= _SHORTEST:
            by_word[word.word].append(word)
    pairs = []
    for found in by_word.values():
        if len({word.context for word in found}) >= _FEWEST:
            first, second = different_contexts(found, num=2)
            vectors = _unit(np.stack([first.vector, second.vector]))
            pairs.append((float(vectors[0] @ vectors[1]), first, second))
    pairs.sort(key=lambda pair: (pair[0], pair[1].word))
    return [(first, second) for _, first, second in pairs[:num]]


def different_contexts(occurrences: Sequence[EmbeddedWord], *, num: int) -> list[EmbeddedWord]:
    """At most `num` of the occurrences of a word, those whose vectors differ most; fewer where there are fewer."""
    once = list({word.context: word for word in occurrences}.values())[:_MOST]
    if len(once) <= num or num < 2:
        return once[:num]
    vectors = _unit(np.stack([word.vector for word in once]))
    cosines = vectors @ vectors.T  # (N, N)
    chosen = [int(place) for place in np.unravel_index(int(np.argmin(cosines)), cosines.shape)]
    while len(chosen) < num:
        nearest = cosines[chosen].max(axis=0)
        nearest[chosen] = np.inf
        chosen.append(int(np.argmin(nearest)))
    return [once[place] for place in sorted(chosen)]


def _short(word: str) -> str:
    return word if len(word) <= _LONGEST_WORD else f"{word[: _LONGEST_WORD - 1]}…"


def _nearest(query: EmbeddedWord, candidates: Sequence[EmbeddedWord], num: int) -> list[tuple[EmbeddedWord, float]]:
    if not candidates or num < 1:
        return []
    vectors = _unit(np.stack([candidate.vector for candidate in candidates]))  # (N, E)
    cosines = vectors @ _unit(query.vector[None])[0]
    best: dict[str, tuple[EmbeddedWord, float]] = {}
    for index in np.argsort(-cosines, kind="stable"):
        best.setdefault(candidates[index].context, (candidates[index], float(cosines[index])))
        if len(best) == num:
            break
    return list(best.values())


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rows of length one; a row of zeros stays, (N, E)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.zeros_like(vectors)
    np.divide(vectors, lengths, out=unit, where=lengths > 0)
    return unit
