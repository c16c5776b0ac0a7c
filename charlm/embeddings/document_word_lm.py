"""The vector of a whole text from language models of words, for a classifier that trains them too.

Concat pooling is Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification".
"""

from typing import Self

import torch
from torch import nn

from charlm.data.sentence import Sentence
from charlm.embeddings.base import DocumentEmbeddingsOfWords, embeddings_from_json
from charlm.embeddings.word_lm import WordLMEmbeddings
from charlm.errors import ModelFileError
from charlm.storage.atomic import JsonObject


class DocumentWordLMEmbeddings(DocumentEmbeddingsOfWords):
    """The last state of a text, and the maximum and the mean of all its states, side by side.

    The last state of a backward model is that at the first word.

    Args:
        embeddings: of language models of words; with `fine_tune=True` they are trained with the classifier.
    """

    embeddings: WordLMEmbeddings

    def __init__(self, embeddings: WordLMEmbeddings) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.static_embeddings = embeddings.static_embeddings
        self.name = "document_word_lm"

    @property
    def embedding_length(self) -> int:
        return 3 * self.embeddings.embedding_length

    def layer_groups(self) -> list[list[nn.Parameter]]:
        return self.embeddings.layer_groups()

    def _settings(self) -> JsonObject:
        return {"embeddings": self.embeddings.to_json()}

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        embeddings = embeddings_from_json(settings["embeddings"])
        if not isinstance(embeddings, WordLMEmbeddings):
            raise ModelFileError(f"DocumentWordLMEmbeddings pool those of words, not {type(embeddings).__name__}")
        return cls(embeddings)

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        self.embeddings.embed(sentences)
        for sentence in sentences:
            if not len(sentence):
                sentence.set_embedding(self.name, torch.zeros(self.embedding_length))
                continue
            matrix = sentence.get_token_embeddings(self.embeddings.get_names())  # (N, D)
            parts = zip(self.embeddings.reads_forward, torch.split(matrix, self.embeddings.widths, dim=1), strict=True)
            last = torch.cat([part[-1 if is_forward else 0] for is_forward, part in parts])
            sentence.set_embedding(self.name, torch.cat([last, matrix.amax(dim=0), matrix.mean(dim=0)]))
