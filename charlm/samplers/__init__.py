"""Samplers of train sentences, under Flair's names."""

from charlm.samplers.samplers import (
    ChunkSampler,
    ExpandingChunkSampler,
    FlairSampler,
    ImbalancedClassificationDatasetSampler,
)

__all__ = ["ChunkSampler", "ExpandingChunkSampler", "FlairSampler", "ImbalancedClassificationDatasetSampler"]
