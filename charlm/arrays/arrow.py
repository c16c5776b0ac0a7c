"""Arrow arrays from NumPy arrays and back, without a copy.

pyarrow's own `pa.array`, `to_numpy` and `to_pandas_dtype` import pandas wherever it is installed, which takes longer
than preparing a megabyte of text.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_FIRST_LONGER = (0x80, 0x800, 0x10000)  # from each of these on, a character has one byte more


def numbers(values: np.ndarray) -> pa.Array:
    """The numbers of a one-dimensional array."""
    values = np.require(values, requirements=["C_CONTIGUOUS", "ALIGNED"])
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def strings(values: Sequence[str]) -> pa.Array:
    encoded = [value.encode() for value in values]
    offsets = np.concatenate([[0], np.cumsum([len(value) for value in encoded])]).astype(np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(encoded), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


def characters(code_points: np.ndarray) -> pa.Array:
    """Each code point as a string."""
    text = code_points.astype("<u4").tobytes().decode("utf-32-le").encode()
    lengths = 1 + np.searchsorted(_FIRST_LONGER, code_points, side="right")
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def to_numpy(array: pa.Array) -> np.ndarray:
    """The numbers of an Arrow array (integers, or double) without nulls, as a view of its memory."""
    values: np.ndarray = np.frombuffer(array.buffers()[-1], dtype=str(array.type))
    return values[array.offset : array.offset + len(array)]


def binary_values(data: pa.Buffer | bytes | np.ndarray, offsets: np.ndarray) -> pa.LargeBinaryArray:
    """The bytes of `data` between each offset and the next one: Arrow moves them ten times as fast as lists."""
    return pa.Array.from_buffers(
        pa.large_binary(), len(offsets) - 1, [None, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(data)]
    )


def take_numbers(
    values: pa.LargeBinaryArray, which: np.ndarray, kind: np.dtype[np.generic]
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a kind in the values at `which`, one after the other, and where each value ends in them."""
    taken = pc.take(values, numbers(which), boundscheck=False)
    _, offsets, data = taken.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[1 : len(taken) + 1] // kind.itemsize
    return np.frombuffer(data, dtype=kind, count=ends[-1]), ends
