"""A language model as plain data: settings, dictionary and weights, with their shapes checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from charlm.config.language_model import GATES, LanguageModelConfig, shortened
from charlm.data.dictionary import Dictionary
from charlm.errors import ModelFileError


@dataclass(frozen=True)
class LanguageModelState:
    """A language model at rest. Tensors are float32 on the CPU; their names are those of Flair's state dict."""

    config: LanguageModelConfig
    dictionary: Dictionary
    tensors: dict[str, torch.Tensor] = field(repr=False)

    def __post_init__(self) -> None:
        check_shapes(self.config, self.dictionary, {name: tuple(t.shape) for name, t in self.tensors.items()})


def expected_shapes(config: LanguageModelConfig, size: int) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a model with a dictionary of `size` items."""
    shapes: dict[str, tuple[int, ...]] = {"encoder.weight": (size, config.embedding_size)}  # (V, E)
    gates, projection, before = GATES[config.recurrent_type], config.projection, config.embedding_size
    for layer, hidden in enumerate(config.layer_sizes):
        prefix, suffix = (f"rnn.layers.{layer}.", "_l0") if config.is_stack else ("rnn.", f"_l{layer}")
        state = projection or hidden
        shapes[f"{prefix}weight_ih{suffix}"] = (gates * hidden, before)  # (GH, E or H)
        shapes[f"{prefix}weight_hh{suffix}"] = (gates * hidden, state)  # (GH, H)
        shapes[f"{prefix}bias_ih{suffix}"] = shapes[f"{prefix}bias_hh{suffix}"] = (gates * hidden,)
        if projection:
            shapes[f"{prefix}weight_hr{suffix}"] = (projection, hidden)
        before = state
    width = before
    if config.nout is not None:
        width = config.nout
        shapes |= {"proj.weight": (width, before), "proj.bias": (width,)}  # (O, H)
    if config.has_decoder and config.tie_weights:
        shapes["decoder.bias"] = (size,)
        if clusters := len(config.cutoffs):
            shapes |= {"decoder.cluster_weight": (clusters, width), "decoder.cluster_bias": (clusters,)}
    elif config.has_decoder:
        shapes |= {"decoder.weight": (size, width), "decoder.bias": (size,)}  # (V, O)
    return shapes


def check_shapes(config: LanguageModelConfig, dictionary: Dictionary, found: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ModelFileError unless exactly the tensors of `config` are there, in their shapes."""
    if config.nlayers > len(found):  # before a made-up number of layers is spelled out
        raise ModelFileError(f"it declares {config.nlayers} layers but holds {len(found)} tensors")
    if config.cutoffs and config.cutoffs[-1] >= len(dictionary):
        raise ModelFileError(f"a cluster begins at {config.cutoffs[-1]} in a dictionary of {len(dictionary)}")
    expected = expected_shapes(config, len(dictionary))
    for name in expected.keys() - found.keys():
        raise ModelFileError(f"the tensor {name} is missing")
    for name in found.keys() - expected.keys():
        raise ModelFileError(f"the tensor {shortened(name)} belongs to no language model of these settings")
    for name, shape in expected.items():
        if found[name] != shape:
            raise ModelFileError(f"{name} has shape {list(found[name])} where {list(shape)} is declared")
