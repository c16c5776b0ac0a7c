"""Recurrent layers of the language model and how their weights start.

Idea of the per-gate start: each gate is a matrix of its own, so each gets its own Xavier (input) and orthogonal
(recurrent) start, as in Saxe et al. 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear
neural networks". Flair's start is the uniform one of torch's LSTM with encoder and decoder in [-0.1, 0.1].
"""

# E = embedding size, H = hidden size, V = dictionary size, G = gates (LSTM 4, GRU 3)

import torch
from torch import nn

from charlm.errors import ConfigError

_LAYERS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


def recurrent_layer(
    recurrent_type: str, input_size: int, hidden_size: int, nlayers: int, dropout: float
) -> nn.LSTM | nn.GRU:
    """A time-first LSTM or GRU; dropout acts between layers only."""
    if recurrent_type.lower() not in _LAYERS:
        raise ConfigError(f"recurrent_type is LSTM or GRU, got {recurrent_type!r}")
    layer = _LAYERS[recurrent_type.lower()]
    return layer(input_size, hidden_size, nlayers, dropout=dropout if nlayers > 1 else 0.0)


@torch.no_grad()
def initialize_gatewise(encoder: nn.Embedding, rnn: nn.LSTM | nn.GRU) -> None:
    """Normal embedding, Xavier input weights and orthogonal recurrent weights for each gate, zero biases."""
    nn.init.normal_(encoder.weight)
    for name, parameter in rnn.named_parameters():
        if name.startswith("bias"):
            nn.init.zeros_(parameter)
            continue
        for gate in torch.split(parameter, rnn.hidden_size):  # (G·H, E or H) -> G of (H, E or H)
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(gate)
            else:
                nn.init.orthogonal_(gate)
