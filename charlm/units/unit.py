"""Unit: what a language model reads and predicts one of, as a character or a byte.

Everything that differs from unit to unit is behind this protocol: how text becomes items and items become text, how
items are counted and encoded by the gigabyte, what an unknown item costs, and what an item is called. An item is kept
as bytes in a dictionary, and as text in JSON and in the files of counts.

A new unit is a class like `CharacterUnit` in a file of its own, an entry in `_UNITS`, and a word in `UnitName`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from charlm.config import UnitName
from charlm.errors import ConfigError
from charlm.units.bytes import ByteUnit
from charlm.units.characters import CharacterUnit
from charlm.units.encoded_lines import EncodedLines

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

    unknown_bits: float | None
    """Bits that naming an item outside the dictionary costs; none where that depends on the item."""

    must_beat_baseline: bool
    """True where a model is promoted only if its bits per byte are below those of the n-gram model of its corpus."""

    case_depends_on_neighbours: bool
    """True where lower-casing an item takes the letters beside it: `Σ` is `σ` within a word and `ς` at its end."""

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


_UNITS: dict[str, Unit] = {unit.name: unit for unit in (CharacterUnit(), ByteUnit())}


def find_unit(name: object) -> Unit:
    """The unit of a name; raises ConfigError when there is none."""
    if not isinstance(name, str) or name not in _UNITS:
        raise ConfigError(f"a unit is one of {', '.join(_UNITS)}; got {name!r:.100}")
    return _UNITS[name]
