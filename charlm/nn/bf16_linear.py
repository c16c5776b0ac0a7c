"""A linear layer in bf16 on a CPU, whose products come in few shapes.

oneDNN compiles a bf16 product for its exact shape, which takes longer than computing it (2 ms on one core), and keeps
the last 1024. No two mini-batches of sentences have equally many words, so rows of zeros are added up to a multiple of
a grid: then everything is compiled in the first few mini-batches.
"""

# W = rows, D and F = widths of a row before and after the layer

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_ROW_GRID = 32


class Linear(nn.Linear):
    """torch's linear layer; on a CPU under autocast `bf16_linear`."""

    def forward(self, x: Tensor) -> Tensor:  # (W, D) -> (W, F)
        return bf16_linear(x, self.weight, self.bias) if is_bf16(x) else super().forward(x)


def is_bf16(x: Tensor) -> bool:
    """Whether `x` is on a CPU where products are to be bf16."""
    return x.device.type == "cpu" and torch.is_autocast_enabled("cpu")


def bf16_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`x` (W, D) times `weight` (F, D) transposed, plus `bias` (F,): (W, F) in bf16."""
    product: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return product


def weight_gradients(gradient: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients (F, D) and (F,) of weight and bias of a layer from those of its output (W, F) at the input (W, D).

    Computed in the type of `gradient`, and returned in float32.
    """
    if gradient.dtype == torch.float32:
        return gradient.t() @ x, gradient.sum(dim=0)
    return _bf16_weight_gradients(_on_grid(gradient), _on_grid(x))


def _bf16_weight_gradients(gradient: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    ones = gradient.new_ones(1, len(gradient))  # a product is faster than a sum over rows of bf16
    return (gradient.t() @ x).float(), (ones @ gradient).float().squeeze(0)


def _on_grid(x: Tensor) -> Tensor:
    """`x` in bf16, with rows of zeros after it up to a multiple of the grid."""
    rows, width = x.shape
    result = torch.empty(-(-rows // _ROW_GRID) * _ROW_GRID, width, dtype=torch.bfloat16)
    result[:rows] = x
    result[rows:] = 0
    return result


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        rows, low = _on_grid(x), weight.bfloat16()
        ctx.save_for_backward(rows, low)
        ctx.dtype = x.dtype
        return functional.linear(rows, low, bias.bfloat16())[: len(x)]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, low = ctx.saved_tensors
        padded = _on_grid(gradient)
        to_x = (padded @ low)[: len(gradient)].to(ctx.dtype) if ctx.needs_input_grad[0] else None
        return to_x, *_bf16_weight_gradients(padded, rows)
