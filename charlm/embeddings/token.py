"""Vectors of single words, whatever stands around them: static ones from a file, and learned ones from characters.

Reads  glove.txt, wiki.vec …               text files of GloVe, word2vec and fastText: a word and its numbers a line
Writes CHARLM_CACHE/word_vectors/HASH/     words.txt and vectors.npy, mapped into memory from then on
"""

# N = tokens, U = different words, D = width of a vector, C = characters of a word

import os
import re
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import xxhash
from torch import nn

from charlm.data.cache import cache_dir
from charlm.data.dictionary import Dictionary
from charlm.data.sentence import Sentence
from charlm.embeddings.base import TokenEmbeddings, find_model
from charlm.embeddings.flair import FlairEmbeddings, PooledFlairEmbeddings
from charlm.embeddings.stacked import StackedEmbeddings
from charlm.errors import ModelFileError
from charlm.storage.atomic import atomic_folder

# Flair's `embeddings.token` has them all.
__all__ = ["CharacterEmbeddings", "FlairEmbeddings", "PooledFlairEmbeddings", "StackedEmbeddings", "WordEmbeddings"]

_SUFFIXES = [".vec", ".txt"]
_DIGIT = re.compile(r"\d")


class WordEmbeddings(TokenEmbeddings):
    """One vector a word, from a text file; zeros for a word that is not in it.

    A word is looked up as it is, then lower-cased, then with `#` and with `0` for its digits.

    Args:
        embeddings: path of a text file, or a name such as `glove` for the file `glove.txt` in the folder CHARLM_CACHE.
        name: what the vectors are called.
    """

    _device: torch.Tensor

    def __init__(self, embeddings: str | os.PathLike[str], name: str | None = None) -> None:
        super().__init__()
        self.name = name or str(embeddings)
        path = find_model(embeddings, _SUFFIXES, "word vectors")
        words, vectors = _word_vectors(path)
        self._keep(words, vectors)

    def _keep(self, words: list[str], vectors: np.ndarray) -> None:
        self.vectors = vectors
        self.vocab = {word: index for index, word in enumerate(words)}
        # Moves with the module; the vectors, which may be mapped from a file, do not.
        self.register_buffer("_device", torch.empty(0, device="cpu"), persistent=False)

    @property
    def embedding_length(self) -> int:
        return int(self.vectors.shape[1])

    def _settings(self) -> dict[str, Any]:
        return {"name": self.name, "words": list(self.vocab), "width": self.embedding_length}

    @classmethod
    def _from_settings(cls, settings: dict[str, Any]) -> Self:
        embeddings = cls.__new__(cls)
        TokenEmbeddings.__init__(embeddings)
        embeddings.name = settings["name"]
        embeddings._keep(settings["words"], np.empty((0, settings["width"]), dtype=np.float32))
        return embeddings

    def get_extra_state(self) -> torch.Tensor:
        """The vectors of the words of `vocab` (U, D)."""
        rows = list(self.vocab.values())  # of a word that stands twice in a file the last one counts
        vectors = self.vectors if len(rows) == len(self.vectors) else self.vectors[rows]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # nobody writes to it, so it may be mapped from a file
            return torch.from_numpy(vectors)

    def set_extra_state(self, state: torch.Tensor) -> None:
        if state.shape != (len(self.vocab), self.embedding_length):
            raise ModelFileError(f"{len(self.vocab)} words have vectors of the shape {list(state.shape)}")
        self.vectors = state.numpy()

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        for sentence in sentences:
            rows = np.array([self._index(word) for word in sentence.words], dtype=np.int64)
            matrix = np.array(self.vectors[rows])  # (N, D)
            matrix[rows < 0] = 0
            sentence.set_token_embeddings(self.name, torch.from_numpy(matrix).to(self._device.device))

    def _index(self, word: str) -> int:
        """Line of `word` in the file, -1 when it is not there."""
        lower = word.lower()
        for form in (word, lower, _DIGIT.sub("#", lower), _DIGIT.sub("0", lower)):
            if form in self.vocab:
                return self.vocab[form]
        return -1


def _word_vectors(path: Path) -> tuple[list[str], np.ndarray]:
    """The words of a text file and their vectors (U, D), mapped from the converted copy, which is made at first use."""
    try:
        with path.open("rb") as file:
            digest = xxhash.xxh3_128()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise ModelFileError(f"cannot read the word vectors {path}: {error.strerror}") from error
    folder = cache_dir() / "word_vectors" / digest.hexdigest()
    if not folder.exists():
        _convert(path, folder)
    words = (folder / "words.txt").read_text(encoding="utf-8").split("\n")
    return words, np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)


def _convert(path: Path, folder: Path) -> None:
    """Write the words and vectors of a text file into `folder`, in one pass and in the memory of one line."""
    with path.open("rb") as file, atomic_folder(folder) as temporary:
        lines = iter(enumerate(file, 1))
        _, first = next(lines, (0, b""))
        start: Iterator[tuple[int, bytes]] = iter(())
        if len(first.split()) != 2:  # GloVe has no line with the number of words and their width
            start = iter([(1, first)])
        width = 0
        count = 0
        raw = temporary / "vectors.raw"
        with (temporary / "words.txt").open("wb") as words, raw.open("wb") as vectors:
            for number, line in chain(start, lines):
                width = width or len(line.split()) - 1
                word, vector = _parse(path, number, line, width)
                words.write(b"\n" * bool(count) + word)
                vectors.write(vector.tobytes())
                count += 1
        if not count:
            raise ModelFileError(f"{path} holds no word vectors")
        table = np.memmap(raw, np.float32, "r", shape=(count, width))
        np.save(temporary / "vectors.npy", table, allow_pickle=False)
        raw.unlink()


def _parse(path: Path, number: int, line: bytes, width: int) -> tuple[bytes, np.ndarray]:
    """A word, which may hold spaces itself, and the `width` numbers after it."""
    word, *numbers = line.rstrip().rsplit(b" ", width)
    try:
        if not width or len(numbers) != width:
            raise ValueError(f"it has {len(numbers)} numbers, and the first line {width}")
        word.decode()
        return word, np.array(numbers, dtype=np.float32)
    except ValueError as error:
        raise ModelFileError(f"{path}, line {number} is not a word and its numbers: {error}") from error


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
        ids = [torch.from_numpy(self.char_dictionary.encode(word).astype(np.int64)) for word in words]
        padded = nn.utils.rnn.pad_sequence(ids).to(device)  # (C, U)
        packed = nn.utils.rnn.pack_padded_sequence(
            self.char_embedding(padded), torch.tensor([len(word) for word in ids]), enforce_sorted=False
        )
        _, (final, _) = self.char_rnn(packed)  # (2, U, H)
        vectors = torch.cat([final[0], final[1]], dim=1)  # (U, 2H)
        row = {word: index for index, word in enumerate(words)}
        for sentence in sentences:
            rows = torch.tensor([row[word] for word in sentence.words], dtype=torch.int64, device=device)
            sentence.set_token_embeddings(self.name, vectors[rows])
