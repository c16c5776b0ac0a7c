"""One vector for a whole sentence, computed from the vectors of its tokens."""

# B = sentences, N = tokens of one, W = tokens of all (see ragged.py), D = width of token embeddings, H = hidden size

from collections.abc import Sequence
from typing import Literal, Self

import torch
from torch import Tensor, nn

from charlm.data.sentence import Sentence
from charlm.embeddings.base import DocumentEmbeddingsOfWords, TokenEmbeddings
from charlm.embeddings.batches import token_matrix
from charlm.embeddings.document_cnn import DocumentCNNEmbeddings
from charlm.embeddings.document_lm import DocumentLMEmbeddings
from charlm.embeddings.document_network import DocumentNetworkEmbeddings
from charlm.embeddings.stacked import StackedEmbeddings, stacked, token_embeddings_from_json
from charlm.embeddings.transformer import TransformerDocumentEmbeddings
from charlm.errors import ConfigError
from charlm.nn.gru import gru_states
from charlm.nn.packed import packed_states
from charlm.nn.ragged import Ragged
from charlm.storage.atomic import JsonObject

# Flair's `embeddings.document` has them all.
__all__ = [
    "DocumentCNNEmbeddings",
    "DocumentLMEmbeddings",
    "DocumentPoolEmbeddings",
    "DocumentRNNEmbeddings",
    "TransformerDocumentEmbeddings",
]


class DocumentPoolEmbeddings(DocumentEmbeddingsOfWords):
    """The mean, maximum or minimum of the token vectors; zeros for a sentence without tokens.

    Args:
        embeddings: token embeddings, stacked.
        pooling: `mean`, `max` or `min`.
        fine_tune_mode: `linear` puts a learned matrix, which begins as the identity, before the pooling; `nonlinear`
            adds a layer with ReLU after it; `none` pools the vectors as they are.
    """

    embeddings: StackedEmbeddings

    def __init__(
        self,
        embeddings: TokenEmbeddings | Sequence[TokenEmbeddings],
        pooling: Literal["mean", "max", "min"] = "mean",
        fine_tune_mode: Literal["none", "linear", "nonlinear"] = "none",
    ) -> None:
        super().__init__()
        if pooling not in ("mean", "max", "min"):
            raise ConfigError(f"pooling is mean, max or min, got {pooling!r}")
        if fine_tune_mode not in ("none", "linear", "nonlinear"):
            raise ConfigError(f"fine_tune_mode is none, linear or nonlinear, got {fine_tune_mode!r}")
        self.embeddings = stacked(embeddings)
        self.fine_tune_mode = fine_tune_mode
        self.static_embeddings = self.embeddings.static_embeddings and fine_tune_mode == "none"
        width = self.embeddings.embedding_length
        self.embedding_flex: nn.Linear | None = None
        self.embedding_flex_nonlinear_map: nn.Linear | None = None
        if fine_tune_mode != "none":
            self.embedding_flex = nn.Linear(width, width, bias=False)
            nn.init.eye_(self.embedding_flex.weight)
        if fine_tune_mode == "nonlinear":
            self.embedding_flex_nonlinear_map = nn.Linear(width, width)
        self.pooling = pooling
        self.name = f"document_{pooling}"

    @property
    def embedding_length(self) -> int:
        return self.embeddings.embedding_length

    def _settings(self) -> JsonObject:
        settings: JsonObject = {"embeddings": self.embeddings.to_json(), "pooling": self.pooling}
        return settings | ({"fine_tune_mode": self.fine_tune_mode} if self.fine_tune_mode != "none" else {})

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        return cls(**settings | {"embeddings": token_embeddings_from_json(settings["embeddings"])})

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        self.embeddings.embed(sentences)
        names = self.embeddings.get_names()
        for sentence in sentences:
            matrix = sentence.get_token_embeddings(names)  # (N, D)
            if self.embedding_flex is not None:
                matrix = self.embedding_flex(matrix.to(self.embedding_flex.weight.device))
            if self.embedding_flex_nonlinear_map is not None:
                matrix = self.embedding_flex_nonlinear_map(torch.relu(matrix))
            sentence.set_embedding(
                self.name, self._pooled(matrix) if len(sentence) else matrix.new_zeros(matrix.shape[1])
            )

    def _pooled(self, matrix: Tensor) -> Tensor:
        if self.pooling == "mean":
            return matrix.mean(dim=0)
        return matrix.amax(dim=0) if self.pooling == "max" else matrix.amin(dim=0)


class DocumentRNNEmbeddings(DocumentNetworkEmbeddings):
    """The last output of a recurrent layer over the token vectors; with `bidirectional` the first and the last.

    Arguments and numbers are Flair's.

    Args:
        embeddings: token embeddings, stacked.
        hidden_size: width of the recurrent layer.
        rnn_layers: number of recurrent layers.
        reproject_words: put a linear layer before the recurrent one.
        reproject_words_dimension: its width; that of the token vectors by default.
        bidirectional: read in both directions.
        dropout: share of the values dropped before and after the recurrent layer.
        word_dropout: share of the words dropped.
        locked_dropout: share of the values dropped at all places of a sentence.
        rnn_type: GRU or LSTM.
        fine_tune: train with the downstream model; otherwise the vectors carry no gradient.
    """

    def __init__(
        self,
        embeddings: TokenEmbeddings | Sequence[TokenEmbeddings],
        hidden_size: int = 128,
        rnn_layers: int = 1,
        reproject_words: bool = True,
        reproject_words_dimension: int | None = None,
        bidirectional: bool = False,
        dropout: float = 0.5,
        word_dropout: float = 0.0,
        locked_dropout: float = 0.0,
        rnn_type: Literal["GRU", "LSTM"] = "GRU",
        fine_tune: bool = True,
    ) -> None:
        super().__init__()
        if rnn_type not in ("GRU", "LSTM"):
            raise ConfigError(f"rnn_type is GRU or LSTM, got {rnn_type!r}")
        width = self._set_up(
            embeddings,
            reproject_words=reproject_words,
            reproject_words_dimension=reproject_words_dimension,
            dropout=dropout,
            word_dropout=word_dropout,
            locked_dropout=locked_dropout,
            fine_tune=fine_tune,
        )
        layer = nn.GRU if rnn_type == "GRU" else nn.LSTM
        self.rnn = layer(width, hidden_size, rnn_layers, bidirectional=bidirectional, batch_first=True)
        self.name = f"document_{rnn_type}"

    @property
    def embedding_length(self) -> int:
        return self.rnn.hidden_size * (4 if self.rnn.bidirectional else 1)

    @property
    def _network(self) -> nn.Module:
        return self.rnn

    def _settings(self) -> JsonObject:
        return super()._settings() | {
            "hidden_size": self.rnn.hidden_size,
            "rnn_layers": self.rnn.num_layers,
            "bidirectional": self.rnn.bidirectional,
            "rnn_type": "GRU" if isinstance(self.rnn, nn.GRU) else "LSTM",
        }

    def _vectors(self, sentences: list[Sentence], device: torch.device) -> Tensor:
        ragged = Ragged([len(sentence) for sentence in sentences], device)
        x = token_matrix(sentences, self.embeddings.get_names(), device)  # (W, D)
        x = self.word_dropout(self.locked_dropout(self.dropout(x), ragged))
        if self.word_reprojection_map is not None:
            x = self.word_reprojection_map(x)
        vectors = self._ends(x, ragged)  # (B, 1 or 2, H or 2H)
        answers: Tensor = self.locked_dropout(self.dropout(vectors))
        return answers.flatten(1)

    def _ends(self, x: Tensor, ragged: Ragged) -> Tensor:
        """The output at the last token of each sentence, preceded by that at the first token if bidirectional."""
        output = self._outputs(x, ragged)  # (W, H or 2H)
        ends = [ragged.first, ragged.last] if self.rnn.bidirectional else [ragged.last]
        return torch.stack([output.index_select(0, rows) for rows in ends], dim=1)

    def _outputs(self, x: Tensor, ragged: Ragged) -> Tensor:
        """The output of the recurrent layer at every row, (W, H or 2H)."""
        if isinstance(self.rnn, nn.GRU) and x.device.type == "cpu":
            return gru_states(self.rnn, x, ragged)
        return packed_states(self.rnn, x, ragged)
