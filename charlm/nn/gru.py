"""A GRU on a CPU: few large multiplications for all words at once, small ones only in time.

torch has no fused layer for training a GRU on a CPU; its own steps multiply and differentiate everything one by one.
Here what does not depend on time (the part of the gates that comes from the input, and all gradients of weights) is one
multiplication for all words; only the recurrent part runs step by step, and only for sentences that have not ended. In
bf16 the multiplications are bf16, gates and states float32.
"""

# W = rows (tokens of all sequences, see ragged.py), D = width of a row, H = hidden size
# The gates are in torch's order r (reset), u (update), n (new).

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from charlm.nn.bf16_linear import bf16_linear, is_bf16, weight_gradients
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
    """What time does to the gates. Inside, the rows are in the order in which they are read."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, recurrent: Tensor, bias: Tensor, ragged: Ragged, places: np.ndarray
    ) -> Tensor:
        """States (W, H) from the input's part of the gates (W, 3H), of the type that is multiplied, and (3H, H)."""
        dtype, size, counts = inputs.dtype, recurrent.shape[1], ragged.active
        weight, shift = recurrent.to(dtype), bias.to(dtype)
        gates = inputs.index_select(0, ragged.tensor(np.argsort(places))).float()
        hidden = torch.empty(gates.shape)  # the part of the gates that comes from the state before
        states = torch.empty(len(gates), size)
        low = states if dtype == states.dtype else torch.empty(states.shape, dtype=dtype)
        gate_parts = [gates[:, : 2 * size], *gates.chunk(3, dim=1)]
        hidden_parts = [hidden, hidden[:, : 2 * size], hidden[:, 2 * size :]]
        steps = zip(counts, *_by_step(counts, *gate_parts, *hidden_parts, states, low), strict=True)
        state, low_state = torch.zeros(counts[0], size), None
        for count, both, reset, update, new, hidden_all, hidden_both, hidden_new, next_state, next_low in steps:
            hidden_all.copy_(shift if low_state is None else functional.linear(low_state[:count], weight, shift))
            both.add_(hidden_both).sigmoid_()  # reset and update
            new.addcmul_(reset, hidden_new).tanh_()
            state = torch.lerp(new, state[:count], update, out=next_state)
            low_state = next_low if low is states else next_low.copy_(state)
        ctx.save_for_backward(weight, gates, hidden, states)
        ctx.ragged, ctx.places = ragged, places
        return states.index_select(0, ragged.tensor(places))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, gates, hidden, states = ctx.saved_tensors
        ragged: Ragged = ctx.ragged
        size, first = weight.shape[1], ragged.active[0]
        reset, update, new = gates.chunk(3, dim=1)
        previous = torch.zeros_like(states)
        previous[first:] = states.index_select(0, ragged.read_before)
        # What one unit of gradient of the state does to the sums in the gates: the new one's, and the recurrent parts.
        to_new = (1 - update).mul_(1 - new * new)
        by_state = torch.empty(len(states), 3, size)
        torch.mul(to_new, reset, out=by_state[:, 2])
        torch.mul(by_state[:, 2] * (1 - reset), hidden[:, 2 * size :], out=by_state[:, 0])
        torch.mul((previous - new).mul_(update), 1 - update, out=by_state[:, 1])
        to_states = gradient.index_select(0, ragged.tensor(np.argsort(ctx.places)))
        to_hidden = torch.empty(by_state.shape, dtype=weight.dtype)
        later, reached = None, 0
        parts = _by_step(ragged.active, to_states, by_state, update, to_hidden, to_hidden.flatten(1))
        for state, effect, kept, result, flat in zip(*map(reversed, parts), strict=True):
            if later is not None:
                state[:reached].add_(later)
            torch.mul(state[:, None], effect, out=result)
            later, reached = torch.mm(flat, weight).float().addcmul_(state, kept), len(state)
        to_gates = to_hidden.clone()
        torch.mul(to_states, to_new, out=to_gates[:, 2])
        to_weight, to_bias = weight_gradients(to_hidden.flatten(1), previous)
        return to_gates.flatten(1).index_select(0, ragged.tensor(ctx.places)), to_weight, to_bias, None, None


def _by_step(counts: list[int], *tensors: Tensor) -> list[list[Tensor]]:
    """For each tensor its rows at each step."""
    return [list(tensor.split_with_sizes(counts)) for tensor in tensors]
