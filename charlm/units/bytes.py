"""The byte as a unit: nothing need be unknown, but in other scripts than Latin a text is two or three times as long."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from charlm.config import UnitName
from charlm.units.characters import show_character
from charlm.units.fixed_unit import FixedUnit
from charlm.units.id_table import IdTable

if TYPE_CHECKING:
    from charlm.units.code_points import ByteCounter, ByteEncoder

_CODE = "latin-1"  # a byte is written as the character of that code


class ByteUnit(FixedUnit):
    """A byte of UTF-8. Its item is that byte; as text it is the character of the same code."""

    name: UnitName = "byte"
    noun = "byte"
    plural = "bytes"
    counts_column = "character"
    table_columns: tuple[str, ...] = ("character", "code_point", "name")
    always_kept: tuple[str, ...] = ("\n", " ")
    in_flair = False
    unknown_bits: float | None = 8.0
    must_beat_baseline = False  # a small corpus may suit an n-gram model better while the vectors are still of use
    case_depends_on_neighbours = False

    def to_text(self, item: bytes) -> str:
        return item.decode(_CODE)

    def to_item(self, text: str) -> bytes:
        return text.encode(_CODE)

    def describe(self, text: str) -> tuple[str, ...]:
        return show_character(text), f"0x{ord(text):02x}", ""

    def num_items(self, text: str) -> int:
        return len(text.encode())

    def with_case(self, text: str, change: Callable[[str], str]) -> str:
        """Only ASCII letters have a case: the bytes of another one mean nothing alone."""
        return change(text) if len(text) == 1 and text.isascii() else text

    def text_encoder(self, items: Sequence[str], id_type: np.dtype[np.unsignedinteger]) -> Callable[[str], np.ndarray]:
        return _TextEncoder(IdTable(items, id_type))

    def decode(self, items: Iterable[bytes | None]) -> str:
        return b"".join(b"\xff" if item is None else item for item in items).decode(errors="replace")

    def counter(self) -> "ByteCounter":
        from charlm.units.code_points import ByteCounter  # loads pyarrow, which a dictionary does not need

        return ByteCounter()

    def encoder(self, items: Sequence[str], id_type: np.dtype[np.unsignedinteger]) -> "ByteEncoder":
        from charlm.units.code_points import ByteEncoder

        return ByteEncoder(IdTable(items, id_type))


class _TextEncoder:
    def __init__(self, table: IdTable) -> None:
        self._table = table

    def __call__(self, text: str) -> np.ndarray:
        return self._table.look_up(np.frombuffer(text.encode(), dtype=np.uint8))
