"""Samplers choose the train sentences of an epoch."""

import random
from collections import Counter

import torch

from charlm.data import Sentence
from charlm.samplers import ChunkSampler, ExpandingChunkSampler, ImbalancedClassificationDatasetSampler


def sentences(*labels: str) -> list[Sentence]:
    return [Sentence("a").add_label("class", label) for label in labels]


def test_rare_labels_are_drawn_as_often_as_frequent_ones():
    torch.manual_seed(1)
    sampler = ImbalancedClassificationDatasetSampler()
    sampler.set_dataset([*sentences(*["often"] * 990, *["rare"] * 10), Sentence("no label")])
    places = list(sampler)
    counts = Counter("rare" if place >= 990 else "often" for place in places)
    assert len(places) == len(sampler) == 1001
    assert max(places) < 1000
    assert 400 < counts["rare"] < 600


def test_chunks_keep_neighbours_together():
    random.seed(1)
    sampler = ChunkSampler(block_size=5, plus_window=0)
    sampler.set_dataset(sentences(*"ab" * 10))
    places = list(sampler)
    assert places != sorted(places) == list(range(20))
    assert all(places[start : start + 5] == list(range(places[start], places[start] + 5)) for start in (0, 5, 10, 15))


def test_chunks_grow_with_the_epochs():
    sampler = ExpandingChunkSampler(step=2)
    sampler.set_dataset(sentences(*"abcd"))
    assert [sampler.block_size for _ in range(4) if sorted(sampler) == [0, 1, 2, 3]] == [1, 2, 2, 3]
