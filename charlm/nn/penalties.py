"""Penalties on the outputs of a language model (Merity et al. 2017, "Revisiting Activation Regularization")."""

# T = sequence length, B = mini-batch size, H = width

from torch import Tensor


def activation_penalties(output: Tensor, dropped: Tensor, *, activation: float, slowness: float) -> Tensor:
    """`activation` times the mean square of outputs with dropout, `slowness` times that of changes without it.

    Both outputs are (T, B, H).
    """
    penalty = activation * dropped.float().square().mean()
    if slowness and len(output) > 1:
        penalty = penalty + slowness * (output[1:] - output[:-1]).float().square().mean()
    return penalty
