"""Compare the values of arrays, and select those where a mask is true.

Polars does it with the processor's vector instructions, in a tenth of the time that NumPy takes. Machines that only
train can do without it: then a column is its array, and a mask an array of bool. So it is for a short array, which
NumPy is done with before Polars is loaded.
"""

import importlib
import importlib.util
import signal
from functools import cache
from typing import Any

import numpy as np

Column = Any
"""A Polars series, or an array where Polars is not installed or the values are few."""

FEW = 1 << 18
"""Below that many values the import of Polars, a fifth of a second, takes longer than the work; chunks are longer."""

_MOST_ASCENDING = 1 << 20  # more than a chunk of text has


@cache
def polars() -> Any:
    """The package, imported when it is first needed, or None where it is not installed.

    Its import takes SIGINT over and lets system calls go on after it (SA_RESTART, Polars issue 21739): a main thread
    that waits for others would notice Ctrl-C only when they are done. Call this too before a library imports Polars.
    """
    if importlib.util.find_spec("polars") is None:
        return None
    package = importlib.import_module("polars")
    if hasattr(signal, "siginterrupt"):  # not on Windows
        signal.siginterrupt(signal.SIGINT, True)
    return package


def column(values: np.ndarray) -> Column:
    """An array in a form whose comparisons are masks, with slices, `&`, `|`, `~`, `all` and `any`."""
    return values if len(values) < FEW or polars() is None else polars().Series(values)


def select(mask: Column, *arrays: np.ndarray) -> list[np.ndarray]:
    """Of each array the values where `mask` is true, in their order."""
    if isinstance(mask, np.ndarray):
        where = np.flatnonzero(mask)
        return [values[where] for values in arrays]
    return [polars().Series(values).filter(mask).to_numpy() for values in arrays]


def true_indices(mask: Column) -> np.ndarray:
    """Where `mask` is true, in ascending order; int64."""
    if len(mask) > _MOST_ASCENDING:
        return np.flatnonzero(np.asarray(mask))
    return select(mask, _ascending()[: len(mask)])[0].astype(np.int64)


@cache
def _ascending() -> np.ndarray:
    return np.arange(_MOST_ASCENDING, dtype=np.uint32)
