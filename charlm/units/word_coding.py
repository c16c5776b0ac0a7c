"""What the ids of words do not say of a text, and what it costs to say it.

Three things are left out of ids: how unknown words are spelled, what stands between words, and whether the end of a
line is a newline, a literal `<eos>` or the end of a sentence inside a line. Each has a small model, made from the
counts of the train text and kept in the dictionary. Together with the ids they are a proper code: words and gaps
rebuild the text, so that the bits of a word model and of a character model stand on one scale.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from charlm.errors import DictionaryError
from charlm.units.counts import Counts
from charlm.units.gaps import Gap, GapModel
from charlm.units.spelling import Spelling
from charlm.units.word_tokenizers import EOS_TOKEN, UNK_TOKEN
from charlm.units.word_values import KINDS

_RARE_COUNT = 2  # words that occur so often at most are spelled as unknown ones are
_LEAST_RARE, _MOST_RARE = 1_000, 20_000  # types that the spelling is learned from
_SMOOTHING = 0.5
_GAP = "gap"
LITERAL_EOS, SENTENCE_END = f"literal {EOS_TOKEN}", "sentence end"
PRUNED = "words that occurred once, not counted for want of memory"


def gap_name(gap: Gap) -> str:
    """The name of a gap among the counts of a text."""
    return f"{_GAP} {gap[0]} {gap[1]} {gap[2]}"


def _gaps_in(context: Mapping[str, int]) -> dict[Gap, int]:
    gaps: dict[Gap, int] = {}
    for name, count in context.items():
        kind, _, rest = name.partition(" ")
        if kind == _GAP:
            left, right, text = rest.split(" ", 2)
            gaps[int(left), int(right), text] = count
    return gaps


@dataclass(frozen=True)
class Coding:
    """The models of what ids leave out."""

    spelling: Spelling
    gaps: GapModel
    kinds: dict[str, int]
    """How often the names of KINDS occur in the train text, and unknown words under the name of nothing."""

    @classmethod
    def of(cls, counts: Counts, known: Collection[str]) -> "Coding":
        """The coding of a text with these counts and the words that have an id."""
        items, numbers = counts.items.to_pylist(), counts.counts.tolist()
        words = [(word, count) for word, count in zip(items, numbers, strict=True) if word not in ("\n", UNK_TOKEN)]
        num_newlines = dict(zip(items, numbers, strict=True)).get("\n", 0)
        num_eos, num_ends = (counts.context.get(name, 0) for name in (LITERAL_EOS, SENTENCE_END))
        kinds = {
            KINDS.newline: num_newlines - num_eos - num_ends,
            KINDS.literal_eos: num_eos,
            KINDS.sentence_end: num_ends,
            KINDS.literal_unk: sum(n for word, n in zip(items, numbers, strict=True) if word == UNK_TOKEN),
            "": sum(count for word, count in words if word not in known),
        }
        return cls(Spelling.of((word, 1) for word in _rare(words)), GapModel(_gaps_in(counts.context)), kinds)

    def word_bits(self, word: str, *, is_known: bool) -> float:
        """What a word costs besides its id."""
        eos = (KINDS.newline, KINDS.literal_eos, KINDS.sentence_end)
        if word in eos:
            return self._kind_bits(word, eos)
        if word == KINDS.literal_unk:
            return self._kind_bits(word, ("", word))
        if is_known:
            return 0.0
        return self._kind_bits("", ("", KINDS.literal_unk)) + self.spelling.bits(word)

    def _kind_bits(self, kind: str, kinds: Collection[str]) -> float:
        total = sum(self.kinds[name] + _SMOOTHING for name in kinds)
        return -math.log2((self.kinds[kind] + _SMOOTHING) / total)

    def to_json(self) -> dict[str, object]:
        return {"spelling": self.spelling.ngrams, "gaps": self.gaps.to_json(), "kinds": self.kinds}

    @classmethod
    def from_json(cls, value: object) -> "Coding":
        """The coding in JSON; raises DictionaryError when it is none."""
        try:
            assert isinstance(value, dict)
            kinds = {name: int(value["kinds"][name]) for name in (*vars(KINDS).values(), "")}
            return cls(Spelling(value["spelling"]), GapModel.from_json(value["gaps"]), kinds)
        except (AssertionError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise DictionaryError(f"the coding of its words is damaged ({error!r:.80})") from error


def _rare(words: list[tuple[str, int]]) -> list[str]:
    """Words of the lowest counts, in the order of their code points: those that occur once or twice, where enough do.

    Where there are too many they are thinned out evenly.
    """
    by_count = sorted(words, key=lambda pair: (pair[1], pair[0]))
    num_rare = sum(count <= _RARE_COUNT for _, count in words)
    rare = sorted(word for word, _ in by_count[: max(num_rare, _LEAST_RARE)])
    return rare[:: max(1, math.ceil(len(rare) / _MOST_RARE))]
