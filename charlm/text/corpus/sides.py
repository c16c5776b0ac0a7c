"""Choose the side of the split on which a document falls, from its text alone."""

import dataclasses
from collections.abc import Container

import numpy as np
from xxhash import xxh3_64_intdigest

from charlm.config import SplitConfig

VALID_PLACE, TEST_PLACE = -2, -1
VALID_FILE, TEST_FILE = "valid.txt", "test.txt"


def document_keys(documents: list[bytes]) -> np.ndarray:
    """The 64-bit hash of each document's text, the white space around it left out; uint64."""
    return np.fromiter(map(xxh3_64_intdigest, map(bytes.strip, documents)), dtype=np.uint64, count=len(documents))


def choose_places(keys: np.ndarray, config: SplitConfig) -> np.ndarray:
    """Where each document goes: VALID_PLACE, TEST_PLACE, or its place in the window of open shards; int64."""
    places = ((keys & np.uint64(0xFFFFFFFF)) % np.uint64(config.open_shards)).astype(np.int64)
    places[keys < np.uint64(_threshold(config.valid_share))] = VALID_PLACE
    places[~keys < np.uint64(_threshold(config.test_share))] = TEST_PLACE
    return places


def without_shares(config: SplitConfig, given: Container[str]) -> SplitConfig:
    """`config` with nothing chosen for the held-out files whose text is given."""
    return dataclasses.replace(
        config,
        valid_share=0.0 if VALID_FILE in given else config.valid_share,
        test_share=0.0 if TEST_FILE in given else config.test_share,
    )


def _threshold(share: float) -> int:
    return int(share * 2**64)
