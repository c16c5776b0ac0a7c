"""The word as a unit: what a tokenizer makes of a text, with `<eos>` at the end of every line.

A text has a fifth as many words as characters, but no dictionary has them all. So an encoded line keeps, beside its
ids, what they leave out: how its unknown words are spelled, and what stands between its words (word_coding.py).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, get_args

import numpy as np

from charlm.config import DictionaryConfig, SplitConfig, UnitName
from charlm.config.text import Normalization
from charlm.errors import ConfigError, DictionaryError
from charlm.storage.atomic import JsonObject
from charlm.units.unk_limits import MANY_UNKNOWN
from charlm.units.word_tokenizers import UNK_TOKEN, SentenceRule, WordTokenizer, find_sentence_rule, find_tokenizer

if TYPE_CHECKING:
    from charlm.units.counts import Counts
    from charlm.units.word_coding import Coding
    from charlm.units.word_shards import WordCounter, WordEncoder

_SETTINGS = ("tokenizer", "tokenizer_version", "sentences", "sentences_version", "lowercase")


class _Word:
    """What every unit of words is called."""

    name: UnitName = "word"
    noun = "word"
    plural = "words"
    counts_column = "word"
    table_columns: tuple[str, ...] = ("word",)
    always_kept: tuple[str, ...] = ("\n",)
    in_flair = False
    unknown_bits: float | None = None
    case_depends_on_neighbours = False
    items_are_characters = False
    unk_limits = MANY_UNKNOWN
    must_beat_baseline = True


@dataclass
class WordUnit(_Word):
    """A word. Its item is the word as UTF-8; the end of a line is the item `\\n`.

    Two units are equal that cut every text into the same words.
    """

    tokenizer: str = "rules"
    tokenizer_version: str = "2"
    sentences: str = "none"
    sentences_version: str = ""
    lowercase: bool = False
    normalization: Normalization = "none"
    """The Unicode form that a text is brought into before it is cut."""

    coding_json: JsonObject | None = field(default=None, compare=False, repr=False)
    """What ids leave out, as JSON (word_coding.py); none before a text was counted."""

    # ---- settings ----------------------------------------------------------------------------------------------

    def with_split(self, split: SplitConfig) -> "WordUnit":
        tokenizer = find_tokenizer(split.tokenizer or "rules")
        sentences = find_sentence_rule(split.sentences or "none")
        names = (tokenizer.name, tokenizer.version, sentences.name, sentences.version)
        return WordUnit(*names, bool(split.lowercase), split.normalization)

    def default_split(self) -> JsonObject:
        return {
            "tokenizer": "rules",
            "sentences": "none",
            "lowercase": False,
            "directions": "forward",
            "normalization": "NFC",
        }

    def default_dictionary(self) -> DictionaryConfig:
        return DictionaryConfig(coverage=1.0, min_count=3, max_size=100_000)

    @property
    def settings(self) -> JsonObject:
        form = {} if self.normalization == "none" else {"normalization": self.normalization}
        return {name: getattr(self, name) for name in _SETTINGS} | form | {"coding": self.coding_json}

    def with_settings(self, settings: Mapping[str, object]) -> "WordUnit":
        values = {name: settings.get(name) for name in _SETTINGS}
        coding, form = settings.get("coding"), settings.get("normalization", "none")
        if (
            not all(isinstance(values[name], str) for name in _SETTINGS[:-1])
            or not isinstance(values["lowercase"], bool)
            or not isinstance(coding, dict | None)
            or form not in get_args(Normalization)
        ):
            raise DictionaryError("a dictionary of words names its tokenizer, sentences, lowercase and Unicode form")
        return WordUnit(**values, normalization=form, coding_json=coding)  # type: ignore[arg-type]  # checked

    @property
    def identity(self) -> str:
        return " ".join(["word", *(str(getattr(self, name)) for name in _SETTINGS), self.normalization])

    @property
    def keeps_text(self) -> bool:
        return not self.lowercase and self._parts[0].keeps_text

    @cached_property
    def _parts(self) -> tuple[WordTokenizer, SentenceRule]:
        """The tokenizer and the rule for sentences; raises ConfigError when those at hand are of another version."""
        tokenizer, sentences = find_tokenizer(self.tokenizer), find_sentence_rule(self.sentences)
        for known, found in ((self.tokenizer_version, tokenizer), (self.sentences_version, sentences)):
            if known != found.version:
                raise ConfigError(
                    f"the words of this dictionary were made by {found.name}, version {known!r}, here is "
                    f"{found.version!r}, whose words may differ; install that version, or prepare the text again"
                )
        return tokenizer, sentences

    @cached_property
    def coding(self) -> "Coding | None":
        from charlm.units.word_coding import Coding

        return None if self.coding_json is None else Coding.from_json(self.coding_json)

    def losses(self, counts: "Counts") -> dict[str, int]:
        from charlm.units.word_coding import PRUNED

        return {PRUNED: counts.context[PRUNED]} if PRUNED in counts.context else {}

    def fitted(self, counts: "Counts", items: Sequence[str]) -> "WordUnit":
        from charlm.units.word_coding import Coding

        return self.with_settings(self.settings | {"coding": Coding.of(counts, frozenset(items)).to_json()})

    def __getstate__(self) -> JsonObject:
        """Without the tokenizer, which may be a function that cannot be pickled: it is found again by its name."""
        return {name: value for name, value in vars(self).items() if name not in ("_parts", "coding")}

    # ---- items -------------------------------------------------------------------------------------------------

    def to_text(self, item: bytes) -> str:
        return item.decode()

    def to_item(self, text: str) -> bytes:
        return text.encode()

    def describe(self, text: str) -> tuple[str, ...]:
        return (text if text.isprintable() else ascii(text)[1:-1],)

    def with_case(self, text: str, change: Callable[[str], str]) -> str:
        """The word itself: in another case most words have no id."""
        return text

    # ---- text --------------------------------------------------------------------------------------------------

    def num_items(self, text: str) -> int:
        return len(self.words(text))

    def words(self, text: str) -> list[str]:
        """The items of a text, known or not: its words, and a newline for each line and each end of a sentence."""
        from charlm.units.word_values import KINDS, words_of

        return [KINDS.item(word) for word in words_of(text, *self._parts, self.lowercase, self.normalization)]

    def text_encoder(self, items: Sequence[str], id_type: np.dtype[np.unsignedinteger]) -> Callable[[str], np.ndarray]:
        return _TextEncoder(self, {item: idx for idx, item in enumerate(items)}, id_type)

    def decode(self, items: Iterable[bytes | None]) -> str:
        return self.detokenize(UNK_TOKEN if item is None else item.decode() for item in items)

    def detokenize(self, words: Iterable[str]) -> str:
        """The text of words, with the likelier of nothing and one space between two of them."""
        parts: list[str] = []
        for word in words:
            if parts:
                parts.append(self.between(parts[-1], word))
            parts.append(word)
        return "".join(parts)

    def between(self, left: str, right: str) -> str:
        """What stands between two texts that follow one another: nothing or a space."""
        if not left or not right or left[-1].isspace() or right[0].isspace():
            return ""
        return " " if self.coding is None else self.coding.gaps.likely(left, right.split(maxsplit=1)[0])

    def counter(self) -> "WordCounter":
        from charlm.units.word_shards import WordCounter  # loads pyarrow, which a dictionary does not need

        return WordCounter(*self._parts, self.lowercase, self.normalization)

    def encoder(self, items: Sequence[str], id_type: np.dtype[np.unsignedinteger]) -> "WordEncoder":
        from charlm.units.word_shards import WordEncoder

        return WordEncoder(*self._parts, self.lowercase, self.normalization, self.coding, items, id_type)


@dataclass(frozen=True)
class _TextEncoder:
    unit: WordUnit
    ids: dict[str, int]
    id_type: np.dtype[np.unsignedinteger]

    def __call__(self, text: str) -> np.ndarray:
        return np.array([self.ids.get(word, 0) for word in self.unit.words(text)], dtype=self.id_type)
