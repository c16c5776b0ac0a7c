"""A learned vector for each word of a vocabulary."""

from typing import Self

import torch
from torch import nn

from charlm.data.corpus import Corpus
from charlm.data.dictionary import Dictionary
from charlm.data.sentence import Sentence, Token
from charlm.embeddings.base import TokenEmbeddings
from charlm.errors import ConfigError
from charlm.storage.atomic import JsonObject


class OneHotEmbeddings(TokenEmbeddings):
    """Vectors of words, or of the labels of words, that are learned with the downstream model.

    Args:
        vocab_dictionary: the vocabulary; an unknown word is `<unk>`.
        field: `text`, or the layer of labels that is looked up instead of the word.
        embedding_length: width of the vectors.
    """

    static_embeddings = False

    def __init__(self, vocab_dictionary: Dictionary, field: str = "text", embedding_length: int = 300) -> None:
        super().__init__()
        if not len(vocab_dictionary):
            raise ConfigError("OneHotEmbeddings needs a vocabulary with at least one word")
        self.name = f"one-hot-{field}"
        self.vocab_dictionary = vocab_dictionary
        self.field = field
        self.embedding_layer = nn.Embedding(len(vocab_dictionary), embedding_length)
        nn.init.xavier_uniform_(self.embedding_layer.weight)

    @classmethod
    def from_corpus(cls, corpus: Corpus, field: str = "text", min_freq: int = 3, embedding_length: int = 300) -> Self:
        """Vectors for the words that occur at least `min_freq` times in the train sentences."""
        counts: dict[str, int] = {}
        for sentence in corpus.train:
            for value in _values(sentence, field):
                counts[value] = counts.get(value, 0) + 1
        dictionary = Dictionary.from_items(sorted(value for value, count in counts.items() if count >= min_freq))
        return cls(dictionary, field, embedding_length)

    @property
    def embedding_length(self) -> int:
        return self.embedding_layer.embedding_dim

    def _settings(self) -> JsonObject:
        return {
            "vocabulary": self.vocab_dictionary.to_json(),
            "field": self.field,
            "embedding_length": self.embedding_length,
            "name": self.name,
        }

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        embeddings = cls(Dictionary.from_json(settings["vocabulary"]), settings["field"], settings["embedding_length"])
        embeddings.name = settings["name"]
        return embeddings

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        device = self.embedding_layer.weight.device
        for sentence in sentences:
            ids = [self.vocab_dictionary.item2idx.get(value.encode(), 0) for value in _values(sentence, self.field)]
            matrix = self.embedding_layer(torch.tensor(ids, dtype=torch.int64, device=device))  # (N, D)
            sentence.set_token_embeddings(self.name, matrix)


def _values(sentence: Sentence, field: str) -> list[str]:
    return sentence.words if field == "text" else [_label(token, field) for token in sentence]


def _label(token: Token, field: str) -> str:
    return token.get_label(field).value
