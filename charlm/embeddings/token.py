"""Vectors of single words, whatever stands around them: static ones from a file, and learned ones from characters."""

# N = tokens, W = words of all sentences, U = different words, D = width of a vector, C = characters of a word

import itertools
import logging
import os
import re
import warnings
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from charlm.data.dictionary import Dictionary
from charlm.data.sentence import Sentence
from charlm.embeddings.base import TokenEmbeddings, find_model
from charlm.embeddings.batches import set_token_vectors
from charlm.embeddings.flair import FlairEmbeddings, PooledFlairEmbeddings
from charlm.embeddings.stacked import StackedEmbeddings
from charlm.embeddings.vector_files import word_vectors
from charlm.errors import ModelFileError
from charlm.nn.device import upload

# Flair's `embeddings.token` has them all.
__all__ = ["CharacterEmbeddings", "FlairEmbeddings", "PooledFlairEmbeddings", "StackedEmbeddings", "WordEmbeddings"]

_LOGGER = logging.getLogger("charlm")
_SUFFIXES = [".vec", ".bin", ".txt"]
_DIGIT = re.compile(r"\d")


class WordEmbeddings(TokenEmbeddings):
    """One vector a word, from a text file; zeros for a word that is not in it.

    A word is looked up as it is, then lower-cased, then with `#` and with `0` for its digits. Of several rows for one
    word the first counts, as in gensim; the others are reported.

    Args:
        embeddings: path of a text file, or a name such as `glove` for the file `glove.txt` in the folder CHARLM_CACHE.
        field: the layer of labels that is looked up instead of the word.
        fine_tune: learn the vectors with the task; that of a word that is not in the file stays zero.
        name: what the vectors are called.
        force_cpu: has no effect; vectors that are not learned never fill a GPU.
    """

    _device: torch.Tensor
    vocab: dict[str, int]
    learned: nn.Parameter | None
    """The vectors (U, D) of the words of `vocab`, where they are learned."""

    def __init__(
        self,
        embeddings: str | os.PathLike[str],
        field: str | None = None,
        fine_tune: bool = False,
        force_cpu: bool = True,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self.field = None if field == "text" else field
        self.name = name or str(embeddings)
        path = find_model(embeddings, _SUFFIXES, "word vectors")
        words, vectors = word_vectors(path)
        self._keep(words, vectors)
        if repeated := len(words) - len(self.vocab):
            again = next(word for place, word in enumerate(words) if self.vocab[word] != place)
            _LOGGER.warning(
                "%s: %d rows are left out, for their words have one already, such as %r", path, repeated, again
            )

        if ending := [word for word in words if word.endswith(" ") and word.strip()]:
            _LOGGER.warning(
                "%s: %d words end with a blank, such as %r, and are found with it only", path, len(ending), ending[0]
            )
        if fine_tune:
            self._learn(torch.from_numpy(np.array(vectors[list(self.vocab.values())])))

    def _learn(self, vectors: torch.Tensor) -> None:
        self.vocab = {word: row for row, word in enumerate(self.vocab)}
        self.vectors = np.empty((0, vectors.shape[1]), dtype=np.float32)
        self.learned = nn.Parameter(vectors)
        self.static_embeddings = False

    def _keep(self, words: list[str], vectors: np.ndarray) -> None:
        self.vectors = vectors
        self.vocab = {}
        for index, word in enumerate(words):
            self.vocab.setdefault(word, index)
        # Moves with the module; the vectors, which may be mapped from a file, do not.
        self.register_parameter("learned", None)
        self.register_buffer("_device", torch.empty(0, device="cpu"), persistent=False)

    @property
    def embedding_length(self) -> int:
        return int(self.vectors.shape[1])

    def _settings(self) -> dict[str, Any]:
        settings = {"name": self.name, "words": list(self.vocab), "width": self.embedding_length}
        chosen = {"field": self.field, "fine_tune": self.learned is not None}
        return settings | {name: value for name, value in chosen.items() if value}  # equal models have equal files

    @classmethod
    def _from_settings(cls, settings: dict[str, Any]) -> Self:
        embeddings = cls.__new__(cls)
        TokenEmbeddings.__init__(embeddings)
        embeddings.name = settings["name"]
        embeddings.field = settings.get("field")
        embeddings._keep(settings["words"], np.empty((0, settings["width"]), dtype=np.float32))
        if settings.get("fine_tune"):
            embeddings._learn(torch.empty(len(embeddings.vocab), settings["width"]))
        return embeddings

    def get_extra_state(self) -> torch.Tensor:
        """The vectors of the words of `vocab` (U, D)."""
        if self.learned is not None:
            return torch.empty(0)
        rows = list(self.vocab.values())  # fewer than in the file where words are repeated in it
        vectors = self.vectors if len(rows) == len(self.vectors) else self.vectors[rows]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # nobody writes to it, so it may be mapped from a file
            return torch.from_numpy(vectors)

    def set_extra_state(self, state: torch.Tensor) -> None:
        if self.learned is not None:
            return
        if state.shape != (len(self.vocab), self.embedding_length):
            raise ModelFileError(f"{len(self.vocab)} words have vectors of the shape {list(state.shape)}")
        self.vectors = state.numpy()

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        words = itertools.chain.from_iterable(map(self._looked_up, sentences))
        rows = np.fromiter(map(self.line_of, words), np.int64)
        if self.learned is not None:
            places = upload(torch.from_numpy(rows), self.learned.device)
            found = functional.embedding(places.clamp(min=0), self.learned) * (places >= 0)[:, None]
            set_token_vectors(sentences, self.name, found)  # (W, D)
            return
        matrix = np.array(self.vectors[rows]) if len(rows) else np.empty((0, self.embedding_length), np.float32)
        matrix[rows < 0] = 0
        set_token_vectors(sentences, self.name, upload(torch.from_numpy(matrix), self._device.device))  # (W, D)

    def _looked_up(self, sentence: Sentence) -> list[str]:
        field = self.field
        return sentence.words if field is None else [token.get_label(field).value for token in sentence]

    def line_of(self, word: str) -> int:
        """Line of `word` in the file, -1 when it is not there."""
        lower = word.lower()
        for form in (word, lower, _DIGIT.sub("#", lower), _DIGIT.sub("0", lower)):
            if form in self.vocab:
                return self.vocab[form]
        return -1


class CharacterEmbeddings(TokenEmbeddings):
    """Vectors that a small LSTM makes of a word's characters, learned with the task (Lample et al. 2016).

    The vector is the final state of both directions. (Flair takes the backward state at the last character, which has
    read that character only.)

    Args:
        path_to_char_dict: a dictionary or its file; by default the characters of European scripts.
        char_embedding_dim: width of a character's vector.
        hidden_size_char: width of each direction.
        name: what the vectors are called.
    """

    static_embeddings = False

    def __init__(
        self,
        path_to_char_dict: Dictionary | str | os.PathLike[str] | None = None,
        char_embedding_dim: int = 25,
        hidden_size_char: int = 25,
        name: str = "Char",
    ) -> None:
        super().__init__()
        self.name = name
        if path_to_char_dict is None:
            path_to_char_dict = Dictionary.load("chars")
        elif not isinstance(path_to_char_dict, Dictionary):
            path_to_char_dict = Dictionary.load_from_file(path_to_char_dict)
        self.char_dictionary = path_to_char_dict
        self.char_embedding = nn.Embedding(len(path_to_char_dict), char_embedding_dim)
        self.char_rnn = nn.LSTM(char_embedding_dim, hidden_size_char, bidirectional=True)

    @property
    def embedding_length(self) -> int:
        return 2 * self.char_rnn.hidden_size

    def _settings(self) -> dict[str, Any]:
        return {
            "path_to_char_dict": self.char_dictionary.to_json(),
            "char_embedding_dim": self.char_embedding.embedding_dim,
            "hidden_size_char": self.char_rnn.hidden_size,
            "name": self.name,
        }

    @classmethod
    def _from_settings(cls, settings: dict[str, Any]) -> Self:
        return cls(**settings | {"path_to_char_dict": Dictionary.from_json(settings["path_to_char_dict"])})

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        words = sorted({word for sentence in sentences for word in sentence.words})
        device = self.char_embedding.weight.device
        if not words:
            for sentence in sentences:
                sentence.set_token_embeddings(self.name, torch.empty(0, self.embedding_length, device=device))
            return
        encoded = {word: torch.from_numpy(self.char_dictionary.encode(word).astype(np.int64)) for word in words}
        words.sort(key=lambda word: -len(encoded[word]))  # torch would sort them with an upload of its own
        padded = upload(nn.utils.rnn.pad_sequence([encoded[word] for word in words]), device)  # (C, U)
        packed = nn.utils.rnn.pack_padded_sequence(
            self.char_embedding(padded), torch.tensor([len(encoded[word]) for word in words])
        )
        _, (final, _) = self.char_rnn(packed)  # (2, U, H)
        vectors = torch.cat([final[0], final[1]], dim=1)  # (U, 2H)
        row = {word: index for index, word in enumerate(words)}
        rows = torch.tensor([row[word] for sentence in sentences for word in sentence.words])
        set_token_vectors(sentences, self.name, vectors[upload(rows, device)])
