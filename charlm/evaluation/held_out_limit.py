"""How much held-out text a score reads, and which documents those are.

A hundredth of a terabyte is ten billion characters, which a score reads for hours without becoming more certain. So a
score reads 20 million characters of a split, spread over its domains and documents, or the whole where it is less.
"""

# D = documents of a domain

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from charlm.config import HELD_OUT_VARIABLE, check_held_out_limit
from charlm.text.corpus.held_out import HeldOutDocuments, cleaned

HELD_OUT_LIMIT = 20_000_000
"""Characters of a split that a score reads, unless CHARLM_HELD_OUT_LIMIT says otherwise."""
_SMALLEST_SHARE = 0.1
"""Of what a domain would get if all were alike, a domain gets at least so much."""


def held_out_limit() -> int | None:
    """Characters that a score reads at most; None for no limit. Raises ConfigError for a variable that is no number."""
    text = os.environ.get(HELD_OUT_VARIABLE)
    return check_held_out_limit(text, HELD_OUT_VARIABLE) if text else HELD_OUT_LIMIT


def choose_documents(documents: Mapping[str, HeldOutDocuments], limit: int) -> dict[str, np.ndarray]:
    """Which documents of each domain are read, (D,) bool: about `limit` characters of all together.

    A domain gets its share of them, and a small one a tenth of an equal share. Its documents are those whose text has
    the lowest hashes, so the choice is random, but always the same.
    """
    sizes = {domain: int(found.characters.sum()) for domain, found in documents.items()}
    total, least = sum(sizes.values()), _SMALLEST_SHARE * limit / max(len(documents), 1)
    chosen = {}
    for domain, found in documents.items():
        quota = max(limit * sizes[domain] / max(total, 1), min(sizes[domain], least))
        order = np.argsort(found.keys, kind="stable")
        before = np.cumsum(found.characters[order]) - found.characters[order]
        chosen[domain] = np.zeros(len(found), dtype=bool)
        chosen[domain][order[before < quota]] = True
    return chosen


def write_documents(source: Path, documents: HeldOutDocuments, chosen: np.ndarray, target: Path) -> None:
    """Write the chosen documents of a domain's text file `source`, which holds `documents`, without empty lines."""
    index, remaining = -1, 0
    with source.open("rb") as file, target.open("wb") as output:
        for line in file:
            text = cleaned(line)
            num_lines = text.count(b"\n")
            while num_lines and not remaining:
                index += 1
                remaining = int(documents.lines[index])
            if num_lines and chosen[index]:
                output.write(text)
            remaining -= num_lines
