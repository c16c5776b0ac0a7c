"""Sequences of different lengths in one matrix, and how to run through them time by time without padding.

The rows of a matrix (W, D) are the tokens, sequence after sequence, the longest sequence first. What needs time runs
through `forward` or `backward`, tables of row numbers (T, B); everything else works on the rows and computes nothing
for padding.
"""

# W = rows (tokens of all sequences), B = sequences, T = tokens of the longest

import itertools
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from charlm.nn.device import upload

_CALL_STEPS = 100
"""What calling a recurrent layer once more costs, in steps of one row (measured: 50 to 200)."""

_STEP_GRID = 4
"""Pieces have a multiple of so many steps: oneDNN keeps what it compiled for the last 1024 shapes, 0.2 MB each."""


class Ragged:
    """Where the tokens of sequences lie.

    Args:
        lengths: number of tokens of each sequence, longest first, at least 1.
        device: where the tables are used.
    """

    def __init__(self, lengths: list[int], device: torch.device) -> None:
        self.lengths = np.array(lengths, dtype=np.int64)
        self.device = device
        self.starts = np.cumsum(self.lengths) - self.lengths

    @property
    def steps(self) -> int:
        """Tokens of the longest sequence."""
        return int(self.lengths[0])

    @cached_property
    def active(self) -> list[int]:
        """For each time, how many sequences are longer."""
        return [int(count) for count in np.searchsorted(-self.lengths, -np.arange(self.steps))]

    def forward_places(self, steps: int) -> np.ndarray:
        """The row of each sequence's token at each time, (steps, B); after its end that of its last token."""
        return np.asarray(self.starts + np.minimum(np.arange(steps)[:, None], self.lengths - 1))

    def backward_places(self, steps: int) -> np.ndarray:
        """The same, counted from the end of each sequence; before its start that of its first token."""
        return np.asarray(self.starts + np.maximum(self.lengths - 1 - np.arange(steps)[:, None], 0))

    @cached_property
    def sequence(self) -> Tensor:
        """The number of the sequence of each row, (W,)."""
        return self.tensor(np.repeat(np.arange(len(self.lengths)), self.lengths))

    @cached_property
    def place(self) -> np.ndarray:
        """The time of each row, (W,)."""
        return np.asarray(np.arange(self.lengths.sum()) - np.repeat(self.starts, self.lengths))

    @cached_property
    def first(self) -> Tensor:
        """The row of each sequence's first token, (B,)."""
        return self.tensor(self.starts)

    @cached_property
    def last(self) -> Tensor:
        """The row of each sequence's last token, (B,)."""
        return self.tensor(self.starts + self.lengths - 1)

    @cached_property
    def not_last(self) -> Tensor:
        """The rows that have a next one in their sequence, (W - B,)."""
        rows = np.arange(self.lengths.sum())
        return self.tensor(np.delete(rows, self.starts + self.lengths - 1))

    @cached_property
    def reading_places(self) -> np.ndarray:
        """For both directions the place at which each row is read, (2, W), where all sequences are read side by side.

        First come all first tokens, that of the longest sequence first, then all second ones, ...
        """
        counts = np.array(self.active)
        before = np.cumsum(counts) - counts
        times = np.stack([self.place, np.repeat(self.lengths, self.lengths) - 1 - self.place])
        return np.asarray(before[times] + np.repeat(np.arange(len(self.lengths)), self.lengths))

    @cached_property
    def read_before(self) -> Tensor:
        """For each such place after the first tokens, that of the token read before in its sequence, (W - B,)."""
        counts = np.array(self.active)
        return self.tensor(np.arange(counts[0], counts.sum()) - np.repeat(counts[:-1], counts[1:]))

    def tensor(self, rows: np.ndarray) -> Tensor:
        return upload(torch.from_numpy(np.ascontiguousarray(rows)), self.device)


def cuts(lengths: np.ndarray, longest: int) -> list[int]:
    """Where to interrupt sequences, sorted longest first, to drop those that have ended.

    `[100, 60, 50], 512 -> [0, 100]`: padding costs less than one more call; with 64 rows of 32, `[0, 32, 100]`.
    """
    places, ended, padding, previous = {0}, 0, 0, 0
    for length in map(int, lengths[::-1]):
        padding += ended * (length - previous)
        if padding > _CALL_STEPS:
            places.add(_on_grid(previous))
            ended = padding = 0
        ended += 1
        previous = length
    end = _on_grid(previous)
    chunks = [range(*chunk, longest) for chunk in itertools.pairwise(sorted({*places, end}))]
    return [*(cut for cut in itertools.chain(*chunks) if cut < previous), end]


def first_rows(hidden: Any, rows: int) -> Any:
    """The states of the first rows, whatever the recurrent layer carries on."""
    if hidden is None:
        return None
    if isinstance(hidden, tuple):
        return hidden[0][:, :rows].contiguous(), hidden[1][:, :rows].contiguous()
    return hidden[:, :rows].contiguous()


def _on_grid(steps: int) -> int:
    return -(-steps // _STEP_GRID) * _STEP_GRID
