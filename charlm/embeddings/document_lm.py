"""The vector of a whole text from language models: their last state."""

from collections.abc import Sequence
from typing import Self

import torch

from charlm.data.sentence import Sentence
from charlm.embeddings.base import DocumentEmbeddingsOfWords
from charlm.embeddings.flair import FlairEmbeddings
from charlm.embeddings.stacked import StackedEmbeddings, token_embeddings_from_json
from charlm.errors import ConfigError
from charlm.storage.atomic import JsonObject


class DocumentLMEmbeddings(DocumentEmbeddingsOfWords):
    """The vector of the last word of a forward model, and of the first word of a backward one, side by side.

    Args:
        flair_embeddings: embeddings of language models.
    """

    embeddings: StackedEmbeddings

    def __init__(self, flair_embeddings: FlairEmbeddings | Sequence[FlairEmbeddings]) -> None:
        super().__init__()
        parts = [flair_embeddings] if isinstance(flair_embeddings, FlairEmbeddings) else list(flair_embeddings)
        if not parts:
            raise ConfigError("DocumentLMEmbeddings needs at least one FlairEmbeddings")
        self._set_up(StackedEmbeddings(parts))

    def _set_up(self, embeddings: StackedEmbeddings) -> None:
        self.embeddings = embeddings
        self.static_embeddings = embeddings.static_embeddings
        self.name = "document_lm"

    @property
    def embedding_length(self) -> int:
        return self.embeddings.embedding_length

    def _settings(self) -> JsonObject:
        return {"embeddings": self.embeddings.to_json()}

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        embeddings = cls.__new__(cls)
        DocumentEmbeddingsOfWords.__init__(embeddings)
        stacked = token_embeddings_from_json(settings["embeddings"])
        assert isinstance(stacked, StackedEmbeddings)
        embeddings._set_up(stacked)
        return embeddings

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        self.embeddings.embed(sentences)
        device = next(self.embeddings.parameters()).device
        for sentence in sentences:
            if not len(sentence):
                sentence.set_embedding(self.name, torch.zeros(self.embedding_length, device=device))
                continue
            ends = []
            for part in self.embeddings.parts:
                assert isinstance(part, FlairEmbeddings)
                matrix = sentence.get_token_embeddings([part.name])  # (N, D)
                ends.append(matrix[-1] if part.is_forward_lm else matrix[0])
            sentence.set_embedding(self.name, torch.cat(ends))
