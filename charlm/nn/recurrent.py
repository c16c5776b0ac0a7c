"""Recurrent layers of the language model, how they take a single step, and how their weights start.

Idea of the per-gate start: each gate is a matrix of its own, so each gets its own Xavier (input) and orthogonal
(recurrent) start, as in Saxe et al. 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear
neural networks". Flair's start is the uniform one of torch's LSTM with encoder and decoder in [-0.1, 0.1].
"""

# E = embedding size, H = hidden size, V = dictionary size, G = gates (LSTM 4, GRU 3), T = sequence length

import torch
from torch import Tensor, nn

from charlm.config.extensions import Extensions, layer_sizes
from charlm.errors import ConfigError
from charlm.nn.lstm import LSTM
from charlm.nn.lstm_stack import LSTMStack

_LAYERS: dict[str, type[LSTM] | type[nn.GRU]] = {"lstm": LSTM, "gru": nn.GRU}


def recurrent_layer(
    recurrent_type: str,
    input_size: int,
    hidden_size: int,
    nlayers: int,
    dropout: float,
    *,
    extensions: Extensions = Extensions(),  # noqa: B008  # frozen
    nout: int | None = None,
) -> LSTM | nn.GRU | LSTMStack:
    """A time-first LSTM or GRU; dropout acts between layers only.

    The layers are a stack where `extensions` ask for it, or for layers of different widths (see layer_sizes).
    """
    if recurrent_type.lower() not in _LAYERS:
        raise ConfigError(f"recurrent_type is LSTM or GRU, got {recurrent_type!r}")
    layer = _LAYERS[recurrent_type.lower()]
    sizes = layer_sizes(extensions, hidden_size=hidden_size, nlayers=nlayers, embedding_size=input_size, nout=nout)
    if extensions.has_stack or len(set(sizes)) > 1:
        if layer is not LSTM:
            raise ConfigError("projection, hidden_dropout, weight_dropout and layers of other widths are for an LSTM")
        return LSTMStack(
            input_size,
            sizes,
            projections=[extensions.projection or 0] * nlayers,
            dropout=dropout if extensions.hidden_dropout is None else extensions.hidden_dropout,
            weight_dropout=extensions.weight_dropout,
        )
    return layer(input_size, hidden_size, nlayers, dropout=dropout if nlayers > 1 else 0.0)


def recurrent_step(
    layers: nn.LSTM | nn.GRU | LSTMStack, inputs: Tensor, hidden: tuple[Tensor, Tensor] | Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor] | Tensor]:
    """What `layers` make of a single step in evaluation mode, (B, E) -> (B, H), and the new state.

    On a CPU the layers themselves pack all their weights again at each call, which takes longer than the step.
    """
    if isinstance(layers, LSTMStack):
        output, hidden = layers(inputs.unsqueeze(0), hidden)
        return output.squeeze(0), hidden
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


def layer_outputs(
    layers: nn.LSTM | nn.GRU | LSTMStack, x: Tensor, hidden: tuple[Tensor, Tensor] | Tensor | None = None
) -> list[Tensor]:
    """The output of every layer, (T, B, H) each, in evaluation mode, from (T, B, E)."""
    if isinstance(layers, LSTMStack):
        assert not isinstance(hidden, Tensor)
        return layers.all_outputs(x, hidden)[0]
    outputs = []
    for number in range(layers.num_layers):
        layer = type(layers)(x.shape[2], layers.hidden_size)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = {f"{name}_l0": getattr(layers, f"{name}_l{number}") for name in names}
        state: object = None
        if isinstance(hidden, tuple):
            state = tuple(part[number : number + 1] for part in hidden)
        elif hidden is not None:
            state = hidden[number : number + 1]
        x, _ = torch.func.functional_call(layer, weights, (x, state))
        outputs.append(x)
    return outputs


@torch.no_grad()
def initialize_gatewise(encoder: nn.Embedding | None, rnn: nn.LSTM | nn.GRU | LSTMStack) -> None:
    """Normal embedding, Xavier input and orthogonal recurrent weights for each gate, zero biases.

    An embedding that is also the weights of a softmax keeps its small values.
    """
    if encoder is not None:
        nn.init.normal_(encoder.weight)
    if isinstance(rnn, LSTMStack):
        for layer in rnn.layers:
            assert isinstance(layer, nn.LSTM)
            initialize_gatewise(None, layer)
        return
    for name, parameter in rnn.named_parameters():
        if name.startswith("bias"):
            nn.init.zeros_(parameter)
            continue
        if name.startswith("weight_hr"):
            nn.init.xavier_uniform_(parameter)
            continue
        for gate in torch.split(parameter, rnn.hidden_size):  # (G·H, E or H) -> G of (H, E or H)
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(gate)
            else:
                nn.init.orthogonal_(gate)
