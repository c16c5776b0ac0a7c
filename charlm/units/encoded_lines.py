"""What encoders take and give: a chunk of text between newlines, and the ids of its lines."""

from dataclasses import dataclass

import numpy as np

NUM_BEFORE, NUM_BEHIND = 4, 2
"""Newlines around the text of a chunk that is encoded, for encoders that look at what is beside a byte."""


@dataclass(frozen=True)
class EncodedLines:
    """The non-empty lines of a chunk of text as ids."""

    ids: np.ndarray
    """Ids of all lines, one after the other, in the type that the encoder was made for."""

    lengths: np.ndarray
    """Ids of each line, its newline included; int64."""

    characters: int
    """Code points of the lines."""

    bytes: int
    """UTF-8 bytes of the lines."""

    unknown_bits: np.ndarray | None = None
    """What naming the unknown items of each line costs, in bits; none where the unit has one cost for all."""
