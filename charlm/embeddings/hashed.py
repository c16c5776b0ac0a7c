"""Learned vectors of words without a vocabulary: the hash of a word says which vector is its own."""

# N = tokens, D = width of a vector

import hashlib
from typing import Self

import torch
from torch import nn

from charlm.data.sentence import Sentence
from charlm.embeddings.base import TokenEmbeddings
from charlm.errors import ConfigError
from charlm.storage.atomic import JsonObject


class HashEmbeddings(TokenEmbeddings):
    """Vectors that are learned with the downstream model, shared by the words of one hash.

    Args:
        num_embeddings: how many vectors there are.
        embedding_length: width of the vectors.
        hash_method: a hash function of the module hashlib.
    """

    static_embeddings = False

    def __init__(self, num_embeddings: int = 1000, embedding_length: int = 300, hash_method: str = "md5") -> None:
        super().__init__()
        if hash_method not in hashlib.algorithms_available:
            raise ConfigError(f"hash_method is a function of hashlib such as md5, got {hash_method!r}")
        if num_embeddings < 1:
            raise ConfigError(f"num_embeddings must be 1 or more, got {num_embeddings}")
        self.name = "hash"
        self.hash_method = hash_method
        self.embedding_layer = nn.Embedding(num_embeddings, embedding_length)
        nn.init.xavier_uniform_(self.embedding_layer.weight)

    @property
    def num_embeddings(self) -> int:
        return self.embedding_layer.num_embeddings

    @property
    def embedding_length(self) -> int:
        return self.embedding_layer.embedding_dim

    def _settings(self) -> JsonObject:
        return {
            "num_embeddings": self.num_embeddings,
            "embedding_length": self.embedding_length,
            "hash_method": self.hash_method,
            "name": self.name,
        }

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        embeddings = cls(settings["num_embeddings"], settings["embedding_length"], settings["hash_method"])
        embeddings.name = settings["name"]
        return embeddings

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        for sentence in sentences:
            ids = torch.tensor(
                [self._place(word) for word in sentence.words],
                dtype=torch.int64,
                device=self.embedding_layer.weight.device,
            )
            sentence.set_token_embeddings(self.name, self.embedding_layer(ids))  # (N, D)

    def _place(self, word: str) -> int:
        digest = hashlib.new(self.hash_method, word.encode("utf-8", "surrogatepass"), usedforsecurity=False)
        return int(digest.hexdigest(), 16) % self.num_embeddings
