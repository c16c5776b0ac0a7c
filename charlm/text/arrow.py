"""Arrow arrays from NumPy arrays and back, without a copy.

pyarrow's own `pa.array`, `to_numpy` and `to_pandas_dtype` import pandas wherever it is installed, which takes longer
than preparing a megabyte of text.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa


def numbers(values: np.ndarray) -> pa.Array:
    """The numbers of a one-dimensional array."""
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))]
    )


def strings(values: Sequence[str]) -> pa.Array:
    encoded = [value.encode() for value in values]
    offsets = np.concatenate([[0], np.cumsum([len(value) for value in encoded])]).astype(np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(encoded), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


def to_numpy(array: Any) -> np.ndarray:
    """The integers of an Arrow array without nulls, as a view of its memory."""
    values: np.ndarray = np.frombuffer(array.buffers()[-1], dtype=str(array.type))
    return values[array.offset : array.offset + len(array)]
