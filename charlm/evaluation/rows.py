"""What each of some texts costs under a language model: by itself, or in the context of the texts before it.

By itself every text is read from a newline, so texts may be read in any order. In context, all texts together are read
as one; only so a cache of the last states and an n-gram model can be mixed in.
"""

# R = texts, N = units of all texts

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from charlm.artifacts import CorpusFiles
from charlm.config import BaselineConfig, CacheConfig
from charlm.evaluation.baseline import open_ngrams
from charlm.evaluation.encoded_rows import EncodedRows, RowEncoder
from charlm.evaluation.language_model import unit_nats
from charlm.evaluation.mixing import best_weight, cached_nats, mixed_nats
from charlm.evaluation.rows_alone import nats_alone
from charlm.evaluation.scores import LMScore
from charlm.language_models.language_model import LanguageModel
from charlm.language_models.ngrams import NgramModel
from charlm.text.corpus.encoding import ensure_encoded, read_ids


@dataclass(frozen=True, kw_only=True)
class RowScores:
    """The scores of some texts; arrays of shape (R,)."""

    characters: np.ndarray
    bytes: np.ndarray
    units: np.ndarray
    unknown: np.ndarray
    nats: np.ndarray
    unknown_bits: np.ndarray
    """What naming the unknown units costs; not a number where the text cannot be rebuilt from its units."""

    @property
    def bits_per_byte(self) -> np.ndarray:
        """All bits of each text over its bytes."""
        bits: np.ndarray = (self.nats / math.log(2) + self.unknown_bits) / self.bytes
        return bits

    def total(self, model: LanguageModel) -> LMScore:
        """The score of `model` over all texts."""
        return LMScore(
            nats=float(self.nats.sum()),
            units=int(self.units.sum()),
            characters=int(self.characters.sum()),
            bytes=int(self.bytes.sum()),
            unknown=int(self.unknown.sum()),
            unknown_bits=float(self.unknown_bits.sum()),
            unit=model.unit,
        )


class RowScorer(Protocol):
    """Scores texts with one language model."""

    model: LanguageModel

    def score(self, rows: Sequence[bytes]) -> RowScores:
        """The scores of texts: UTF-8 that ends with a newline and holds more than newlines; at least one."""


class AloneScorer:
    """Scores each text by itself: its score is that of a file that holds this text only."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self._encoder = RowEncoder(model.dictionary)

    def score(self, rows: Sequence[bytes]) -> RowScores:
        encoded = self._encoder.encode(rows)
        return _scores(encoded, nats_alone(self.model, encoded))


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """An n-gram model, and how much it counts."""

    ngrams: NgramModel
    weight: float


class ContextScorer:
    """Scores texts one after the other, with a cache and an n-gram model where they are given."""

    def __init__(
        self, model: LanguageModel, *, cache: CacheConfig | None = None, mixture: Mixture | None = None
    ) -> None:
        self.model, self._cache, self._mixture = model, cache, mixture
        self._encoder = RowEncoder(model.dictionary)

    def score(self, rows: Sequence[bytes]) -> RowScores:
        encoded = self._encoder.encode(rows)
        nats = _nats(self.model, encoded.ids, self._cache, self._mixture)
        starts = np.cumsum(encoded.units) - encoded.units
        return _scores(encoded, np.add.reduceat(nats, starts, dtype=np.float64))


def _scores(encoded: EncodedRows, nats: np.ndarray) -> RowScores:
    sizes = {field.name: getattr(encoded, field.name) for field in fields(EncodedRows) if field.name != "ids"}
    return RowScores(nats=nats, **sizes)


def _nats(
    model: LanguageModel, ids: np.ndarray, cache: CacheConfig | None, mixture: Mixture | None = None
) -> np.ndarray:
    """Cross entropy of each unit in text order, (N,)."""
    nats = unit_nats(model, ids) if cache is None else cached_nats(model, ids, cache)
    return nats if mixture is None else mixed_nats(nats, mixture.ngrams.nats(ids), mixture.weight)


def open_mixture(
    model: LanguageModel,
    corpus: CorpusFiles,
    config: BaselineConfig,
    *,
    weight: float | None = None,
    cache: CacheConfig | None = None,
) -> Mixture:
    """The n-gram model of a corpus in the ids and the direction of `model`.

    Without `weight`, it counts as much as predicts the validation text of that corpus best.
    """
    ngrams = open_ngrams(corpus, config, model.direction, dictionary=model.dictionary)
    if weight is None:
        ids = read_ids(ensure_encoded(corpus, model.dictionary, ["valid"])["valid"])
        weight = best_weight(_nats(model, ids, cache), ngrams.nats(ids))
    return Mixture(ngrams=ngrams, weight=weight)
