"""One vector for a whole sentence from a network that reads the vectors of its words and is trained for it."""

# B = sentences

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from charlm.data.sentence import Sentence
from charlm.embeddings.base import DocumentEmbeddingsOfWords, TokenEmbeddings
from charlm.embeddings.stacked import StackedEmbeddings, stacked, token_embeddings_from_json
from charlm.nn.bf16_linear import Linear
from charlm.nn.dropout import Dropout, LockedDropout, WordDropout
from charlm.storage.atomic import JsonObject


class DocumentNetworkEmbeddings(DocumentEmbeddingsOfWords):
    """What such networks share: dropout, a linear layer before them, and zeros for a sentence without words."""

    embeddings: StackedEmbeddings

    def _set_up(
        self,
        embeddings: TokenEmbeddings | Sequence[TokenEmbeddings],
        *,
        reproject_words: bool,
        reproject_words_dimension: int | None,
        dropout: float,
        word_dropout: float,
        locked_dropout: float,
        fine_tune: bool,
    ) -> int:
        """Make the common parts; the width of the vectors that the network reads."""
        self.embeddings = stacked(embeddings)
        self.static_embeddings = not fine_tune
        width = self.embeddings.embedding_length
        self.word_reprojection_map: Linear | None = None
        if reproject_words:
            self.word_reprojection_map = Linear(width, reproject_words_dimension or width)
            nn.init.xavier_uniform_(self.word_reprojection_map.weight)
            width = self.word_reprojection_map.out_features
        self.dropout = Dropout(dropout)
        self.locked_dropout = LockedDropout(locked_dropout)
        self.word_dropout = WordDropout(word_dropout)
        return width

    def _settings(self) -> JsonObject:
        reprojection = self.word_reprojection_map
        return {
            "embeddings": self.embeddings.to_json(),
            "reproject_words": reprojection is not None,
            "reproject_words_dimension": None if reprojection is None else reprojection.out_features,
            "dropout": self.dropout.share,
            "word_dropout": self.word_dropout.share,
            "locked_dropout": self.locked_dropout.share,
            "fine_tune": not self.static_embeddings,
        }

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        return cls(**settings | {"embeddings": token_embeddings_from_json(settings["embeddings"])})

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        device = next(self._network.parameters()).device
        full = [sentence for sentence in sentences if len(sentence)]
        for sentence in sentences:
            if not len(sentence):
                sentence.set_embedding(self.name, torch.zeros(self.embedding_length, device=device))
        if not full:
            return
        self.embeddings.embed(full)
        full.sort(key=len, reverse=True)
        vectors = self._vectors(full, device)
        if self.static_embeddings:
            vectors = vectors.detach()
        for sentence, vector in zip(full, vectors, strict=True):
            sentence.set_embedding(self.name, vector)

    @property
    def _network(self) -> nn.Module:
        raise NotImplementedError

    def _vectors(self, sentences: list[Sentence], device: torch.device) -> Tensor:
        """The vectors (B, embedding_length) of sentences whose words are embedded, the longest first."""
        raise NotImplementedError
