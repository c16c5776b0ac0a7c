"""A layer of two LSTMs in bf16 on a CPU: few large multiplications for all words at once, small ones only in time.

oneDNN's fused layer trains at a third of the speed that bf16 multiplications reach on the same core, because it treats
every step alike. Here what does not depend on time (the part of the gates that comes from the input, and all gradients
of weights) is one multiplication for all words; only the recurrent part runs step by step, both directions together,
and only for sentences that have not ended. Multiplications are bf16; cells and gates are float32.
"""

# W = rows (tokens of all sequences, see ragged.py), D = width of a row, H = hidden size, F = any width
# The gates are in torch's order i, f, g, o.

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from charlm.nn.bf16_linear import bf16_linear, weight_gradients
from charlm.nn.compat import onednn_lstm_layer
from charlm.nn.ragged import Ragged


def bidirectional_bf16(x: Tensor, ragged: Ragged, directions: tuple[Any, Any]) -> Tensor:
    """The states (W, 2H), in bf16, of two `nn.LSTM`s at the rows (W, D), which the second reads from the end."""
    with torch.autocast("cpu", enabled=False):
        x = x.bfloat16()
        gates = [
            bf16_linear(x, lstm.weight_ih_l0, lstm.bias_ih_l0 + lstm.bias_hh_l0) for lstm in directions
        ]  # (W, 4H) each: the part of the gates that comes from the input
        recurrent = torch.stack([lstm.weight_hh_l0.bfloat16() for lstm in directions])
        states: Tensor = _Recurrence.apply(*gates, recurrent, _Steps.of(ragged))  # type: ignore[no-untyped-call]
    return states


@dataclass(frozen=True)
class _Steps:
    """The rows in the order in which they are read: all first ones, longest sequence first, then all second ones, …"""

    counts: list[int]
    """Sequences that are read at each step."""

    rows: Tensor
    """For both directions the row that is read at each place, (2, W)."""

    places: Tensor
    """For both directions the place at which each row is read, (2, W)."""

    before: Tensor
    """For each place after the first step the one that is read before in the same sequence, (W - B,)."""

    @classmethod
    def of(cls, ragged: Ragged) -> "_Steps":
        places = ragged.reading_places
        return cls(ragged.active, ragged.tensor(np.argsort(places, axis=1)), ragged.tensor(places), ragged.read_before)

    def ordered(self, directions: Iterable[Tensor]) -> Tensor:
        """What both directions have at each row, (W, F) each, -> (2, W, F) in the order of reading."""
        return torch.stack([rows.index_select(0, order) for rows, order in zip(directions, self.rows, strict=True)])

    def by_row(self, ordered: Tensor) -> list[Tensor]:
        """The inverse of `ordered`."""
        return [part.index_select(0, places) for part, places in zip(ordered, self.places, strict=True)]

    def previous(self, ordered: Tensor) -> Tensor:
        """For each place the value one step before it, (2, W, F); zeros at the first step."""
        previous = torch.zeros_like(ordered)
        previous[:, self.counts[0] :] = ordered.index_select(1, self.before)
        return previous


class _Recurrence(torch.autograd.Function):
    """What time does to the gates."""

    @staticmethod
    def forward(ctx: Any, forward: Tensor, backward: Tensor, recurrent: Tensor, steps: _Steps) -> Tensor:
        """States (W, 2H) from the input's part of the gates (W, 4H) and the recurrent weights (2, 4H, H), all bf16."""
        size = recurrent.shape[2]
        inputs = steps.ordered((forward, backward))  # (2, W, 4H)
        gates = torch.empty(inputs.shape)
        cells = torch.empty(*inputs.shape[:2], size)
        squashed = torch.empty(cells.shape)
        states = torch.empty(cells.shape, dtype=torch.bfloat16)
        moves = recurrent.transpose(1, 2)
        start = 0
        before = slice(0, 0)
        for count in steps.counts:
            here = slice(start, start + count)
            sums = inputs[:, here]
            if start:
                sums = torch.baddbmm(sums, states[:, before][:, :count], moves)
            gate = gates[:, here].copy_(sums)
            gate[..., : 2 * size].sigmoid_()
            gate[..., 2 * size : 3 * size].tanh_()
            gate[..., 3 * size :].sigmoid_()
            i, f, g, o = gate.chunk(4, dim=2)
            cell = torch.mul(i, g, out=cells[:, here])
            if start:
                cell.addcmul_(f, cells[:, before][:, :count])
            torch.mul(o, torch.tanh(cell, out=squashed[:, here]), out=states[:, here])
            start, before = start + count, here
        ctx.save_for_backward(recurrent, gates, cells, squashed, states)
        ctx.steps = steps
        return torch.cat(steps.by_row(states), dim=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, gates, cells, squashed, states = ctx.saved_tensors
        steps: _Steps = ctx.steps
        to_states = steps.ordered(gradient.chunk(2, dim=1)).float()  # (2, W, H)
        i, f, g, o = gates.chunk(4, dim=2)
        # What one unit of gradient of the cell does to the gates i, f and g; of the state to o and to the cell.
        by_cell = torch.stack(
            [g * i * (1 - i), steps.previous(cells) * f * (1 - f), i * (1 - g * g)], dim=2
        )  # (2, W, 3, H)
        to_output = squashed * o * (1 - o)
        to_cell = o * (1 - squashed * squashed)
        to_gates = torch.empty(*gates.shape[:2], 4, recurrent.shape[2], dtype=torch.bfloat16)
        end = len(gradient)
        later_state = later_cell = None
        for count in reversed(steps.counts):
            here = slice(end - count, end)
            state = to_states[:, here]
            if later_state is not None:
                state[:, : later_state.shape[1]] += later_state
            cell = state * to_cell[:, here]
            if later_cell is not None:
                cell[:, : later_cell.shape[1]] += later_cell
            torch.mul(cell[:, :, None], by_cell[:, here], out=to_gates[:, here, :3])
            torch.mul(state, to_output[:, here], out=to_gates[:, here, 3])
            end -= count
            if end:
                later_cell = cell.mul_(f[:, here])
                later_state = torch.bmm(to_gates[:, here].flatten(2), recurrent)
        flat = to_gates.flatten(2)  # (2, W, 4H)
        previous = steps.previous(states)
        to_weights = torch.stack([weight_gradients(*pair)[0] for pair in zip(flat, previous, strict=True)])
        return *steps.by_row(flat), to_weights, None


class LowPrecisionLSTM:
    """An LSTM whose weights and outputs are bf16, but whose cell stays float32, on oneDNN.

    `nn.LSTM` rounds the cell at every step, which in long texts costs more precision than all other rounding: without
    it the lowest cosine to float32 over 14,000 tokens is 0.99995 instead of 0.99987 (hidden 256). Only the function
    below it takes a cell of another type.
    """

    def __init__(self, rnn: nn.LSTM) -> None:
        self._hidden_size, self._layers = rnn.hidden_size, rnn.num_layers
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        self._weights = [
            [getattr(rnn, f"{name}_l{layer}").detach().bfloat16() for name in names] for layer in range(self._layers)
        ]

    def __call__(self, x: Tensor, hidden: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Outputs (T, B, H) in bf16 and the new state, from (T, B, E)."""
        if hidden is None:
            shape = (self._layers, x.shape[1], self._hidden_size)
            hidden = torch.zeros(shape, dtype=torch.bfloat16), torch.zeros(shape)
        states, cells = [], []
        for weights, state, cell in zip(self._weights, *hidden, strict=True):
            x, state, cell = onednn_lstm_layer(x, weights, state, cell)
            states.append(state.view(cell.shape[-2:]))
            cells.append(cell.view(cell.shape[-2:]))
        return x, (torch.stack(states), torch.stack(cells))


def low_precision_lstm(rnn: nn.LSTM) -> "nn.LSTM | LowPrecisionLSTM":
    if next(rnn.parameters()).device.type == "cpu":
        return LowPrecisionLSTM(rnn)
    return copy.deepcopy(rnn).bfloat16()
