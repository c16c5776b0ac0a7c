"""Vectors of words and of their parts, from a binary model of fastText (Bojanowski et al. 2017).

Reads  cc.en.300.bin   settings, the words, and a matrix with a row for each word and for each bucket of parts
"""

# R = rows of the matrix: the words, then the buckets; D = width of a vector

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import numpy as np
import torch

from charlm.data.sentence import Sentence
from charlm.embeddings.base import TokenEmbeddings, find_model
from charlm.embeddings.batches import set_token_vectors
from charlm.errors import ModelFileError
from charlm.nn.device import upload
from charlm.storage.atomic import JsonObject
from charlm.storage.torch_file import errors_name

FASTTEXT_MAGIC = struct.pack("<i", 793712314)
_VERSIONS = (11, 12)
_END_OF_LINE = "</s>"  # has no parts
_FNV_START, _FNV_PRIME, _32_BITS = 2166136261, 16777619, 0xFFFFFFFF


@dataclass(frozen=True)
class _Model:
    """A model of fastText; its matrix is mapped from the file."""

    words: list[str]
    num_buckets: int
    shortest: int
    longest: int
    matrix: np.ndarray


class FastTextEmbeddings(TokenEmbeddings):
    """The mean of the vectors of a word and of its parts; for an unknown word that of its parts alone.

    Args:
        embeddings: path of a `.bin` file of fastText, or its name in the folder CHARLM_CACHE.
        use_local: must be true: nothing is downloaded.
        name: what the vectors are called.
    """

    def __init__(self, embeddings: str | os.PathLike[str], use_local: bool = True, *, name: str | None = None) -> None:
        super().__init__()
        path = find_model(embeddings, [".bin"], "model of fastText")
        if not use_local:
            raise ModelFileError(f"nothing is downloaded: put {embeddings} in the folder CHARLM_CACHE")
        with errors_name(path):
            self._keep(_read(path))
        self.name = name or str(embeddings)

    def _keep(self, model: _Model) -> None:
        self._model = model
        self._rows_of_words = {word: row for row, word in enumerate(model.words)}
        self.register_buffer("_device", torch.empty(0, device="cpu"), persistent=False)

    @property
    def embedding_length(self) -> int:
        return int(self._model.matrix.shape[1])

    def _settings(self) -> JsonObject:
        model = self._model
        return {
            "name": self.name,
            "words": model.words,
            "parts": [model.num_buckets, model.shortest, model.longest],
            "shape": list(model.matrix.shape),
        }

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        embeddings = cls.__new__(cls)
        TokenEmbeddings.__init__(embeddings)
        embeddings.name = settings["name"]
        empty = np.empty((0, settings["shape"][1]), dtype=np.float32)
        num_buckets, shortest, longest = settings["parts"]
        embeddings._keep(_Model(settings["words"], num_buckets, shortest, longest, empty))
        return embeddings

    def get_extra_state(self) -> torch.Tensor:
        """The matrix (R, D)."""
        return torch.from_numpy(np.array(self._model.matrix))

    def set_extra_state(self, state: torch.Tensor) -> None:
        model = self._model
        if state.shape != (len(model.words) + model.num_buckets, self.embedding_length):
            raise ModelFileError(f"a model of fastText has a matrix of the shape {list(state.shape)}")
        self._keep(_Model(model.words, model.num_buckets, model.shortest, model.longest, state.numpy()))

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        words = [word for sentence in sentences for word in sentence.words]
        distinct = {word: place for place, word in enumerate(dict.fromkeys(words))}
        vectors = np.zeros((len(distinct), self.embedding_length), dtype=np.float32)
        for word, place in distinct.items():
            if rows := self._rows(word):
                vectors[place] = self._model.matrix[rows].mean(axis=0)
        places = torch.tensor([distinct[word] for word in words], dtype=torch.int64)
        set_token_vectors(sentences, self.name, upload(torch.from_numpy(vectors)[places], self._device.device))

    def _rows(self, word: str) -> list[int]:
        """The rows of the word, where it is known, and of its parts."""
        model = self._model
        rows = [self._rows_of_words[word]] if word in self._rows_of_words else []
        if model.num_buckets and word != _END_OF_LINE:
            parts = _parts(f"<{word}>", model.shortest, model.longest)
            rows += [len(model.words) + _hash(part) % model.num_buckets for part in parts]
        return rows

    _device: torch.Tensor


def _parts(text: str, shortest: int, longest: int) -> Iterator[str]:
    """Every run of `shortest` to `longest` characters, but single ones at either end."""
    for start in range(len(text)):
        for end in range(start + max(shortest, 1), min(start + longest, len(text)) + 1):
            if end - start > 1 or 0 < start < len(text) - 1:
                yield text[start:end]


def _hash(part: str) -> int:
    """FNV-1a of 32 bits, in which fastText extends the sign of each byte."""
    value = _FNV_START
    for byte in part.encode():
        value = ((value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * _FNV_PRIME) & _32_BITS
    return value


def _read(path: Path) -> _Model:
    """The model in a file; raises ModelFileError, and what struct raises where the file is too short."""
    with path.open("rb") as file:
        if file.read(4) != FASTTEXT_MAGIC:
            raise ModelFileError("it is no binary model of fastText; WordEmbeddings reads vectors of words")
        (version,) = _numbers(file, "<i")
        if version not in _VERSIONS:
            raise ModelFileError(f"it is of version {version} of fastText's format; there are {_VERSIONS}")
        dim, *_, shortest, longest, _, _ = _numbers(file, "<12id")
        size, num_words, num_labels, _, num_pruned = _numbers(file, "<3i2q")
        if not 0 < num_words == size - num_labels:
            raise ModelFileError(f"its dictionary of {size} entries has {num_words} words and {num_labels} labels")
        words = [_entry(file) for _ in range(size)][:num_words]
        (is_quantized,) = _numbers(file, "<?")
        if is_quantized or num_pruned > 0:
            raise ModelFileError("it is a quantized model of fastText (.ftz); take the .bin that it was made of")
        num_rows, width = _numbers(file, "<2q")
        buckets = num_rows - num_words if longest else 0
        if width != dim or buckets < 0:
            raise ModelFileError(f"its matrix has the shape {[num_rows, width]} for {num_words} words of {dim} numbers")
        offset = file.tell()
    matrix = np.memmap(path, np.float32, "r", offset=offset, shape=(num_rows, width))
    return _Model(words, buckets, shortest, longest, matrix[: num_words + buckets])


def _numbers(file: IO[bytes], layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _entry(file: IO[bytes]) -> str:
    """A word of the dictionary: its text up to a zero byte, its count and its type."""
    text = bytearray()
    while (byte := file.read(1)) != b"\0":
        if not byte:
            raise ModelFileError("its dictionary has no end")
        text += byte
    file.read(9)
    return text.decode("utf-8", "backslashreplace")  # no word of a text is spelled like what is not UTF-8
