"""A GRU on a CPU: few large multiplications for all words at once, small ones only in time.

torch has no fused layer for training a GRU on a CPU; its own steps multiply and differentiate everything one by one.
Here what does not depend on time (the part of the gates that comes from the input, and all gradients of weights) is one
multiplication for all words; only the recurrent part runs step by step, and only for sentences that have not ended. In
bf16 the multiplications are bf16, gates and states float32.
"""

# W = rows (tokens of all sequences, see ragged.py), D = width of a row, H = hidden size
# The gates stand in torch's order r (reset), u (update), n (new).

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from charlm.nn.bf16_linear import bf16_linear, is_bf16, product_over_rows
from charlm.nn.ragged import Ragged


def gru_states(rnn: nn.GRU, x: Tensor, ragged: Ragged) -> Tensor:
    """The outputs of `rnn` at the rows (W, D): (W, H), or (W, 2H) where it reads in both directions."""
    is_low = is_bf16(x)
    with torch.autocast("cpu", enabled=False):
        for layer in range(rnn.num_layers):
            suffixes = [f"l{layer}", f"l{layer}_reverse"][: 2 if rnn.bidirectional else 1]
            states = [
                _states(rnn, suffix, x, ragged, places, is_low)
                for suffix, places in zip(suffixes, ragged.reading_places, strict=False)
            ]
            x = torch.cat(states, dim=1) if rnn.bidirectional else states[0]
    return x


def _states(rnn: nn.GRU, suffix: str, x: Tensor, ragged: Ragged, places: np.ndarray, is_low: bool) -> Tensor:
    """The outputs (W, H) of one layer in one direction."""
    names = ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
    weight, bias, recurrent, recurrent_bias = (getattr(rnn, f"{name}_{suffix}") for name in names)
    gates = (bf16_linear if is_low else functional.linear)(x, weight, bias)  # (W, 3H): the part of the input
    states: Tensor = _Recurrence.apply(gates, recurrent, recurrent_bias, ragged, places)  # type: ignore[no-untyped-call]
    return states


class _Recurrence(torch.autograd.Function):
    """What time does to the gates. Inside, the rows stand in the order in which they are read."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, recurrent: Tensor, bias: Tensor, ragged: Ragged, places: np.ndarray
    ) -> Tensor:
        """States (W, H) from the input's part of the gates (W, 3H), of the type that is multiplied, and (3H, H)."""
        dtype, size = inputs.dtype, recurrent.shape[1]
        weight, shift = recurrent.to(dtype), bias.to(dtype)
        gates = inputs.index_select(0, ragged.tensor(np.argsort(places))).float()
        hidden = torch.empty(gates.shape, dtype=dtype)  # the part of the gates that comes from the state before
        states = torch.empty(len(gates), size)
        low = states if dtype == states.dtype else torch.empty(states.shape, dtype=dtype)
        moves = weight.t()
        hidden[: ragged.active[0]] = shift
        state, start, before = torch.zeros(ragged.active[0], size), 0, 0
        for count in ragged.active:
            here = slice(start, start + count)
            if start:
                torch.addmm(shift, low[before : before + count], moves, out=hidden[here])
            reset_update = gates[here, : 2 * size].add_(hidden[here, : 2 * size]).sigmoid_()
            new = gates[here, 2 * size :].addcmul_(reset_update[:, :size], hidden[here, 2 * size :]).tanh_()
            state = torch.lerp(new, state[:count], reset_update[:, size:], out=states[here])
            if low is not states:
                low[here] = state
            start, before = start + count, start
        ctx.save_for_backward(weight, gates, hidden, states, low)
        ctx.ragged, ctx.places = ragged, places
        return states.index_select(0, ragged.tensor(places))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, gates, hidden, states, low = ctx.saved_tensors
        ragged: Ragged = ctx.ragged
        size, first = weight.shape[1], ragged.active[0]
        reset, update, new = gates.chunk(3, dim=1)
        previous = torch.zeros_like(states)
        previous[first:] = states.index_select(0, ragged.read_before)
        # What one unit of gradient of the state does to the sums in the gates: the new one's, and the recurrent parts.
        to_new = (1 - update) * (1 - new * new)
        by_state = torch.stack(
            [
                to_new * hidden[:, 2 * size :] * reset * (1 - reset),
                (previous - new) * update * (1 - update),
                to_new * reset,
            ],
            dim=1,
        )  # (W, 3, H)
        to_states = gradient.index_select(0, ragged.tensor(np.argsort(ctx.places)))
        to_hidden = torch.empty(by_state.shape, dtype=weight.dtype)
        end = len(states)
        later = None
        for count in reversed(ragged.active):
            here = slice(end - count, end)
            state = to_states[here]
            if later is not None:
                state[: len(later)] += later
            torch.mul(state[:, None], by_state[here], out=to_hidden[here])
            end -= count
            if end:
                later = torch.mm(to_hidden[here].flatten(1), weight)
                later = torch.addcmul(later, state, update[here])
        to_gates = to_hidden.clone()
        torch.mul(to_states, to_new, out=to_gates[:, 2])
        to_hidden = to_hidden.flatten(1)  # (W, 3H)
        low_previous = previous if low.dtype == previous.dtype else previous.to(low.dtype)
        return (
            to_gates.flatten(1).index_select(0, ragged.tensor(ctx.places)),
            product_over_rows(to_hidden, low_previous).float(),
            to_hidden.sum(dim=0, dtype=torch.float32),
            None,
            None,
        )
