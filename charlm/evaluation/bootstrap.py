"""Confidence intervals of a score over documents: the bootstrap of a ratio of sums.

Documents are drawn again with replacement, as many as there are (Efron and Tibshirani, An Introduction to the
Bootstrap, 1993); the spread of the score over many such samples is its interval.
"""

# D = documents

import numpy as np

_DRAWS_PER_BLOCK = 1 << 20


def resampled_ratios(
    numerators: np.ndarray, denominators: np.ndarray, *, rounds: int, generator: np.random.Generator
) -> np.ndarray:
    """sum(numerators) / sum(denominators) of `rounds` samples of the documents, (rounds,).

    Both arrays have the shape (D,); a sample takes the same documents of both. It needs about 16 MB of memory, or 16
    bytes per document where that is more.
    """
    num_documents = len(numerators)
    rounds_per_block = max(1, _DRAWS_PER_BLOCK // num_documents)
    ratios = np.empty(rounds)
    for start in range(0, rounds, rounds_per_block):
        block = ratios[start : start + rounds_per_block]
        drawn = generator.integers(num_documents, size=(len(block), num_documents))
        block[:] = numerators[drawn].sum(axis=1) / denominators[drawn].sum(axis=1)
    return ratios


def interval_of(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """The central interval that holds the share `confidence` of `values`."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
