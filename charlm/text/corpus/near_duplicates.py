"""Find documents that are nearly one that came before: MinHash with locality-sensitive hashing, in bounded memory.

Reads and writes near-*.npy   (the band keys of the documents seen so far, see deduplication.py)

A document is the set of its runs of five words, in lower case and without punctuation (Broder 1997, "On the resemblance
and containment of documents"). Of each set MinHash keeps 128 values, in bands: two documents are near when all values
of some band are equal. With a threshold of 0.8 these are 11 bands of 11 values, which finds 63 % of the pairs that
share 0.8 of their runs, 98 % at 0.9, 20 % at 0.7 and 0.5 % at 0.5. Scripts that put no spaces between words are read by
characters. Results depend on the text and its order alone.
"""

# N = documents, B = bands, R = values in a band

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from xxhash import xxh3_64_intdigest

from charlm.errors import ConfigError, how_to_install
from charlm.text.corpus.deduplication import SeenKeys

if TYPE_CHECKING:
    from datasketch import MinHash

VERSION = 1
"""Of the keys below: those of another version cannot be compared with."""

_NUM_VALUES = 128
_RUN = 5  # words
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_RUNS_AT_ONCE = 1 << 14  # 8 MB of values
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


class NearKeys:
    """Makes the keys of documents.

    Args:
        threshold: share of their runs that two near documents have in common, in (0, 1].
    """

    def __init__(self, threshold: float) -> None:
        self.num_bands, self._num_rows = choose_bands(threshold)

    @cached_property
    def _empty(self) -> "MinHash":
        """A sketch of nothing, whose permutations all documents share."""
        try:
            from datasketch import MinHash
        except ImportError as error:
            raise ConfigError(f"near-duplicates are found by datasketch; {how_to_install('pipeline')}") from error
        return MinHash(_NUM_VALUES, seed=1, hashfunc=int, scheme="affine32")

    def keys(self, documents: Iterable[bytes]) -> np.ndarray:
        """The band keys of documents, (N, B) uint64."""
        sketches = [self._values(document) for document in documents]
        if not sketches:
            return np.empty((0, self.num_bands), dtype=np.uint64)
        values = np.stack(sketches)[:, : self.num_bands * self._num_rows]
        bands = np.ascontiguousarray(values).reshape(len(sketches), self.num_bands, self._num_rows)
        digests = [
            xxh3_64_intdigest(band.tobytes(), seed=number) for document in bands for number, band in enumerate(document)
        ]
        return np.array(digests, dtype=np.uint64).reshape(len(sketches), self.num_bands)

    def _values(self, document: bytes) -> np.ndarray:
        sketch = self._empty.copy()
        runs = _runs(document.decode())
        for start in range(0, len(runs), _RUNS_AT_ONCE):
            sketch.update_batch(runs[start : start + _RUNS_AT_ONCE].tolist())
        return np.asarray(sketch.hashvalues, dtype="<u4")


class NearDuplicates(NearKeys):
    """The documents seen so far, by what they are near to.

    Args:
        folder: where they are kept.
        names: the files in `folder` that an earlier `flush` named.
    """

    def __init__(self, folder: Path, threshold: float, names: list[str] | None = None) -> None:
        super().__init__(threshold)
        self._seen = SeenKeys(folder, names, prefix="near")

    def add(self, keys: np.ndarray) -> np.ndarray:
        """Mark documents (N, B) as seen; True for each (in order) that is near to none before, among them too, (N,)."""
        return np.asarray(self._seen.add(keys.ravel()).reshape(keys.shape).all(axis=1))

    def contains(self, keys: np.ndarray) -> np.ndarray:
        """True for each of the documents (N, B) that is near to one that has been seen, (N,)."""
        return np.asarray(self._seen.contains(keys.ravel()).reshape(keys.shape).any(axis=1))

    def flush(self) -> list[str]:
        """Put everything on disk; the names of the files that now hold the documents."""
        return self._seen.flush()


def _runs(text: str) -> np.ndarray:
    """A hash of each run of five words of a text, or of all its words where they are fewer, uint32."""
    words = _WORD.findall(text.lower()) or [text.strip()]
    hashes = np.fromiter((xxh3_64_intdigest(word.encode()) for word in words), np.uint64, len(words))
    length = min(_RUN, len(words))
    runs = np.zeros(len(words) - length + 1, np.uint64)
    for place in range(length):
        runs = runs * _FACTOR + hashes[place : place + len(runs)]
    return (runs >> np.uint64(32)).astype(np.uint32)


def choose_bands(threshold: float) -> tuple[int, int]:
    """The number of bands B and of values R in each for a threshold: 0.8 -> (11, 11).

    Two documents that share a part `s` of their runs are near with the probability 1 - (1 - s ** R) ** B, which is 0.63
    where `s` is (1 / B) ** (1 / R).
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"the threshold of near-duplicates is in (0, 1], got {threshold}")
    choices = [(_NUM_VALUES // rows, rows) for rows in range(1, _NUM_VALUES + 1)]
    return min(choices, key=lambda choice: abs((1 / choice[0]) ** (1 / choice[1]) - threshold))
