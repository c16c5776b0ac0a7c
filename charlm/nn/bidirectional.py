"""A bidirectional LSTM that computes almost nothing for padding.

With a compiled kernel a sequence that has ended is left out at once. With torch's LSTM the sequences of a batch are
read in pieces of time, and from piece to piece those that have ended are dropped. In both directions a sequence starts
at time 0, so the state starts at zero and no mask is needed. Against a packed `nn.LSTM`, which leaves oneDNN's fused
layer unused, training with torch's takes half the time on a CPU (fp32) or a third (bf16 autocast).
"""

# W = rows (tokens of all sequences), B = sequences, T = steps of a piece, D = width of a row, H = hidden size

import itertools
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from charlm.native import Kernel
from charlm.nn.bf16_linear import bf16_linear, is_bf16
from charlm.nn.bf16_lstm import bidirectional_bf16
from charlm.nn.kernel import kernel_for
from charlm.nn.lstm import LSTM, run_layer
from charlm.nn.ragged import Ragged, cuts


class BidirectionalLSTM(nn.Module):
    """Layers of two LSTMs, one for each direction; dropout acts between layers only."""

    def __init__(self, input_size: int, hidden_size: int, nlayers: int = 1, dropout: float = 0.5) -> None:
        super().__init__()
        widths = [input_size] + [2 * hidden_size] * (nlayers - 1)
        self.forward_layers = nn.ModuleList(LSTM(width, hidden_size) for width in widths)
        self.backward_layers = nn.ModuleList(LSTM(width, hidden_size) for width in widths)
        self.dropout = nn.Dropout(dropout)
        self.output_size = 2 * hidden_size

    def forward(self, x: Tensor, ragged: Ragged) -> Tensor:
        """The states (W, 2H) at the rows (W, D): forward, then backward."""
        kernel, reads_bf16 = kernel_for(x), is_bf16(x)
        reading = None if kernel is not None or reads_bf16 else _Reading(ragged)
        for number, layers in enumerate(zip(self.forward_layers, self.backward_layers, strict=True)):
            if number:
                x = self.dropout(x)
            if kernel is not None:
                x = _with_kernel(kernel, x, ragged, layers)
            elif reading is None:
                x = bidirectional_bf16(x, ragged, layers)
            else:
                x = torch.cat([reading.read(lstm, x, direction) for direction, lstm in enumerate(layers)], dim=1)
        return x


def _with_kernel(kernel: Kernel, x: Tensor, ragged: Ragged, directions: Iterable[nn.Module]) -> Tensor:
    """The states (W, 2H) of two LSTMs at the rows (W, D), of which the second reads from the end."""
    places = torch.tensor([0, *ragged.active]).cumsum(0)
    outputs = []
    for lstm, places_of_rows in zip(directions, ragged.reading_places, strict=True):
        assert isinstance(lstm, LSTM)
        weights = lstm.input_weights(kernel, 0)
        gates = bf16_linear(x, *weights) if is_bf16(x) else functional.linear(x, *weights)  # (W, 4H) in tiles
        start = torch.zeros(len(ragged.lengths), lstm.hidden_size)
        rows = ragged.tensor(np.argsort(places_of_rows))
        states, _, _ = run_layer(kernel, places, gates.to(kernel.real), rows, lstm.recurrent_weights(0), start, start)
        outputs.append(states.index_select(0, ragged.tensor(places_of_rows)))
    return torch.cat(outputs, dim=1)


class _Reading:
    """The pieces of a batch: which rows each reads, and where in all pieces the state of each row is found."""

    def __init__(self, ragged: Ragged) -> None:
        lengths = ragged.lengths
        # On a GPU a step costs the same for many rows as for few, so the batch is read in one piece.
        ends = cuts(lengths, int(lengths[0])) if ragged.device.type == "cpu" else [0, ragged.steps]
        places = [ragged.forward_places(ends[-1]), ragged.backward_places(ends[-1])]
        self._sizes = [
            (end - begin, int(np.searchsorted(-lengths, -begin))) for begin, end in itertools.pairwise(ends)
        ]  # steps and sequences of each piece
        self._rows = [
            [ragged.tensor(table[begin:end, :count].ravel()) for (begin, end), (_, count) in self._pieces(ends)]
            for table in places
        ]
        self._found = [ragged.tensor(self._found_at(ragged, ends, time)) for time in self._times(ragged)]

    def _pieces(self, ends: list[int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        return list(zip(itertools.pairwise(ends), self._sizes, strict=True))

    @staticmethod
    def _times(ragged: Ragged) -> tuple[np.ndarray, np.ndarray]:
        """When each row is read, in both directions."""
        return ragged.place, np.repeat(ragged.lengths, ragged.lengths) - 1 - ragged.place

    def _found_at(self, ragged: Ragged, ends: list[int], time: np.ndarray) -> np.ndarray:
        """The place of each row's state in the outputs of all pieces, one after the other."""
        steps, counts = np.array(self._sizes).T
        before = np.cumsum(steps * counts) - steps * counts
        piece = np.searchsorted(ends, time, side="right") - 1
        sequence = np.repeat(np.arange(len(ragged.lengths)), ragged.lengths)
        return np.asarray(before[piece] + (time - np.array(ends)[piece]) * counts[piece] + sequence)

    def read(self, lstm: nn.Module, x: Tensor, direction: int) -> Tensor:
        """The states (W, H) of one LSTM."""
        outputs, hidden = [], None
        for rows, (steps, count) in zip(self._rows[direction], self._sizes, strict=True):
            if hidden is not None:
                hidden = tuple(state[:, :count].contiguous() for state in hidden)
            piece = x.index_select(0, rows).view(steps, count, -1)  # (T, B, D)
            output, hidden = lstm(piece, hidden)  # (T, B, H)
            outputs.append(output.flatten(0, 1))
        return torch.cat(outputs).index_select(0, self._found[direction])
