"""How often the items of a text occur."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from charlm.arrays.arrow import numbers, strings, to_numpy


@dataclass(frozen=True)
class Counts:
    """How often each item occurs.

    Attributes:
        items: each item that occurs, as text; an Arrow array of strings.
        counts: its number of occurrences, int64.
        context: what else a unit counts, by a name of its own: of words, what stands between them.
    """

    items: pa.StringArray
    counts: np.ndarray
    context: dict[str, int] = field(default_factory=dict)

    @classmethod
    def merge(cls, parts: Sequence[Self]) -> Self:
        """The sums over all parts."""
        encoded = pa.concat_arrays([strings([]), *(part.items for part in parts)]).dictionary_encode()
        sums = np.zeros(len(encoded.dictionary), dtype=np.int64)
        if parts:
            np.add.at(sums, to_numpy(encoded.indices), np.concatenate([part.counts for part in parts]))
        context: Counter[str] = Counter()
        for part in parts:
            context.update(part.context)
        return cls(encoded.dictionary, sums, dict(context))

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def ranked(self) -> "Counts":
        """The same, most frequent first; equal counts in the order of the items' code points."""
        table = pa.table({"item": self.items, "count": numbers(self.counts)})
        order = pc.sort_indices(table, sort_keys=[("count", "descending"), ("item", "ascending")])
        return Counts(pc.take(self.items, order), self.counts[to_numpy(order)], self.context)

    def cumulative_shares(self) -> np.ndarray:
        """Share of all items that the items up to and with each one make up."""
        shares: np.ndarray = np.cumsum(self.counts) / max(self.total, 1)
        return shares

    def by_id(self, items: Sequence[str]) -> np.ndarray:
        """How often each item of a dictionary occurs, the first one (`<unk>`) for all that it lacks, (V,) float64."""
        counts = self.to_dict()
        known = np.array([counts.get(item, 0) for item in items], dtype=np.float64)
        known[0] = max(self.total - known[1:].sum(), known[0])
        return known

    def to_dict(self) -> dict[str, int]:
        return dict(zip(self.items.to_pylist(), self.counts.tolist(), strict=True))
