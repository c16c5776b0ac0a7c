"""Remember the hashes of the documents seen so far, in bounded memory.

Reads and writes seen-*.npy   (sorted uint64 hashes; a folder of them is a log-structured set; near-*.npy likewise)

A document is known by the 64-bit xxh3 of its text. Two different documents share one with a chance of about 3 in a
million for ten million documents, and the later one would then be dropped.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from charlm.storage.atomic import atomic_write

_KEYS_PER_RUN = 1 << 18
_MERGE_PARTS = 64


class SeenKeys:
    """A set of uint64 hashes that lives in sorted files, the runs; only the newest `_KEYS_PER_RUN` are in memory."""

    def __init__(self, folder: Path, runs: list[str] | None = None, *, prefix: str = "seen") -> None:
        self.folder = folder
        self._prefix = prefix
        self._runs = [np.load(folder / name, mmap_mode="r") for name in runs or []]
        self._names = list(runs or [])
        self._recent = np.empty(0, dtype=np.uint64)  # sorted
        self._next_number = 1 + max((int(name[len(prefix) + 1 : -4]) for name in self._names), default=0)

    def add(self, keys: np.ndarray) -> np.ndarray:
        """Mark `keys` as seen; True for each (in order) that had not been seen before, among `keys` themselves too."""
        unique, first = np.unique(keys, return_index=True)
        known = self.contains(unique)
        is_new = np.zeros(len(keys), dtype=bool)
        is_new[first[~known]] = True
        self._recent = np.sort(np.concatenate([self._recent, unique[~known]]), kind="stable")
        if len(self._recent) >= _KEYS_PER_RUN:
            self._write_run(iter([self._recent]), len(self._recent))
            self._recent = self._recent[:0]
            self._merge_runs()
        return is_new

    def contains(self, keys: np.ndarray) -> np.ndarray:
        """True for each of `keys` that has been seen."""
        found = _is_in(keys, self._recent)
        for run in self._runs:
            found |= _is_in(keys, run)
        return found

    def flush(self) -> list[str]:
        """Put everything on disk; the names of the files that now hold the set."""
        if len(self._recent):
            self._write_run(iter([self._recent]), len(self._recent))
            self._recent = self._recent[:0]
        return list(self._names)

    def _merge_runs(self) -> None:
        """Merge neighbours of like size, so that there are about log2(number of keys) runs."""
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            right, left = self._runs.pop(), self._runs.pop()
            del self._names[-2:]
            self._write_run(_merge(left, right), len(left) + len(right))

    def _write_run(self, parts: Iterator[np.ndarray], num_keys: int) -> None:
        name = f"{self._prefix}-{self._next_number}.npy"
        self._next_number += 1
        with atomic_write(self.folder / name) as file:
            header = {"descr": "<u8", "fortran_order": False, "shape": (num_keys,)}
            np.lib.format.write_array_header_1_0(file, header)
            for part in parts:
                file.write(part.tobytes())
        self._runs.append(np.load(self.folder / name, mmap_mode="r"))
        self._names.append(name)


def _is_in(keys: np.ndarray, run: np.ndarray) -> np.ndarray:
    """True for each of `keys` that the sorted `run` holds."""
    if not len(run):
        return np.zeros(len(keys), dtype=bool)
    places = np.minimum(np.searchsorted(run, keys), len(run) - 1)
    found: np.ndarray = run[places] == keys
    return found


def _merge(left: np.ndarray, right: np.ndarray) -> Iterator[np.ndarray]:
    """The keys of two sorted runs in order, in parts: hashes spread evenly, so equal ranges are about equal parts."""
    bounds = np.arange(1, _MERGE_PARTS, dtype=np.uint64) * np.uint64(2**64 // _MERGE_PARTS)
    cuts = [[0, *np.searchsorted(run, bounds).tolist(), len(run)] for run in (left, right)]
    for index in range(_MERGE_PARTS):
        parts = [run[cut[index] : cut[index + 1]] for run, cut in zip((left, right), cuts, strict=True)]
        yield np.sort(np.concatenate(parts), kind="stable")
