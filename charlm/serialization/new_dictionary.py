"""A language model under another dictionary: items that it knows keep their weights, new ones start at the mean."""

# V = dictionary size, D = width of a row, K = clusters

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from charlm.data.dictionary import Dictionary
from charlm.errors import ModelFileError
from charlm.serialization.state import LanguageModelState

_ROWS = ("encoder.weight", "decoder.weight", "decoder.bias")


def extended_state(state: LanguageModelState, dictionary: Dictionary) -> LanguageModelState:
    """`state` with a dictionary that adds items at the end of its own.

    New words of a clustered softmax are in its last cluster. Raises ModelFileError when the dictionary begins with
    other items.
    """
    if not dictionary.extends(state.dictionary):
        raise ModelFileError("a dictionary is extended at its end: the first items must be the model's own")
    return LanguageModelState(state.config, dictionary, state.tensors | _moved_rows(state, dictionary))


def mapped_state(state: LanguageModelState, dictionary: Dictionary, cutoffs: Sequence[int]) -> LanguageModelState:
    """`state` with any other dictionary of its unit; if its softmax is clustered, the clusters begin at `cutoffs`.

    The probabilities of items that both dictionaries hold keep their proportions: always in an exact softmax; after
    small outputs in a clustered one, whose clusters are new.
    """
    moved = state.tensors | _moved_rows(state, dictionary)
    if not state.config.cutoffs:
        return LanguageModelState(state.config, dictionary, moved)
    source = _places(state.dictionary, dictionary)
    biases, vectors = (_moved(part, source) for part in _as_one_softmax(state))
    moved["decoder.bias"] = biases
    parts = list(_clusters(len(dictionary), cutoffs))
    config = dataclasses.replace(state.config, cutoffs=tuple(cutoffs))
    for name in ("decoder.cluster_weight", "decoder.cluster_bias"):
        del moved[name]
    if parts:
        moved["decoder.cluster_weight"] = torch.stack([biases[part].softmax(0) @ vectors[part] for part in parts])
        moved["decoder.cluster_bias"] = torch.stack([biases[part].logsumexp(0) for part in parts])
    return LanguageModelState(config, dictionary, moved)


def _moved_rows(state: LanguageModelState, dictionary: Dictionary) -> dict[str, Tensor]:
    """The tensors of `state` that have a row for each item, with those of `dictionary`."""
    source = _places(state.dictionary, dictionary)
    return {name: _moved(state.tensors[name], source) for name in _ROWS if name in state.tensors}


def _places(old: Dictionary, new: Dictionary) -> Tensor:
    """The id in `old` of each item of `new`, -1 where it has none, (V,)."""
    return torch.tensor([old.item2idx.get(item, -1) for item in new.idx2item])


def _moved(rows: Tensor, source: Tensor) -> Tensor:
    moved = rows[source.clamp(min=0)]  # (V, …)
    moved[source < 0] = rows.mean(dim=0)
    return moved


def _as_one_softmax(state: LanguageModelState) -> tuple[Tensor, Tensor]:
    """Biases (V,) and rows (V, D) of an exact softmax that agrees with a clustered one for small outputs."""
    bias, rows = state.tensors["decoder.bias"], state.tensors["encoder.weight"]
    biases, vectors = bias.clone(), rows.clone()
    for number, part in enumerate(_clusters(len(bias), state.config.cutoffs)):
        biases[part] += state.tensors["decoder.cluster_bias"][number] - bias[part].logsumexp(0)
        vectors[part] += state.tensors["decoder.cluster_weight"][number] - bias[part].softmax(0) @ rows[part]
    return biases, vectors


def _clusters(size: int, cutoffs: Sequence[int]) -> Iterator[slice]:
    return itertools.starmap(slice, itertools.pairwise([*cutoffs, size]))
