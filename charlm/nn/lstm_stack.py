"""A stack of LSTM layers of different widths, with dropout of recurrent weights and between layers.

As in Merity et al. 2018, "Regularizing and Optimizing LSTM Language Models": the last layer has the width of the
embedding, so that a softmax can share its rows. Layers may project their state (Sak et al. 2014, "Long Short-Term
Memory Based Recurrent Neural Network Architectures for Large Scale Acoustic Modeling"), which keeps a wide cell cheap.

The states of all layers lie side by side, as if they were one wide layer: (1, B, sum of widths).
"""

# T = sequence length, B = mini-batch size, E = width of the input, H = width of a cell, P = width of a state

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from charlm.nn.dropout import TimeLockedDropout, WeightDropout
from charlm.nn.lstm import LSTM


class LSTMStack(nn.Module):
    """LSTM layers of the given cell widths, one above the other.

    Args:
        input_size: E.
        sizes: H of each layer.
        projections: P of each layer; 0 for a state as wide as the cell.
        dropout: share of the values between two layers that is dropped, the same at all times.
        weight_dropout: share of the recurrent weights that is dropped, others for each sequence.
    """

    def __init__(
        self,
        input_size: int,
        sizes: Sequence[int],
        *,
        projections: Sequence[int],
        dropout: float = 0.0,
        weight_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.cell_sizes = list(sizes)
        self.state_sizes = [projection or size for size, projection in zip(sizes, projections, strict=True)]
        widths = [input_size, *self.state_sizes]
        self.layers = nn.ModuleList(
            LSTM(width, size, proj_size=projection)
            for width, size, projection in zip(widths, sizes, projections, strict=False)
        )
        self.between = TimeLockedDropout(dropout)
        self.weight_dropout = WeightDropout(weight_dropout)

    def zero_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """The states and the cells before the first step."""
        some = next(self.parameters())
        return (
            some.new_zeros(1, batch_size, sum(self.state_sizes)),
            some.new_zeros(1, batch_size, sum(self.cell_sizes)),
        )

    def forward(
        self, x: Tensor, hidden: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:  # (T, B, E) -> (T, B, P of the last layer)
        outputs, hidden = self.all_outputs(x, hidden)
        return outputs[-1], hidden

    def all_outputs(
        self, x: Tensor, hidden: tuple[Tensor, Tensor] | None = None
    ) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
        """The output of every layer, (T, B, P) each, and the new states and cells."""
        before = self.zero_state(x.shape[1]) if hidden is None else hidden
        outputs, states, cells = [], [], []
        split = zip(
            self.layers,
            torch.split(before[0], self.state_sizes, dim=2),
            torch.split(before[1], self.cell_sizes, dim=2),
            strict=True,
        )
        for number, (layer, state, cell) in enumerate(split):
            if number:
                x = self.between(x)
            own = self.weight_dropout(layer.weight_hh_l0) if self.weight_dropout.is_active else None
            x, (state, cell) = layer(x, (state.contiguous(), cell.contiguous()), recurrent=own)
            outputs.append(x)
            states.append(state)
            cells.append(cell)
        return outputs, (torch.cat(states, dim=2), torch.cat(cells, dim=2))
