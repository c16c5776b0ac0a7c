"""The base of all embeddings: names, widths, and how vectors are added to sentences."""

# N = tokens of a sentence, D = width of an embedding

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self, TypeVar

from torch import nn

from charlm.data.cache import cached_paths
from charlm.data.sentence import Sentence
from charlm.errors import ConfigError, ModelFileError
from charlm.serialization.addresses import is_address, resolve_address
from charlm.storage.atomic import JsonObject

E = TypeVar("E", bound=nn.Module)
_STREAM_BYTES = 64 * 2**20
_STREAM_SENTENCES = 4096


class _InEvaluation(type):
    """New embeddings are in evaluation mode, as in Flair: only a training turns dropout on."""

    def __call__(cls: type[E], *arguments: object, **named: object) -> E:  # type: ignore[misc]  # E has this type
        embeddings: E = type.__call__(cls, *arguments, **named)
        return embeddings.eval()


class Embeddings(nn.Module, metaclass=_InEvaluation):
    """Vectors for the tokens of sentences or for whole sentences.

    Attributes:
        name: key of the vectors on a token or sentence; vectors are concatenated in the order of their names.
        static_embeddings: True when the same sentence always gets the same vectors, so that they can be stored.
    """

    name: str
    static_embeddings: bool = True
    embedding_type: Literal["word-level", "sentence-level"]

    _kinds: ClassVar[dict[str, type["Embeddings"]]] = {}

    def __init_subclass__(cls) -> None:
        Embeddings._kinds[cls.__name__] = cls

    def __class_getitem__(cls, item: object) -> type[Self]:
        """The class itself: programs written for Flair annotate with `Embeddings[Sentence]`."""
        return cls

    @property
    def embedding_length(self) -> int:
        """Width of the vectors."""
        raise NotImplementedError

    def get_names(self) -> list[str]:
        """Names of the vectors that `embed` adds."""
        return [self.name]

    def all_names(self) -> list[str]:
        """Names of all vectors that `embed` adds to a sentence, including those of inner embeddings."""
        return self.get_names()

    def embed(self, sentences: Sentence | Sequence[Sentence]) -> list[Sentence]:
        """Add vectors to one sentence or several, and return them. Static vectors that are there are left."""
        wrong = sentences if isinstance(sentences, str) else None
        sentences = [sentences] if isinstance(sentences, Sentence) else list(sentences)
        wrong = wrong or next((sentence for sentence in sentences if not isinstance(sentence, Sentence)), None)
        if wrong is not None:
            raise TypeError(
                f"embed takes a Sentence or a list of them, not {type(wrong).__name__}: {str(wrong)[:40]!r}"
            )
        waiting = [sentence for sentence in sentences if not (self.static_embeddings and self.is_on(sentence))]
        if waiting:
            self._add_embeddings(waiting)
        return sentences

    def is_on(self, sentence: Sentence) -> bool:
        """Whether the sentence has these vectors."""
        raise NotImplementedError

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        raise NotImplementedError

    def frozen_parts(self) -> list["Embeddings"]:
        """The largest parts of these embeddings whose vectors never change, so that they can be stored."""
        return [self] if self.static_embeddings else []

    @property
    def reads_neighbours(self) -> bool:
        """Whether the vectors of a sentence depend on the sentences around it."""
        return any(getattr(part, "context_length", 0) for part in self.modules())

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """Trained weights that can have a rate of their own, from the layer nearest to the output down; none here."""
        return []

    def in_bf16(self) -> "Embeddings":
        """These embeddings with shared weights, computed in bf16; unchanged where bf16 is not faster."""
        return self

    def save_embeddings(self, use_state_dict: bool = True) -> JsonObject:
        """Settings and weights for `load_embeddings`; always as plain values and tensors, never as an object."""
        return {"embeddings": self.to_json(), "state_dict": self.state_dict()}

    def to_json(self) -> JsonObject:
        """The settings for `embeddings_from_json`; the weights are in the state dict."""
        return {"kind": type(self).__name__, **self._settings()}

    def _settings(self) -> JsonObject:
        """The arguments of `_from_settings`, as plain JSON."""
        raise ConfigError(f"{type(self).__name__} cannot be saved in a model file: it lacks _settings()")

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        return cls(**settings)

    def __str__(self) -> str:
        return self.name


def embeddings_from_json(value: JsonObject) -> Embeddings:
    """The embeddings with the settings of `to_json`; their weights are loaded afterwards."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in Embeddings._kinds:
        raise ModelFileError(f"there are no embeddings of the kind {kind!r}")
    return Embeddings._kinds[kind]._from_settings({name: part for name, part in value.items() if name != "kind"})


def load_embeddings(saved: JsonObject) -> Embeddings:
    """The embeddings that `save_embeddings` gave, in evaluation mode."""
    embeddings = embeddings_from_json(saved["embeddings"])
    embeddings.load_state_dict(saved["state_dict"])
    return embeddings.eval()


class TokenEmbeddings(Embeddings):
    """Vectors for the tokens of sentences."""

    embedding_type: Literal["word-level", "sentence-level"] = "word-level"

    def is_on(self, sentence: Sentence) -> bool:
        return sentence.has_token_embeddings(self.name)

    def embed_stream(self, sentences: Iterable[Sentence]) -> Iterator[Sentence]:
        """The same sentences in the same order, each with its vectors, in bounded memory.

        Sentences are collected until their vectors fill 64 MB, so that those of similar length are embedded together.
        Drop a sentence, or clear its embeddings, when its vectors are no longer needed.
        """
        gathered: list[Sentence] = []
        size = 0
        for sentence in sentences:
            gathered.append(sentence)
            size += len(sentence) * self.embedding_length * 4
            if size >= _STREAM_BYTES or len(gathered) >= _STREAM_SENTENCES:
                yield from self.embed(gathered)
                gathered, size = [], 0
        if gathered:
            yield from self.embed(gathered)


class DocumentEmbeddings(Embeddings):
    """One vector for each sentence."""

    embedding_type: Literal["word-level", "sentence-level"] = "sentence-level"

    def is_on(self, sentence: Sentence) -> bool:
        return sentence.has_embedding(self.name)


class DocumentEmbeddingsOfWords(DocumentEmbeddings):
    """One vector for each sentence, made of the vectors of its words."""

    embeddings: TokenEmbeddings

    def frozen_parts(self) -> list[Embeddings]:
        return super().frozen_parts() or self.embeddings.frozen_parts()

    def all_names(self) -> list[str]:
        return [self.name, *self.embeddings.all_names()]


def find_model(name: str | os.PathLike[str], suffixes: Sequence[str], what: str) -> Path:
    """The path `name`, or the file of that name (with one of `suffixes`) in the folder CHARLM_CACHE.

    A name such as `models:/books@champion/forward` is an address (see serialization/addresses.py).

    Nothing is downloaded; ModelFileError names the missing file and where to put it.
    """
    if is_address(os.fspath(name)):
        return resolve_address(os.fspath(name))
    candidates = cached_paths(name, suffixes)
    for path in candidates:
        if path.exists():
            return path
    raise ModelFileError(f"no {what} {str(name)!r}: give a path, or put the file at {candidates[-1]} (CHARLM_CACHE)")
