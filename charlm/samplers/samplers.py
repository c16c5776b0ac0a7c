"""Samplers: which train sentences a downstream training reads in an epoch, in which order; the names are Flair's.

`ModelTrainer.train(…, sampler=ImbalancedClassificationDatasetSampler)`
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence

import torch

from charlm.data.sentence import Sentence


class FlairSampler:
    """The base of samplers: iterating gives the places of the sentences of an epoch."""

    data_source: Sequence[Sentence] = ()

    def set_dataset(self, data_source: Sequence[Sentence]) -> None:
        """Take the sentences to choose from."""
        self.data_source = data_source

    def __len__(self) -> int:
        return len(self.data_source)

    def __iter__(self) -> Iterator[int]:
        raise NotImplementedError


class ImbalancedClassificationDatasetSampler(FlairSampler):
    """Draws as many sentences as there are, with replacement, so that every label comes about as often.

    A sentence is drawn in inverse proportion to how often its first label occurs; one without a label never.
    """

    def __iter__(self) -> Iterator[int]:
        counts = Counter(label.value for sentence in self.data_source for label in sentence.labels)
        firsts = [next(iter(sentence.labels), None) for sentence in self.data_source]
        weights = torch.tensor([0.0 if label is None else 1 / counts[label.value] for label in firsts])  # (sentences,)
        return iter(torch.multinomial(weights, len(self), replacement=True).tolist())


class ChunkSampler(FlairSampler):
    """All sentences, in runs of neighbours whose order is drawn anew.

    Args:
        block_size: shortest length of a run.
        plus_window: how many sentences a run may be longer; drawn for each epoch.
    """

    def __init__(self, block_size: int = 5, plus_window: int = 5) -> None:
        self.block_size = block_size
        self.plus_window = plus_window

    def __iter__(self) -> Iterator[int]:
        return _runs(len(self), self.block_size + random.randint(0, self.plus_window))


class ExpandingChunkSampler(FlairSampler):
    """All sentences, in runs of neighbours that begin with one sentence and grow by one every `step` epochs."""

    def __init__(self, step: int = 3) -> None:
        self.step = step
        self.block_size = 1
        self.epoch_count = 0

    def __iter__(self) -> Iterator[int]:
        size = self.block_size
        self.epoch_count += 1
        if self.epoch_count % self.step == 0:
            self.block_size += 1
        return _runs(len(self), size)


def _runs(length: int, size: int) -> Iterator[int]:
    """The places from 0 to `length` in runs of `size`, the runs in an order drawn from Python's `random`."""
    starts = list(range(0, length, size))
    random.shuffle(starts)
    return (place for start in starts for place in range(start, min(start + size, length)))
