"""Unit: what a language model reads and predicts one of, as a character, a byte or a word.

Everything that differs from unit to unit is behind this protocol: how text becomes items and items become text, how
items are counted and encoded by the gigabyte, what an unknown item costs, and what an item is called. An item is kept
as bytes in a dictionary, and as text in JSON and in the files of counts.

A new unit is a class like `CharacterUnit` in a file of its own, an entry in `_UNITS`, and a word in `UnitName`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from charlm.config import DictionaryConfig, SplitConfig, UnitName
from charlm.config.text import Normalization
from charlm.errors import ConfigError
from charlm.storage.atomic import JsonObject
from charlm.units.bytes import ByteUnit
from charlm.units.characters import CharacterUnit
from charlm.units.encoded_lines import EncodedLines
from charlm.units.unk_limits import UnkLimits

if TYPE_CHECKING:  # loads pyarrow, which those do not need who only read a dictionary
    from charlm.units.counts import Counts


class Counter(Protocol):
    """Adds up how often each item occurs, chunk by chunk."""

    def add(self, text: bytes | np.ndarray) -> None:
        """Count whole lines of UTF-8; raises UnicodeDecodeError for anything else."""

    @property
    def counts(self) -> "Counts":
        """What has been counted so far, in the order of the items."""


class Encoder(Protocol):
    """Turns chunks of text into ids."""

    def encode(self, chunk: np.ndarray) -> EncodedLines:
        """The lines of a chunk, uint8 (NUM_BEFORE + bytes + NUM_BEHIND,), with newlines around the text.

        The last line may have no newline. Raises UnicodeDecodeError where the text is not UTF-8.
        """


class Unit(Protocol):
    """What an item is."""

    name: UnitName
    """Its name in settings and in files."""

    noun: str
    plural: str

    counts_column: str
    """Column of the files of counts that holds the items."""

    table_columns: tuple[str, ...]
    """Columns of `characters.tsv` that describe an item."""

    always_kept: tuple[str, ...]
    """Items that every dictionary of a corpus holds, whether they occur or not."""

    in_flair: bool
    """True where Flair has this unit: it reads the model files, and its numbers must be reproduced exactly."""

    items_are_characters: bool
    """True where an item is a character, or that of a byte's code: such a dictionary is written for Flair too."""

    unk_limits: UnkLimits
    """How much `<unk>` is too much."""

    unknown_bits: float | None
    """Bits that naming an item outside the dictionary costs; none where that depends on the item."""

    must_beat_baseline: bool
    """True where a model is promoted only if its bits per byte are below those of the n-gram model of its corpus."""

    case_depends_on_neighbours: bool
    """True where lower-casing an item takes the letters beside it: `Σ` is `σ` within a word and `ς` at its end."""

    normalization: Normalization
    """The Unicode form that it brings a text into; `none` leaves it as it is."""

    @property
    def keeps_text(self) -> bool:
        """True where every text can be rebuilt from what is known of it, so that its bits are those of the text."""

    @property
    def settings(self) -> JsonObject:
        """How text becomes items, where units of one name differ in it: part of a dictionary."""

    @property
    def identity(self) -> str:
        """Its name with the settings that decide what the items of a text are."""

    def with_split(self, split: SplitConfig) -> "Unit":
        """The unit with the settings of a corpus; raises ConfigError for those that it does not have."""

    def default_split(self) -> JsonObject:
        """Settings of a corpus of this unit that differ from those of others, unless a user sets them."""

    def default_dictionary(self) -> DictionaryConfig:
        """The dictionary of a corpus of this unit, unless a user sets it."""

    def with_settings(self, settings: Mapping[str, object]) -> "Unit":
        """The unit with the `settings` of a dictionary; raises DictionaryError where they are damaged."""

    def losses(self, counts: "Counts") -> dict[str, int]:
        """What was left out of the counts of a text, by reason."""

    def fitted(self, counts: "Counts", items: Sequence[str]) -> "Unit":
        """The unit with what is learned from the counts of a text, in whose dictionary are `items`."""

    def between(self, left: str, right: str) -> str:
        """What stands between two pieces of text that were made of items."""

    def to_text(self, item: bytes) -> str:
        """The text of an item in JSON and in counts."""

    def to_item(self, text: str) -> bytes:
        """The item of such a text."""

    def describe(self, text: str) -> tuple[str, ...]:
        """The description of an item given as text: a value for each of `table_columns`."""

    def num_items(self, text: str) -> int:
        """How many ids a text has."""

    def with_case(self, text: str, change: Callable[[str], str]) -> str:
        """An item given as text after `change` (str.lower or str.upper); unchanged where one item would not do."""

    def text_encoder(self, items: Sequence[str], id_type: np.dtype[np.unsignedinteger]) -> Callable[[str], np.ndarray]:
        """A function from a text to its ids; `items` are those of all ids. It can be pickled."""

    def decode(self, items: Iterable[bytes | None]) -> str:
        """The text of items; an unknown one (None) and broken UTF-8 become U+FFFD."""

    def counter(self) -> Counter:
        """An empty counter."""

    def encoder(self, items: Sequence[str], id_type: np.dtype[np.unsignedinteger]) -> Encoder:
        """An encoder of whole files; `items` are those of all ids, the first of them is `<unk>`."""


_UNITS: dict[str, Unit | None] = {"char": CharacterUnit(), "byte": ByteUnit(), "word": None}
"""By name; None for one that is loaded with its tokenizers when it is first asked for."""


def find_unit(name: object) -> Unit:
    """The unit of a name; raises ConfigError when there is none."""
    if not isinstance(name, str) or name not in _UNITS:
        raise ConfigError(f"a unit is one of {', '.join(_UNITS)}; got {name!r:.100}")
    unit = _UNITS[name]
    if unit is None:
        from charlm.units.words import WordUnit

        unit = _UNITS[name] = WordUnit()
    return unit


def as_unit(unit: Unit | UnitName) -> Unit:
    """The unit itself, or the one of a name."""
    return find_unit(unit) if isinstance(unit, str) else unit


def with_defaults(split: SplitConfig) -> SplitConfig:
    """`split` with the settings of its unit that are not set; raises ConfigError for settings of another unit."""
    unit = find_unit(split.unit)
    unit.with_split(split)
    missing = {name: value for name, value in unit.default_split().items() if getattr(split, name) is None}
    return dataclasses.replace(split, **missing)


def unit_of_split(split: SplitConfig) -> Unit:
    """The unit of a corpus with its settings; raises ConfigError for settings of another unit."""
    return find_unit(split.unit).with_split(split)
