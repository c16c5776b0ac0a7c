"""The single layers of a recurrent network: their outputs, widths and weights, whatever class they are in."""

# T = sequence length, B = mini-batch size, E = width of the input, H = width of a layer's output

import torch
from torch import Tensor, nn

from charlm.nn.lstm_stack import LSTMStack

Recurrent = nn.LSTM | nn.GRU | LSTMStack


def outputs_of(rnn: Recurrent, x: Tensor) -> list[Tensor]:
    """The output of every layer, from the first to the last, (T, B, H) each, after inputs (T, B, E) from a zero state.

    While training, dropout acts between layers as in the network itself.
    """
    if isinstance(rnn, LSTMStack):
        return rnn.all_outputs(x)[0]
    outputs = []
    for number, layer in enumerate(weights_of(rnn)):
        weights: list[Tensor] = [*layer]
        if number and rnn.dropout:
            x = nn.functional.dropout(x, rnn.dropout, rnn.training)
        zeros = x.new_zeros(1, x.shape[1], rnn.hidden_size)
        if isinstance(rnn, nn.LSTM):
            x = torch.lstm(x, (zeros, zeros), weights, True, 1, 0.0, rnn.training, False, False)[0]
        else:
            x = torch.gru(x, zeros, weights, True, 1, 0.0, rnn.training, False, False)[0]
        outputs.append(x)
    return outputs


def widths_of(rnn: Recurrent) -> list[int]:
    """Width of the output of every layer, from the first to the last."""
    return list(rnn.state_sizes) if isinstance(rnn, LSTMStack) else [rnn.hidden_size] * rnn.num_layers


def weights_of(rnn: Recurrent) -> list[list[nn.Parameter]]:
    """The weights of every layer, from the first to the last."""
    if isinstance(rnn, LSTMStack):
        return [list(layer.parameters()) for layer in rnn.layers]
    return [list(weights) for weights in rnn.all_weights]
