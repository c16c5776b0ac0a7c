"""What we use of torch beyond its public interface, all in one place.

`missing_symbols` names what a new release of torch has lost.
"""

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor

_OPTIMIZER_METHODS = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
_SYMBOLS = (
    "torch.ops.aten.mkldnn_rnn_layer",
    "torch.optim.Adam.step.__wrapped__",
    "torch.optim.SGD.step.__wrapped__",
    *(f"torch.optim.Optimizer.{method}.__wrapped__" for method in _OPTIMIZER_METHODS),
)


def missing_symbols() -> list[str]:
    """The names in this file that the installed torch does not have."""
    return [name for name in _SYMBOLS if not _exists(name)]


def _exists(name: str) -> bool:
    _, *parts = name.split(".")
    value: object = torch
    for part in parts:
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True


def avoid_compiler() -> None:
    """Keep the optimizers of this process from loading torch's compiler, which takes longer than loading torch itself.

    torch 2.13 loads it in methods that a compiled program leaves out; nothing is compiled here. The optimizers compute
    the same.
    """
    base = torch.optim.Optimizer
    for method in (getattr(base, name) for name in _OPTIMIZER_METHODS):
        plain = inspect.unwrap(method)
        plain.__dict__["__dynamo_disable"] = plain  # where `method` looks for the version that the compiler leaves out
    for kind in (torch.optim.Adam, torch.optim.SGD):
        kind.step = torch.no_grad()(inspect.unwrap(kind.step))  # type: ignore[method-assign]


def onednn_lstm_layer(
    x: Tensor, weights: Sequence[Tensor], state: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One LSTM layer on oneDNN for inference: outputs (T, B, H), new state and new cell.

    Unlike `nn.LSTM` it takes a cell of another type than the weights.

    Args:
        x: inputs (T, B, E).
        weights: weight_ih, weight_hh, bias_ih and bias_hh of the layer.
        state: the state before the first step, (B, H).
        cell: the cell before the first step, (B, H).
    """
    x, state, cell, _ = torch.ops.aten.mkldnn_rnn_layer(
        x, *weights, state, cell, reverse=False, batch_sizes=[], mode=2, hidden_size=state.shape[-1],
        num_layers=1, has_biases=True, bidirectional=False, batch_first=False, train=False,
    )  # fmt: skip
    return x, state, cell
