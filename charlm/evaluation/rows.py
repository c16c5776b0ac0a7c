"""What each line of a text costs under a language model, with a cache and mixed with an n-gram model where wanted."""

# N = units of a text, R = its lines that are not empty

import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from charlm.artifacts import CorpusFiles
from charlm.config import BaselineConfig, CacheConfig
from charlm.config.text import Normalization
from charlm.errors import CorpusError
from charlm.evaluation.baseline import open_ngrams
from charlm.evaluation.language_model import encoded_text, unit_nats
from charlm.evaluation.mixing import best_weight, cached_nats, mixed_nats
from charlm.evaluation.scores import LMScore
from charlm.language_models.language_model import LanguageModel
from charlm.language_models.ngrams import NgramModel
from charlm.text.corpus.encoding import ensure_encoded, read_ids, read_lengths, read_unknown_bits


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """An n-gram model, and how much it counts."""

    ngrams: NgramModel
    weight: float


@dataclass(frozen=True, kw_only=True)
class RowScores:
    """The lines of a text that are not empty; arrays of shape (R,)."""

    line: np.ndarray
    """Number of the line in the text, from 1."""

    characters: np.ndarray
    bytes: np.ndarray
    units: np.ndarray
    unknown: np.ndarray
    nats: np.ndarray
    bits: np.ndarray
    """All bits of the text of the line; not a number where the text cannot be rebuilt from its units."""

    score: LMScore
    """Of the whole text."""


def score_rows(
    model: LanguageModel, path: Path, *, cache: CacheConfig | None = None, mixture: Mixture | None = None
) -> RowScores:
    """The score of each line of a text file under a language model.

    The text is read as a whole, line after line, as in every score. Raises SourceError when the file is missing,
    CorpusError when it is not UTF-8 or holds no text.
    """
    with encoded_text(model, path) as (encoded, info):
        ids, lengths = read_ids(encoded), read_lengths(encoded)
        nats = _nats(model, ids, cache, mixture).astype(np.float64)
        cost = model.dictionary.unit_of.unknown_bits
        starts = np.cumsum(lengths) - lengths
        row_nats = np.add.reduceat(nats, starts)
        unknown = np.add.reduceat((ids == 0).astype(np.int64), starts)
        extra = cost * unknown if cost is not None else read_unknown_bits(encoded)
    sizes = np.array(list(_sizes(path, model.dictionary.unit_of.normalization)), dtype=np.int64).reshape(-1, 3)
    if len(sizes) != len(lengths) or sizes[:, 2].sum() != info.bytes:
        raise CorpusError(f"{path} has changed while it was scored: it had {info.bytes} bytes in {len(lengths)} lines")
    return RowScores(
        line=sizes[:, 0],
        characters=sizes[:, 1],
        bytes=sizes[:, 2],
        units=lengths,
        unknown=unknown,
        nats=row_nats,
        bits=row_nats / math.log(2) + extra,
        score=LMScore(
            nats=float(nats.sum()),
            units=info.units,
            characters=info.characters,
            bytes=info.bytes,
            unknown=info.unknown,
            unknown_bits=float(np.sum(extra)),
            unit=model.unit,
        ),
    )


def _nats(
    model: LanguageModel, ids: np.ndarray, cache: CacheConfig | None, mixture: Mixture | None = None
) -> np.ndarray:
    """Cross entropy of each unit in text order, (N,)."""
    nats = unit_nats(model, ids) if cache is None else cached_nats(model, ids, cache)
    return nats if mixture is None else mixed_nats(nats, mixture.ngrams.nats(ids), mixture.weight)


def _sizes(path: Path, form: Normalization) -> Iterator[tuple[int, int, int]]:
    """Number, characters and bytes of each line that is not empty, all with a newline, as they are encoded."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line != b"\n":
                missing = 0 if line.endswith(b"\n") else 1
                text = line.decode() if form == "none" else unicodedata.normalize(form, line.decode())
                yield number, len(text) + missing, len(text.encode()) + missing


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
