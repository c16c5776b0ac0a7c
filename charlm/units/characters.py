"""The unit of Flair's models: a character, which is one code point of Unicode."""

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from charlm.config import UnitName
from charlm.units.fixed_unit import FixedUnit
from charlm.units.id_table import IdTable

if TYPE_CHECKING:
    from charlm.units.code_points import CharacterCounter, CharacterEncoder

CODE_POINT_BITS = math.log2(0x110000)
"""Uniform cost of naming one of the 1,114,112 code points."""


class CharacterUnit(FixedUnit):
    """A code point. Its item is the character as UTF-8."""

    name: UnitName = "char"
    noun = "character"
    plural = "characters"
    counts_column = "character"
    table_columns: tuple[str, ...] = ("character", "code_point", "name")
    always_kept: tuple[str, ...] = ("\n", " ")
    in_flair = True
    unknown_bits: float | None = CODE_POINT_BITS
    must_beat_baseline = False  # a small corpus may suit an n-gram model better while the vectors are still of use
    case_depends_on_neighbours = True

    def to_text(self, item: bytes) -> str:
        return item.decode()

    def to_item(self, text: str) -> bytes:
        return text.encode()

    def describe(self, text: str) -> tuple[str, ...]:
        return show_character(text), f"U+{ord(text):04X}", unicodedata.name(text, "")

    def num_items(self, text: str) -> int:
        return len(text)

    def with_case(self, text: str, change: Callable[[str], str]) -> str:
        changed = change(text)
        return changed if len(text) == len(changed) == 1 else text

    def text_encoder(self, items: Sequence[str], id_type: np.dtype[np.unsignedinteger]) -> Callable[[str], np.ndarray]:
        return _TextEncoder(IdTable(items, id_type))

    def decode(self, items: Iterable[bytes | None]) -> str:
        return "".join("\N{REPLACEMENT CHARACTER}" if item is None else item.decode() for item in items)

    def counter(self) -> "CharacterCounter":
        from charlm.units.code_points import CharacterCounter  # loads pyarrow, which a dictionary does not need

        return CharacterCounter()

    def encoder(self, items: Sequence[str], id_type: np.dtype[np.unsignedinteger]) -> "CharacterEncoder":
        from charlm.units.code_points import CharacterEncoder

        return CharacterEncoder(IdTable(items, id_type))


class _TextEncoder:
    def __init__(self, table: IdTable) -> None:
        self._table = table

    def __call__(self, text: str) -> np.ndarray:
        return self._table.look_up(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32))


def show_character(character: str) -> str:
    """The character itself where it shows, an escape like `\\n` or `\\u200b` where it does not."""
    return character if character.isprintable() and character != " " else ascii(character)[1:-1].replace(" ", "' '")
