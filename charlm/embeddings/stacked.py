"""Several embeddings side by side."""

import itertools
from collections.abc import Sequence
from typing import Self

from torch import nn

from charlm.data.sentence import Sentence
from charlm.embeddings.base import Embeddings, TokenEmbeddings, embeddings_from_json
from charlm.errors import ModelFileError
from charlm.storage.atomic import JsonObject


class StackedEmbeddings(TokenEmbeddings):
    """Several embeddings on every token. Their names are prefixed with their position, which orders the vectors.

    Args:
        embeddings: what to stack.
        overwrite_names: prefix the names; otherwise two equal names would overwrite each other.
    """

    def __init__(self, embeddings: Sequence[TokenEmbeddings], overwrite_names: bool = True) -> None:
        super().__init__()
        self.name = "Stack"
        self.embeddings = nn.ModuleList(embeddings)
        if overwrite_names:
            for place, embedding in enumerate(embeddings):
                embedding.name = f"{place}-{embedding.name}"
        self._parts = tuple(embeddings)
        self.static_embeddings = all(embedding.static_embeddings for embedding in embeddings)

    @property
    def parts(self) -> tuple[TokenEmbeddings, ...]:
        """The embeddings that are stacked."""
        return self._parts

    @property
    def embedding_length(self) -> int:
        return sum(embedding.embedding_length for embedding in self._parts)

    def get_names(self) -> list[str]:
        return [name for embedding in self._parts for name in embedding.get_names()]

    def frozen_parts(self) -> list[Embeddings]:
        return [part for embedding in self._parts for part in embedding.frozen_parts()]

    def layer_groups(self) -> list[list[nn.Parameter]]:
        levels = itertools.zip_longest(*(embedding.layer_groups() for embedding in self._parts), fillvalue=())
        return [[weight for group in level for weight in group] for level in levels]

    def _settings(self) -> JsonObject:
        return {"embeddings": [embedding.to_json() for embedding in self._parts]}

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        return cls(list(map(token_embeddings_from_json, settings["embeddings"])), overwrite_names=False)

    def embed(self, sentences: Sentence | Sequence[Sentence]) -> list[Sentence]:
        sentences = [sentences] if isinstance(sentences, Sentence) else list(sentences)
        for embedding in self._parts:
            embedding.embed(sentences)
        return sentences

    def __str__(self) -> str:
        return f"StackedEmbeddings [{','.join(map(str, self._parts))}]"


def stacked(embeddings: TokenEmbeddings | Sequence[TokenEmbeddings]) -> StackedEmbeddings:
    """The embeddings as a stack."""
    if isinstance(embeddings, StackedEmbeddings):
        return embeddings
    return StackedEmbeddings([embeddings] if isinstance(embeddings, TokenEmbeddings) else embeddings)


def token_embeddings_from_json(value: JsonObject) -> TokenEmbeddings:
    embeddings = embeddings_from_json(value)
    if not isinstance(embeddings, TokenEmbeddings):
        raise ModelFileError(f"{type(embeddings).__name__} have no vectors of words")
    return embeddings
