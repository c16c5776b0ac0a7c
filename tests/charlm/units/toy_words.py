"""A unit of words between blanks, as small as one can be: it shows what a new unit has to bring, and that it is all."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import numpy as np

from charlm.arrays.arrow import strings
from charlm.config import UnitName
from charlm.units.counts import Counts
from charlm.units.encoded_lines import NUM_BEFORE, NUM_BEHIND, EncodedLines
from charlm.units.fixed_unit import FixedUnit


class ToyWordUnit(FixedUnit):
    name: UnitName = cast(UnitName, "toy")
    noun = "word"
    plural = "words"
    counts_column = "word"
    table_columns: tuple[str, ...] = ("word",)
    always_kept: tuple[str, ...] = ("\n",)
    in_flair = False
    items_are_characters = False
    unknown_bits: float | None = None
    case_depends_on_neighbours = False

    def to_text(self, item: bytes) -> str:
        return item.decode()

    def to_item(self, text: str) -> bytes:
        return text.encode()

    def describe(self, text: str) -> tuple[str, ...]:
        return (ascii(text)[1:-1],)

    def num_items(self, text: str) -> int:
        return len(words(text))

    def with_case(self, text: str, change: Callable[[str], str]) -> str:
        return change(text)

    def text_encoder(self, items: Sequence[str], id_type: np.dtype[np.unsignedinteger]) -> Callable[[str], np.ndarray]:
        ids = {item: idx for idx, item in enumerate(items)}
        return lambda text: np.array([ids.get(word, 0) for word in words(text)], dtype=id_type)

    def decode(self, items: Iterable[bytes | None]) -> str:
        return " ".join("<unk>" if item is None else item.decode() for item in items)

    def counter(self) -> "ToyCounter":
        return ToyCounter()

    def encoder(self, items: Sequence[str], id_type: np.dtype[np.unsignedinteger]) -> "ToyEncoder":
        return ToyEncoder(items, id_type)


class ToyCounter:
    def __init__(self) -> None:
        self._counter: Counter[str] = Counter()

    def add(self, text: bytes | np.ndarray) -> None:
        self._counter.update(words(bytes(text).decode()))

    @property
    def counts(self) -> Counts:
        items = sorted(self._counter)
        return Counts(strings(items), np.array([self._counter[item] for item in items], dtype=np.int64))


class ToyEncoder:
    """Names an unknown word by its letters: 8 bits for each byte."""

    def __init__(self, items: Sequence[str], id_type: np.dtype[np.unsignedinteger]) -> None:
        self._ids = {item: idx for idx, item in enumerate(items)}
        self._id_type = id_type

    def encode(self, chunk: np.ndarray) -> EncodedLines:
        text = bytes(chunk[NUM_BEFORE:-NUM_BEHIND]).decode()
        lines = [line + "\n" for line in text.split("\n") if line]
        rows = [words(line) for line in lines]
        return EncodedLines(
            np.array([self._ids.get(word, 0) for row in rows for word in row], dtype=self._id_type),
            np.array([len(row) for row in rows], dtype=np.int64),
            characters=sum(map(len, lines)),
            bytes=sum(len(line.encode()) for line in lines),
            unknown_bits=np.array([bits(word for word in row if word not in self._ids) for row in rows]),
        )


def words(text: str) -> list[str]:
    return [word for word in text.replace("\n", " \n ").split(" ") if word]


def bits(unknown: Iterable[str]) -> float:
    return float(sum(8 * len(word.encode()) for word in unknown))
