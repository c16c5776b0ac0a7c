"""A language model layer by layer: outputs, widths, and weights for a rate of their own."""

# T = sequence length, B = mini-batch size, D = width of a layer's output

from torch import Tensor, nn

from charlm.language_models.language_model import LanguageModel
from charlm.nn.layers import outputs_of, weights_of, widths_of


def layer_outputs(lm: LanguageModel, ids: Tensor) -> list[Tensor]:
    """The output of every layer, from the first to the last, (T, B, D) each, after ids (T, B) from a zero state.

    The last one has passed the projection where there is one. Dropout acts while the model is being trained.
    """
    outputs = outputs_of(lm.rnn, lm.input_drop(lm.embedding_drop(lm.encoder(ids), ids)))
    if lm.proj is not None:
        outputs[-1] = lm.proj(outputs[-1])
    return outputs


def layer_widths(lm: LanguageModel) -> list[int]:
    """Width of the output of every layer, from the first to the last."""
    widths = widths_of(lm.rnn)
    return [*widths[:-1], lm.nout or widths[-1]]


def layer_parameters(lm: LanguageModel) -> list[list[nn.Parameter]]:
    """The weights from the last layer, with the projection, down to the embedding; not those of the softmax."""
    groups = weights_of(lm.rnn)[::-1]
    if lm.proj is not None:
        groups[0] += lm.proj.parameters()
    return [*groups, list(lm.encoder.parameters())]
