"""Count and encode characters and bytes by the gigabyte: items that are numbers have arrays for tables."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from charlm.arrays.arrow import characters, numbers, to_numpy
from charlm.arrays.masks import column, select, true_indices
from charlm.arrays.utf8 import (
    BEYOND_ASCII,
    bytes_beyond_ascii,
    code_points,
    code_points_within,
    first_bytes,
    share_beyond_ascii,
)
from charlm.units.counts import Counts
from charlm.units.encoded_lines import NUM_BEFORE, NUM_BEHIND, EncodedLines
from charlm.units.id_table import IdTable

_NUM_ASCII = 0x80
_NUM_BYTES = 0x100
_NUM_CODE_POINTS = 0x110000
_NEWLINE = ord("\n")
# Shares of the bytes of a text below which those beyond ASCII are looked at on their own.
_FEW_TO_COUNT = 2 / 3
_FEW_TO_ENCODE = 1 / 4


# ---- counting ------------------------------------------------------------------------------------------------------


class ByteCounter:
    """Counts bytes, two at a time, which is half the work."""

    def __init__(self) -> None:
        self._twos = np.zeros(_NUM_BYTES**2, dtype=np.int64)
        self._lone = np.zeros(_NUM_BYTES, dtype=np.int64)  # the last byte of a chunk with an odd number

    def add(self, text: bytes | np.ndarray) -> None:
        self._add_bytes(np.frombuffer(text, dtype=np.uint8))

    def _add_bytes(self, octets: np.ndarray) -> None:
        even = len(octets) // 2 * 2
        _add_ones(self._twos, octets[:even].view(np.uint16))
        _add_ones(self._lone, octets[even:])

    @property
    def _byte_counts(self) -> np.ndarray:
        twos = self._twos.reshape(_NUM_BYTES, _NUM_BYTES)
        octets: np.ndarray = twos.sum(axis=0) + twos.sum(axis=1) + self._lone
        return octets

    @property
    def counts(self) -> Counts:
        return _counts(self._byte_counts)


class CharacterCounter(ByteCounter):
    """Counts ASCII as bytes, and decodes only what is not."""

    def __init__(self) -> None:
        super().__init__()
        self._decoded = np.zeros(_NUM_ASCII, dtype=np.int64)  # grows as it has to: a short one is read faster

    def add(self, text: bytes | np.ndarray) -> None:
        octets = np.frombuffer(text, dtype=np.uint8)
        if not len(octets):
            return
        if share_beyond_ascii(octets) < _FEW_TO_COUNT:
            self._add_bytes(octets)
            octets = bytes_beyond_ascii(octets)
        if len(octets):
            self._add_decoded(octets)

    def _add_decoded(self, octets: np.ndarray) -> None:
        counts = np.bincount(code_points(octets))
        if len(counts) > len(self._decoded):
            self._decoded = np.pad(self._decoded, (0, len(counts) - len(self._decoded)))
        self._decoded[: len(counts)] += counts

    @property
    def counts(self) -> Counts:
        table = self._decoded.copy()
        table[:_NUM_ASCII] += self._byte_counts[:_NUM_ASCII]
        return _counts(table)


def _add_ones(table: np.ndarray, values: np.ndarray) -> None:
    """Add one to the entry of each value; the table of np.bincount would be a new one each time."""
    np.add.at(table, values.astype(np.intp), 1)


def _counts(table: np.ndarray) -> Counts:
    """The entries of a table that are not 0."""
    found = np.flatnonzero(table)
    return Counts(characters(found), table[found])


# ---- encoding ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _AllIds:
    """The ids of a chunk from the newline before its text to the one after it; its last line may have none."""

    ids: np.ndarray
    marks: np.ndarray
    """An array of the same length that has the value `newline` where newlines are."""
    newline: np.unsignedinteger


class ByteEncoder:
    """Looks up the ids of bytes, two at a time."""

    def __init__(self, table: IdTable) -> None:
        known = table.ids[:-1]
        self._ids = np.zeros(_NUM_CODE_POINTS, dtype=known.dtype)
        self._ids[: len(known)] = known
        of_bytes = self._ids[:_NUM_BYTES]
        second, first = np.broadcast_arrays(of_bytes[:, None], of_bytes)  # their order in a number of both
        self._ids_of_twos = numbers(np.stack([first, second], axis=-1).ravel().view(f"u{2 * known.itemsize}"))

    def encode(self, chunk: np.ndarray) -> EncodedLines:
        all_ids = self._look_up(chunk)
        ids, lengths = _without_empty_lines(all_ids)
        num_left_out = NUM_BEFORE - 1 + len(all_ids.ids) - len(ids) + NUM_BEHIND - 1
        num_characters = self._num_characters(chunk, ids, num_left_out)
        return EncodedLines(ids, lengths, characters=num_characters, bytes=len(chunk) - num_left_out)

    def _num_characters(self, chunk: np.ndarray, ids: np.ndarray, num_left_out: int) -> int:
        """Code points: all bytes but those that continue a character."""
        return int(np.count_nonzero(chunk & 0xC0 != 0x80)) - num_left_out

    def _look_up(self, chunk: np.ndarray) -> _AllIds:
        lines = chunk[NUM_BEFORE - 1 : 1 - NUM_BEHIND]
        return self._with_marks(self._of_bytes(lines), lines)

    def _of_bytes(self, octets: np.ndarray) -> np.ndarray:
        even = len(octets) // 2 * 2
        twos = numbers(octets[:even].view(np.uint16))
        ids = to_numpy(pc.take(self._ids_of_twos, twos, boundscheck=False)).view(self._ids.dtype)
        return ids if even == len(octets) else np.append(ids, self._ids[octets[-1]])

    def _with_marks(self, ids: np.ndarray, code_points: np.ndarray) -> _AllIds:
        newline = self._ids[_NEWLINE]
        # No other item has the id of a known one, and an id is narrower than a code point.
        return _AllIds(ids, ids, newline) if newline else _AllIds(ids, code_points, np.uint8(_NEWLINE))


class CharacterEncoder(ByteEncoder):
    """Looks up ASCII as bytes; where there is more than a little beyond it, decodes all and looks up code points."""

    def __init__(self, table: IdTable) -> None:
        super().__init__(table)
        self._ids_of_code_points = numbers(self._ids)

    def _num_characters(self, chunk: np.ndarray, ids: np.ndarray, num_left_out: int) -> int:
        return len(ids)

    def _look_up(self, chunk: np.ndarray) -> _AllIds:
        points = lines = chunk[NUM_BEFORE - 1 : 1 - NUM_BEHIND]
        if share_beyond_ascii(lines) < _FEW_TO_ENCODE:
            beyond = bytes_beyond_ascii(lines)
            if len(beyond):
                points = first_bytes(lines)
            ids = self._of_bytes(points)
            if len(beyond):
                ids[true_indices(column(points) >= BEYOND_ASCII)] = self._ids[code_points(beyond)]
        else:
            points = code_points_within(chunk)
            # Arrow takes by any unsigned integer, where NumPy first makes it 64 bits wide; the table has them all.
            ids = to_numpy(pc.take(self._ids_of_code_points, numbers(points), boundscheck=False))
        return self._with_marks(ids, points)


def _without_empty_lines(found: _AllIds) -> tuple[np.ndarray, np.ndarray]:
    """The ids but for the first one, a newline, and newlines after another one; and the lengths of the lines."""
    ids, marks, newline = found.ids, found.marks, found.newline
    is_kept = ~((column(marks[1:]) == newline) & (column(marks[:-1]) == newline))
    (kept,) = select(is_kept, ids[1:])
    (kept_marks,) = (kept,) if marks is ids else select(is_kept, marks[1:])
    return kept, np.diff(true_indices(column(kept_marks) == newline), prepend=-1)
