"""Tables that grow as a text is read: an array that is appended to, and numbers for things by order of appearance."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike

_T = TypeVar("_T")


class Numbers(dict[_T, int]):
    """Numbers things in the order in which they are met.

    Attributes:
        things: the things by their number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.things: list[_T] = []

    def __missing__(self, thing: _T) -> int:
        self[thing] = number = len(self)
        self.things.append(thing)
        return number


class Column:
    """A growing array."""

    def __init__(self, kind: DTypeLike) -> None:
        self._memory = np.zeros(1024, dtype=kind)
        self.size = 0

    def append(self, values: Sequence[float] | np.ndarray) -> None:
        if self.size + len(values) > len(self._memory):
            self._memory = np.concatenate([self._memory, np.zeros(len(self._memory) + len(values), self._memory.dtype)])
        self._memory[self.size : self.size + len(values)] = values
        self.size += len(values)

    @property
    def array(self) -> np.ndarray:
        return self._memory[: self.size]
