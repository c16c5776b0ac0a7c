"""Contextual string embeddings: the states of a character language model around each word.

The vectors are Flair's, for the same model and sentences (Akbik et al. 2018, "Contextual String Embeddings for
Sequence Labeling"; pooled: Akbik et al. 2019). A forward model has read the sentence up to the word, a backward model
down to it.
"""

import copy
import itertools
import json
import os
from collections.abc import Callable
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from charlm.config.language_model import LanguageModelConfig
from charlm.data.dictionary import Dictionary
from charlm.data.sentence import Sentence
from charlm.embeddings.base import Embeddings, TokenEmbeddings, find_model
from charlm.embeddings.states import EncodedBatch, StateReader
from charlm.errors import ConfigError, ModelFileError
from charlm.language_models.language_model import LanguageModel
from charlm.nn.precision import ReadingPrecision
from charlm.storage.atomic import JsonObject

_END = " "


class FlairEmbeddings(TokenEmbeddings):
    """States of a language model as vectors of words.

    Args:
        model: a LanguageModel, the path of one (`best-lm.pt` of ours or Flair's, a run, a direction of a bundle), or a
            name such as `news-forward` for the file `news-forward.pt` in the folder CHARLM_CACHE.
        fine_tune: train the language model too.
        chars_per_chunk: largest number of characters per step; fewer need less memory and give the same vectors.
        with_whitespace: take the state after the white space that follows the word; otherwise at its last character.
        tokenized_lm: join the tokens with single spaces; otherwise with their own white space.
        is_lower: read lower-cased text.
        name: key of the vectors.
        has_decoder: keep the decoder, so that `lm` can be fine-tuned and can generate text.
        precision: `bf16` is about twice as fast, with a cosine above 0.999 to `fp32` (LSTM only; a GRU stays in fp32).
            Where the device cannot compute bf16, the vectors are those of `fp32`, and a CharLMWarning reports it.
            `int8` is faster still (AVX512-VNNI, one layer): recurrent weights and states have 8 bits, and the cosine
            of a trained model is above 0.999 on average. Elsewhere it is bf16 or fp32, with such a warning.
    """

    def __init__(
        self,
        model: LanguageModel | str | os.PathLike[str],
        fine_tune: bool = False,
        chars_per_chunk: int = 512,
        with_whitespace: bool = True,
        tokenized_lm: bool = True,
        is_lower: bool = False,
        name: str | None = None,
        has_decoder: bool = True,
        *,
        precision: ReadingPrecision = "fp32",
    ) -> None:
        super().__init__()
        if chars_per_chunk < 1:
            raise ConfigError(f"chars_per_chunk must be at least 1, got {chars_per_chunk}")
        if precision not in ("fp32", "bf16", "int8") or (precision != "fp32" and fine_tune):
            raise ConfigError(
                f"precision is fp32 or, without fine_tune, bf16 or int8; got {precision!r}, fine_tune={fine_tune}"
            )
        if isinstance(model, LanguageModel):
            self.lm = model
            self.name = f"Task-LSTM-{model.hidden_size}-{model.nlayers}-{model.is_forward_lm}"
        else:
            self.lm = LanguageModel.load_language_model(find_model(model, [".pt"], "language model"))
            self.name = str(model)
            if not has_decoder:
                self.lm.decoder, self.lm.has_decoder = None, False
        if not self.lm.dictionary.unit_of.items_are_characters:
            raise ModelFileError(f"FlairEmbeddings reads characters, this model {self.lm.unit}s: use WordLMEmbeddings")
        if name is not None:
            self.name = name
        self.fine_tune = fine_tune
        self.static_embeddings = not fine_tune
        self.chars_per_chunk = chars_per_chunk
        self.with_whitespace = with_whitespace
        self.tokenized_lm = tokenized_lm
        self.is_lower = is_lower
        self.precision = precision
        self.eval()

    @property
    def is_forward_lm(self) -> bool:
        return self.lm.is_forward_lm

    @property
    def embedding_length(self) -> int:
        return self.lm.output_size

    def train(self, mode: bool = True) -> Self:
        """Without `fine_tune` the language model stays in evaluation mode: dropout would change the vectors."""
        return super().train(self.fine_tune and mode)

    def in_bf16(self) -> Embeddings:
        if self.fine_tune or not isinstance(self.lm.rnn, nn.LSTM):
            return self
        embeddings = copy.copy(self)
        embeddings.precision = "bf16"
        return embeddings

    def _settings(self) -> JsonObject:
        return {
            "model": self.lm.config.to_json(),
            "dictionary": self.lm.dictionary.to_json(),
            "fine_tune": self.fine_tune,
            "chars_per_chunk": self.chars_per_chunk,
            "with_whitespace": self.with_whitespace,
            "tokenized_lm": self.tokenized_lm,
            "is_lower": self.is_lower,
            "name": self.name,
            "precision": self.precision,
        }

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        arguments = dict(settings)
        config = LanguageModelConfig.from_json(arguments.pop("model"))
        dictionary = Dictionary.from_json(arguments.pop("dictionary"))
        return cls(LanguageModel(dictionary, **config.to_json()), **arguments)

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        full = [sentence for sentence in sentences if len(sentence)]
        for sentence in sentences:
            if not len(sentence):
                sentence.set_token_embeddings(self.name, torch.empty(0, self.embedding_length, device=self.lm.device))
        if not full:
            return
        batch = self._encoded_batch(full)
        with torch.set_grad_enabled(self.fine_tune and torch.is_grad_enabled()):
            reader = StateReader(self.lm, precision=self.precision, chars_per_chunk=self.chars_per_chunk)
            for rows, states in reader.read(batch):
                for row, matrix in zip(rows, torch.split(states, batch.counts[rows].tolist()), strict=True):
                    full[row].set_token_embeddings(self.name, matrix)

    def _encoded_batch(self, sentences: list[Sentence]) -> EncodedBatch:
        """The input of the model for each sentence, and the position of each token's state in it.

        The input is `delimiter + text + " "`; a backward model gets the text reversed, not the delimiter. Every token
        advances the position by its length, and by exactly one for any white space after it. As in Flair, positions
        in lower-cased text count the characters before lower-casing.
        """
        words = [sentence.words for sentence in sentences]
        if self.tokenized_lm:
            texts = [" ".join(sentence_words) for sentence_words in words]
            gaps = np.ones(sum(map(len, words)), dtype=np.int64)
        else:
            texts = [sentence.to_plain_string() for sentence in sentences]
            gaps = np.array([min(gap, 1) for sentence in sentences for gap in sentence.whitespaces_after])
        units = self._units
        steps = np.fromiter(map(units, itertools.chain.from_iterable(words)), np.int64) + gaps
        counts = np.fromiter(map(len, words), np.int64)
        ends = np.cumsum(steps)
        ends -= np.repeat(ends[np.cumsum(counts) - 1] - np.add.reduceat(steps, np.cumsum(counts) - counts), counts)
        delimiter = self.lm.document_delimiter
        places = ends - gaps if self.is_forward_lm else np.repeat([*map(units, texts)], counts) - (ends - steps)
        places += units(delimiter) - (0 if self.with_whitespace else 1)
        ids, lengths = self._encode(delimiter, [text.lower() for text in texts] if self.is_lower else texts)
        return EncodedBatch(ids, lengths, places, counts)

    @property
    def _units(self) -> Callable[[str], int]:
        """Counts the ids of a text."""
        unit = self.lm.dictionary.unit_of
        if self.is_lower and not unit.in_flair:  # Flair has no such models to agree with
            return lambda text: unit.num_items(text.lower())
        return unit.num_items

    def _encode(self, delimiter: str, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all inputs, and the number of ids of each, with a single table look-up."""
        dictionary = self.lm.dictionary
        count = dictionary.unit_of.num_items
        ids = dictionary.encode("".join([f"{delimiter}{text}{_END}" for text in texts]))
        sizes = np.fromiter(map(count, texts), np.int64)
        lengths = count(delimiter) + sizes + count(_END)
        if not self.is_forward_lm:
            starts = np.cumsum(lengths) - lengths + count(delimiter)
            within = np.arange(sizes.sum()) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
            ids[within] = ids[np.repeat(2 * starts + sizes - 1, sizes) - within]
        return ids, lengths


class CharLMEmbeddings(FlairEmbeddings):
    """The name that FlairEmbeddings had in Flair 0.4."""


class PooledFlairEmbeddings(TokenEmbeddings):
    """A word's contextual vector beside the pooled vectors of its occurrences so far, in this text or any before.

    Args:
        contextual_embeddings: the embeddings to pool, or their language model.
        pooling: how the vectors of a word are combined: `min`, `max`, `mean`, or `fade` (half old, half new).
        only_capitalized: pool capitalized words only.
        kwargs: passed on to FlairEmbeddings.
    """

    static_embeddings = False  # the memory grows with every sentence

    def __init__(
        self,
        contextual_embeddings: FlairEmbeddings | str | os.PathLike[str],
        pooling: Literal["min", "max", "mean", "fade"] = "min",
        only_capitalized: bool = False,
        **kwargs: bool | int,
    ) -> None:
        super().__init__()
        if pooling not in ("min", "max", "mean", "fade"):
            raise ConfigError(f"pooling is min, max, mean or fade, got {pooling!r}")
        if not isinstance(contextual_embeddings, FlairEmbeddings):
            contextual_embeddings = FlairEmbeddings(contextual_embeddings, **kwargs)  # type: ignore[arg-type]
        self.context_embeddings = contextual_embeddings
        self.pooling = pooling
        self.only_capitalized = only_capitalized
        self.name = f"{contextual_embeddings.name}-context"
        self.word_embeddings: dict[str, Tensor] = {}
        self.word_count: dict[str, int] = {}

    @property
    def embedding_length(self) -> int:
        return 2 * self.context_embeddings.embedding_length

    def get_names(self) -> list[str]:
        return [self.name, self.context_embeddings.name]

    def frozen_parts(self) -> list[Embeddings]:
        return self.context_embeddings.frozen_parts()

    def _settings(self) -> JsonObject:
        return {
            "contextual_embeddings": self.context_embeddings.to_json(),
            "pooling": self.pooling,
            "only_capitalized": self.only_capitalized,
            "name": self.name,
        }

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        contextual = FlairEmbeddings._from_settings(
            {name: value for name, value in settings["contextual_embeddings"].items() if name != "kind"}
        )
        embeddings = cls(contextual, settings["pooling"], settings["only_capitalized"])
        embeddings.name = settings["name"]
        embeddings.word_count = dict(settings.get("word_count", {}))
        return embeddings

    def get_extra_state(self) -> Tensor:
        """The remembered words, how often each came, and their vectors, as bytes: see `_packed`.

        They lie in one tensor, so that a state dict of another epoch, which met the words in another order, brings its
        own words with its vectors.
        """
        return _packed(self.word_count, self.word_embeddings, self.context_embeddings.embedding_length)

    def set_extra_state(self, state: Tensor) -> None:
        if state.dtype != torch.uint8:  # of version 0.1, where the words stand in the settings
            rows = zip(self.word_count, state.cpu(), strict=True)
            self.word_embeddings = {word: vector.clone() for word, vector in rows}
            return
        self.word_count, self.word_embeddings = _unpacked(state, self.context_embeddings.embedding_length)

    def train(self, mode: bool = True) -> Self:
        """Training mode clears the memory: every epoch starts without pooled vectors."""
        if mode:
            self.word_embeddings, self.word_count = {}, {}
        return super().train(mode)

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        self.context_embeddings.embed(sentences)
        contextual = [sentence.get_token_embeddings([self.context_embeddings.name]) for sentence in sentences]
        for sentence, matrix in zip(sentences, contextual, strict=True):
            for word, vector in zip(sentence.words, matrix.cpu(), strict=True):
                if word[0].isupper() or not self.only_capitalized:
                    self._remember(word, vector.detach())
        for sentence, matrix in zip(sentences, contextual, strict=True):
            rows = [self._recall(word, vector) for word, vector in zip(sentence.words, matrix, strict=True)]
            sentence.set_token_embeddings(self.name, torch.stack(rows).to(matrix.device) if rows else matrix)

    def _remember(self, word: str, vector: Tensor) -> None:
        known = self.word_embeddings.get(word)
        self.word_count[word] = self.word_count.get(word, 0) + 1
        if known is None:
            self.word_embeddings[word] = vector.clone()
        elif self.pooling == "min":
            torch.minimum(known, vector, out=known)
        elif self.pooling == "max":
            torch.maximum(known, vector, out=known)
        else:
            known += vector
            if self.pooling == "fade":
                known /= 2

    def _recall(self, word: str, vector: Tensor) -> Tensor:
        """The pooled vector of `word`, or its contextual vector where there is none."""
        known = self.word_embeddings.get(word)
        if known is None:
            return vector
        return (known / self.word_count[word] if self.pooling == "mean" else known).to(vector.device)


def _packed(counts: dict[str, int], vectors: dict[str, Tensor], width: int) -> Tensor:
    """Length of the words in bytes (8 bytes, little-endian), the words and their counts as JSON, then their vectors."""
    words = json.dumps(counts, ensure_ascii=False).encode()
    rows = torch.stack([vectors[word].float() for word in counts]) if counts else torch.empty(0, width)
    content = len(words).to_bytes(8, "little") + words + rows.numpy().tobytes()
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _unpacked(state: Tensor, width: int) -> tuple[dict[str, int], dict[str, Tensor]]:
    """The counts and the vectors (D,) of the words; raises ModelFileError where there is not one vector a word."""
    content = state.cpu().numpy().tobytes()
    start = 8 + int.from_bytes(content[:8], "little")
    counts: dict[str, int] = json.loads(content[8:start])
    if len(content) - start != 4 * width * len(counts):
        raise ModelFileError(f"{len(counts)} remembered words have {len(content) - start} bytes of vectors")
    rows = torch.from_numpy(np.frombuffer(content, np.float32, offset=start).reshape(len(counts), width).copy())
    return counts, {word: row.clone() for word, row in zip(counts, rows, strict=True)}
