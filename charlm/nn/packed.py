"""Any recurrent layer of torch over the rows of ragged sequences, without padding.

Slower on a CPU than the layers that are written for rows (bidirectional.py, gru.py), which cover the usual kinds.
"""

# W = rows (tokens of all sequences, see ragged.py), D = width of a row, H = hidden size

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from charlm.nn.ragged import Ragged


def packed_states(rnn: nn.RNNBase, x: Tensor, ragged: Ragged, start: Sequence[Tensor] = ()) -> Tensor:
    """The output of `rnn` at every row: (W, D) -> (W, H), or (W, 2H) where it is bidirectional.

    `start` are the states that each sequence starts from, (N, H) for N layers and directions; by default zeros.
    """
    places = ragged.reading_places[0]
    order = ragged.tensor(np.argsort(places))
    packed = PackedSequence(x.index_select(0, order), torch.tensor(ragged.active))
    states = [state[:, None].expand(-1, len(ragged.lengths), -1).contiguous() for state in start]  # (N, B, H)
    output: Tensor = rnn(packed, tuple(states) if len(states) > 1 else states[0] if states else None)[0].data
    return output.index_select(0, ragged.tensor(places))


class PackedRNN(nn.Module):
    """A recurrent layer that takes rows and their layout, as BidirectionalLSTM does; dropout acts between layers."""

    def __init__(
        self,
        kind: type[nn.LSTM] | type[nn.GRU] | type[nn.RNN],
        input_size: int,
        hidden_size: int,
        nlayers: int = 1,
        *,
        bidirectional: bool = True,
        dropout: float = 0.5,
        learns_start: bool = False,
    ) -> None:
        super().__init__()
        between = dropout if nlayers > 1 else 0.0
        self.rnn = kind(input_size, hidden_size, nlayers, dropout=between, bidirectional=bidirectional)
        directions = 2 if bidirectional else 1
        self.output_size = directions * hidden_size
        num_states = (2 if kind is nn.LSTM else 1) if learns_start else 0
        self.start = nn.ParameterList(torch.zeros(nlayers * directions, hidden_size) for _ in range(num_states))

    def forward(self, x: Tensor, ragged: Ragged) -> Tensor:
        return packed_states(self.rnn, x, ragged, list(self.start))
