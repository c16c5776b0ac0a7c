"""Recurrent layers of the language model, how they take a single step, and how their weights start.

Idea of the per-gate start: each gate is a matrix of its own, so each gets its own Xavier (input) and orthogonal
(recurrent) start, as in Saxe et al. 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear
neural networks". Flair's start is the uniform one of torch's LSTM with encoder and decoder in [-0.1, 0.1].
"""

# E = embedding size, H = hidden size, V = dictionary size, G = gates (LSTM 4, GRU 3)

import torch
from torch import Tensor, nn

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


def recurrent_step(
    layers: nn.LSTM | nn.GRU, inputs: Tensor, hidden: tuple[Tensor, Tensor] | Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor] | Tensor]:
    """What `layers` make of a single step in evaluation mode, (B, E) -> (B, H), and the new state.

    On a CPU the layers themselves pack all their weights again at each call, which takes longer than the step.
    """
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights = [[getattr(layers, f"{name}_l{number}") for name in names] for number in range(layers.num_layers)]
    outputs = []
    if not isinstance(hidden, tuple):
        for state, layer_weights in zip(hidden, weights, strict=True):
            inputs = torch.gru_cell(inputs, state, *layer_weights)
            outputs.append(inputs)
        return inputs, torch.stack(outputs)
    cells = []
    for state, cell, layer_weights in zip(*hidden, weights, strict=True):
        inputs, new_cell = torch.lstm_cell(inputs, (state, cell), *layer_weights)
        outputs.append(inputs)
        cells.append(new_cell)
    return inputs, (torch.stack(outputs), torch.stack(cells))


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
