"""Vectors of a word's first and last piece, from a model of sentencepiece and vectors of its pieces (BPEmb 2018)."""

# W = words of all sentences, V = pieces, D = width of a piece's vector

import base64
import itertools
import os
import re
from importlib import import_module
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import torch

from charlm.data.cache import cache_dir
from charlm.data.sentence import Sentence
from charlm.embeddings.base import TokenEmbeddings
from charlm.embeddings.batches import set_token_vectors
from charlm.embeddings.vector_files import word_vectors
from charlm.errors import ConfigError, ModelFileError
from charlm.nn.device import upload
from charlm.storage.atomic import JsonObject
from charlm.storage.torch_file import errors_name

_DIGIT = re.compile(r"\d")


class _Pieces(Protocol):
    """What is used of a model of sentencepiece."""

    def LoadFromSerializedProto(self, content: bytes) -> object: ...  # noqa: N802  # its name there
    def EncodeAsIds(self, text: str) -> list[int]: ...  # noqa: N802  # its name there
    def IdToPiece(self, idx: int) -> str: ...  # noqa: N802  # its name there
    def vocab_size(self) -> int: ...


class BytePairEmbeddings(TokenEmbeddings):
    """The vectors of the first and the last piece of a word side by side; zeros for a blank word.

    Needs the package sentencepiece. Nothing is downloaded: with `language`, the files of BPEmb are read from the folder
    CHARLM_CACHE, such as `en.wiki.bpe.vs100000.model` and `en.wiki.bpe.vs100000.d50.w2v.bin`.

    Args:
        language: code of the language, such as `en` or `multi`.
        dim: width of a piece's vector; that of the language `multi` is always 300.
        syllables: number of pieces.
        cache_dir: folder of the files.
        model_file_path: the model of sentencepiece.
        embedding_file_path: the vectors of its pieces, as text or in the binary format of word2vec.
        name: what the vectors are called.
        preprocess: read digits as 0.
    """

    _device: torch.Tensor

    def __init__(
        self,
        language: str | None = None,
        dim: int = 50,
        syllables: int = 100_000,
        cache_dir: str | os.PathLike[str] | None = None,
        model_file_path: str | os.PathLike[str] | None = None,
        embedding_file_path: str | os.PathLike[str] | None = None,
        name: str | None = None,
        *,
        preprocess: bool = True,
    ) -> None:
        super().__init__()
        if language is not None:
            dim = 300 if language == "multi" else dim
            stem = f"{language}.wiki.bpe.vs{syllables}"
            model_file_path = model_file_path or _found(f"{stem}.model", cache_dir)
            embedding_file_path = embedding_file_path or _found(f"{stem}.d{dim}.w2v.bin", cache_dir)
        if model_file_path is None or embedding_file_path is None:
            raise ConfigError("BytePairEmbeddings takes a language, or model_file_path and embedding_file_path")
        pieces, vectors = word_vectors(Path(embedding_file_path))
        with errors_name(Path(model_file_path)):
            self._keep(Path(model_file_path).read_bytes(), np.array(vectors), preprocess)
            known = [self._model.IdToPiece(idx) for idx in range(self._model.vocab_size())]
            if pieces != known:
                raise ModelFileError(
                    f"it has {len(known)} pieces, and {embedding_file_path} {len(pieces)} vectors, of the same pieces "
                    f"in the same order in the first {_num_equal(known, pieces)}; they are not of one model"
                )
        usual = f"bpe-{language or 'custom'}-{len(pieces)}-{vectors.shape[1]}"
        self.name = name or usual

    def _keep(self, model: bytes, vectors: np.ndarray, preprocess: bool) -> None:
        self._content = model
        self._model = _sentencepiece(model)
        self.vectors = np.concatenate([vectors, np.zeros((1, vectors.shape[1]), vectors.dtype)])
        self.preprocess = preprocess
        self.register_buffer("_device", torch.empty(0, device="cpu"), persistent=False)

    @property
    def embedding_length(self) -> int:
        return 2 * int(self.vectors.shape[1])

    def _settings(self) -> JsonObject:
        return {
            "name": self.name,
            "model": base64.b64encode(self._content).decode(),
            "width": self.vectors.shape[1],
            "preprocess": self.preprocess,
        }

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        embeddings = cls.__new__(cls)
        TokenEmbeddings.__init__(embeddings)
        embeddings.name = settings["name"]
        empty = np.empty((0, settings["width"]), dtype=np.float32)
        embeddings._keep(base64.b64decode(settings["model"]), empty, settings["preprocess"])
        return embeddings

    def get_extra_state(self) -> torch.Tensor:
        """The vectors of the pieces, (V, D)."""
        return torch.from_numpy(self.vectors[:-1].copy())

    def set_extra_state(self, state: torch.Tensor) -> None:
        if state.shape != (self._model.vocab_size(), self.vectors.shape[1]):
            raise ModelFileError(f"{self._model.vocab_size()} pieces have vectors of the shape {list(state.shape)}")
        self._keep(self._content, state.numpy(), self.preprocess)

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        rows = [self._ends(word) for sentence in sentences for word in sentence.words]
        places = np.array(rows, dtype=np.int64).reshape(-1, 2)
        vectors = self.vectors[places].reshape(-1, self.embedding_length)  # (W, 2D)
        set_token_vectors(sentences, self.name, upload(torch.from_numpy(vectors), self._device.device))

    def _ends(self, word: str) -> tuple[int, int]:
        """The numbers of the first and the last piece of the word."""
        text = (_DIGIT.sub("0", word) if self.preprocess else word).lower()
        pieces = self._model.EncodeAsIds(text) if text.strip() else []
        return (pieces[0], pieces[-1]) if pieces else (len(self.vectors) - 1, len(self.vectors) - 1)


def _num_equal(some: list[str], others: list[str]) -> int:
    """How many of two lists are equal before the first that differs."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(some, others, strict=False)))


def _found(name: str, folder: str | os.PathLike[str] | None) -> Path:
    """The file `name` in the folder or in the one of its language."""
    root = Path(folder) if folder is not None else cache_dir()
    candidates = [root / name.split(".")[0] / name, root / name]
    for path in candidates:
        if path.is_file():
            return path
    raise ModelFileError(f"no file {candidates[-1]}: put it there (BPEmb publishes it; nothing is downloaded here)")


def _sentencepiece(model: bytes) -> _Pieces:
    try:
        package = import_module("sentencepiece")
    except ImportError as error:
        raise ConfigError("BytePairEmbeddings needs the package sentencepiece: install it") from error
    processor: _Pieces = package.SentencePieceProcessor()
    processor.LoadFromSerializedProto(model)
    return processor
