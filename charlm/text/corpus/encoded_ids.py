"""The ids and the lines of an encoded file, read piece by piece: memory does not grow with the file.

Pages of a memory-mapped file count as memory of the process that has read them, so nothing is mapped here.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import pyarrow as pa

from charlm.arrays.arrow import to_numpy
from charlm.errors import CorpusError

_CANNOT_READ = (OSError, pa.ArrowException, KeyError, StopIteration)


class Ids(Protocol):
    """The ids of a text, in memory or in a file."""

    @property
    def dtype(self) -> "np.dtype[np.unsignedinteger]": ...

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> np.ndarray: ...


class EncodedIds:
    """The ids of an encoded file as an array whose slices are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._starts = [0]
        self._places: list[int] = []
        try:
            with pa.OSFile(str(path)) as file:
                messages = pa.ipc.MessageReader.open_stream(file)
                schema = pa.ipc.read_schema(messages.read_next_message())
                self.dtype = np.dtype(str(schema.field("ids").type.value_type))
                for message in _following(messages):
                    body = message.body
                    values = pa.ipc.read_record_batch(message, schema).column("ids").values
                    self._places.append(file.tell() - body.size + values.buffers()[1].address - body.address)
                    self._starts.append(self._starts[-1] + len(values))
            self._file = os.open(path, os.O_RDONLY)
        except _CANNOT_READ as error:
            raise _damaged(path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, part: slice) -> np.ndarray:
        """The ids from `part.start` to `part.stop`."""
        start, stop, step = part.indices(len(self))
        assert step == 1, "ids are read in their order"
        pieces = []
        while start < stop:
            batch = bisect_right(self._starts, start) - 1
            end = min(stop, self._starts[batch + 1])
            size, offset = self.dtype.itemsize, start - self._starts[batch]
            data = os.pread(self._file, (end - start) * size, self._places[batch] + offset * size)
            if len(data) < (end - start) * size:
                raise _damaged(self._path)
            pieces.append(np.frombuffer(data, dtype=self.dtype))
            start = end
        return pieces[0] if len(pieces) == 1 else np.concatenate([np.empty(0, dtype=self.dtype), *pieces])


def _following(messages: "pa.ipc.MessageReader") -> "Iterator[pa.ipc.Message]":
    while True:
        try:
            yield messages.read_next_message()
        except StopIteration:
            return


def line_lengths(path: Path) -> Iterator[np.ndarray]:
    """The number of ids of each line of an encoded file, int64, some lines at a time."""
    return (np.diff(to_numpy(rows.offsets)) for rows in _column(path, "ids"))


def line_unknown_bits(path: Path) -> Iterator[np.ndarray]:
    """What naming the unknown items of each line costs, float64, likewise, where the unit has no one cost for all."""
    return (to_numpy(bits) for bits in _column(path, "unknown_bits"))


def _column(path: Path, name: str) -> Iterator[pa.Array]:
    try:
        with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                yield batch.column(name)
    except _CANNOT_READ as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> CorpusError:
    return CorpusError(f"{path} is missing or damaged; delete it and prepare the corpus again")


def sums_of(values: Iterator[np.ndarray], sizes: np.ndarray) -> np.ndarray:
    """The sum of the first `sizes[0]` of all values, of the next `sizes[1]`, and so on, (len(sizes),).

    Sums of real numbers are differences of the sums from the beginning, however the values come.
    """
    ends = np.concatenate([[0], np.cumsum(sizes)])
    sums: np.ndarray | None = None
    num_seen = 0
    before: np.ndarray = np.zeros(1, dtype=np.int64)
    for part in values:
        if sums is None:
            sums = np.zeros(len(ends), dtype=part.dtype)
            before = np.zeros(1, dtype=part.dtype)
        running = np.cumsum(np.concatenate([before, part]))
        first, last = np.searchsorted(ends, [num_seen, num_seen + len(part)], side="right")
        sums[first:last] = running[ends[first:last] - num_seen]
        num_seen, before = num_seen + len(part), running[-1:]
    return np.diff(sums) if sums is not None else np.zeros(len(sizes), dtype=np.float64)
