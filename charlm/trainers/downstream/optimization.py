"""The optimizer of a tagger or classifier: how it is made, stored and restored."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from charlm.storage.archive import Part

SHARE = "rate_share"
"""Of the rate of the topmost layer, in the settings of a layer."""


def trained_weights(model: nn.Module, frozen: Iterable[nn.Module]) -> dict[str, nn.Parameter]:
    """The parameters to learn, by name: all of `model` but those of its `frozen` parts."""
    left_out = {id(weight) for part in frozen for weight in part.parameters()}
    return {
        name: weight for name, weight in model.named_parameters() if id(weight) not in left_out and weight.requires_grad
    }


def layers_of(weights: Iterable[nn.Parameter], layers: Sequence[Sequence[nn.Parameter]]) -> list[list[nn.Parameter]]:
    """`weights` from the output down: those of no layer, then those of each layer; layers without any are left out."""
    own = {id(weight): weight for weight in weights}
    below = [[own.pop(id(weight)) for weight in layer if id(weight) in own] for layer in layers]
    return [layer for layer in ([*own.values()], *below) if layer]


def new_optimizer(
    kind: type[torch.optim.Optimizer],
    layers: Sequence[Sequence[nn.Parameter]],
    learning_rate: float,
    others: Mapping[str, object],
    *,
    layer_decay: float = 1.0,
) -> torch.optim.Optimizer:
    """An optimizer over the weights of all layers, which updates them in one pass where its kind can do that.

    The rate of each layer is that of the layer above divided by `layer_decay`.
    """
    settings: dict[str, Any] = {
        "lr": learning_rate,
        **others,
    }  # what an optimizer takes beside the weights depends on its kind
    if "fused" in inspect.signature(kind).parameters:
        settings["fused"] = True
    groups = [
        {"params": list(layer), "lr": learning_rate / layer_decay**depth, SHARE: layer_decay**-depth}
        for depth, layer in enumerate(layers)
    ]
    return kind(groups, **settings)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give the topmost layer a rate, and each other layer its share of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(SHARE, 1.0)


def unfreeze(optimizer: torch.optim.Optimizer, num_layers: int) -> None:
    """Let the topmost layers learn, and no other (Howard and Ruder 2018)."""
    for depth, group in enumerate(optimizer.param_groups):
        for weight in group["params"]:
            weight.requires_grad_(depth < num_layers)


def linear_rate(learning_rate: float, step: int, *, steps: int, warmup_fraction: float) -> float:
    """The rate of a step, counted from 0: it rises from 0 to `learning_rate` and falls to 0 at the end."""
    warmup = round(steps * warmup_fraction)
    if step < warmup:
        return learning_rate * step / warmup
    return learning_rate * max(0, steps - step) / max(1, steps - warmup)


def optimizer_part(optimizer: torch.optim.Optimizer) -> Part:
    """The state of an optimizer, tensors apart from the rest."""
    state = optimizer.state_dict()
    numbers: dict[str, dict[str, object]] = {}
    tensors: dict[str, Tensor] = {}
    for parameter, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{parameter}.{name}"] = value
            else:
                numbers.setdefault(str(parameter), {})[name] = value
    return Part({"groups": state["param_groups"], "numbers": numbers}, tensors)


def restore_optimizer(optimizer: torch.optim.Optimizer, part: Part) -> None:
    """Give a new optimizer the state of a stored one of the same kind."""
    state: dict[int, dict[str, object]] = {int(key): dict(values) for key, values in part.settings["numbers"].items()}
    for key, tensor in part.tensors.items():
        parameter, _, name = key.partition(".")
        state.setdefault(int(parameter), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": part.settings["groups"]})
