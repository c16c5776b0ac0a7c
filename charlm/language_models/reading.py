"""How a language model reads ids: embedding, dropout and recurrent layers, or all of it in a compiled kernel."""

# T = sequence length in units, B = mini-batch size, H = hidden size

from typing import TYPE_CHECKING

from torch import Tensor

from charlm.nn.dropout import is_active
from charlm.nn.lstm import LSTM

if TYPE_CHECKING:
    from charlm.language_models.language_model import Hidden, LanguageModel


def read_ids(lm: "LanguageModel", ids: Tensor, hidden: "Hidden | None") -> tuple[Tensor, "Hidden"]:
    """Output of the top layer (T, B, H), and the new state, from ids (T, B)."""
    drops = is_active(lm.input_drop) or lm.embedding_drop.is_active
    if isinstance(lm.rnn, LSTM) and not drops and lm.rnn.reads_rows(lm.encoder.weight, ids):
        assert not isinstance(hidden, Tensor)  # the state of a GRU
        return lm.rnn.read_rows(lm.encoder.weight, ids, hidden)
    output, hidden = lm.rnn(lm.input_drop(lm.embedding_drop(lm.encoder(ids), ids)), hidden)
    return output, hidden
