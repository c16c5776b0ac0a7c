"""Where the clusters of a softmax begin (see softmax.py), chosen from how often words occur.

A target needs the rows of the frequent words and the clusters, and those of its own cluster where it is in one. The
cutoffs that make this fewest on average are found by dynamic programming, as in Grave et al. 2017.
"""

# V = dictionary size, J = places where a cluster may begin

import itertools
from collections.abc import Sequence

import numpy as np

MOST_CLUSTERS = 8
_MOST_PLACES = 400
_ROWS_OF_A_CLUSTER = 60.0  # what a product of few rows loses, in rows of the head


def choose_cutoffs(counts: Sequence[float] | np.ndarray, most: int = MOST_CLUSTERS) -> tuple[int, ...]:
    """The ids where clusters begin, up to `most` of them; () where none saves anything.

    `counts` are those of the words in the order of their ids, the frequent ones first.
    """
    shares = _shares(counts)
    size = len(shares)
    below = np.concatenate([[0.0], np.cumsum(shares)])
    places = np.unique(np.append(np.geomspace(1, max(size, 1), _MOST_PLACES).round().astype(np.int64), size))
    share = below[places]
    # Rows that a cluster from one place (axis 0) to a later one (axis 1) adds for a target on average, (J, J).
    rows = np.where(places > places[:, None], (share - share[:, None]) * (places - places[:, None]), np.inf)
    costs, begins = [places.astype(np.float64)], []  # of the words up to each place, with 0, 1, 2 … clusters
    for _ in range(min(most, len(places) - 1)):
        sums = costs[-1][:, None] + rows
        begins.append(sums.argmin(axis=0))
        costs.append(sums.min(axis=0))
    totals = [float(cost[-1]) + number * (1 + _ROWS_OF_A_CLUSTER) for number, cost in enumerate(costs)]
    cutoffs, end = [], len(places) - 1
    for begin in reversed(begins[: int(np.argmin(totals))]):
        end = int(begin[end])
        cutoffs.append(int(places[end]))
    return tuple(reversed(cutoffs))


def expected_rows(counts: Sequence[float] | np.ndarray, cutoffs: Sequence[int]) -> float:
    """Rows of the weights, those of clusters included, that a target needs on average."""
    shares = _shares(counts)
    ends = [*cutoffs, len(shares)]
    clusters = itertools.pairwise(ends)
    return ends[0] + len(cutoffs) + sum(float(shares[start:end].sum()) * (end - start) for start, end in clusters)


def zipf_counts(size: int) -> np.ndarray:
    """Counts of words in the order of their ids where those of the text are not known: by Zipf's law."""
    return 1 / np.arange(1.0, size + 1)


def _shares(counts: Sequence[float] | np.ndarray) -> np.ndarray:
    values = np.asarray(counts, dtype=np.float64)
    total = values.sum()
    return values / total if total else np.full(len(values), 1 / max(len(values), 1))
