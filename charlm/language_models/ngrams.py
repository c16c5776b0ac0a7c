"""An n-gram model with interpolated modified Kneser-Ney smoothing: what a neural model has to be worth its price.

Chen and Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling"; the estimates are those of
KenLM (Heafield et al. 2013, "Scalable Modified Kneser-Ney Language Model Estimation"): counts of distinct left
neighbours below the highest order, three discounts for each order from the counts of counts, unigrams interpolated
with the uniform distribution. A line is a sentence: no context reaches across a newline, which stands for the end of
the line as a target, and for its start as a context.

It works on arrays of ids, so its unit may be anything. An n-gram is a number: the place of its first n - 1 items among
all that occur, times the size of the dictionary, plus its last item. So an order is one sorted array, and a text is
looked up in it at once.
"""

# N = units of a text, V = dictionary size, K = distinct n-grams of an order

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import numpy as np
from safetensors import SafetensorError, safe_open

from charlm.config import BaselineConfig, JsonConfig
from charlm.errors import ConfigError, CorpusError, ModelFileError
from charlm.storage.atomic import atomic_write

_UNITS_AT_ONCE = 1 << 20
_NONE = -1  # in place of the number of an n-gram that does not occur
_FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where the counts of counts give none, as in a text that is too small or too regular: KenLM's."""


@dataclass(frozen=True, kw_only=True)
class NgramConfig(JsonConfig):
    """What an n-gram model is beside its counts."""

    order: int
    """Items of the longest n-grams."""

    num_items: int
    """Size of the dictionary."""

    newline: int
    """Id of the item that ends a line."""

    is_forward: bool = True
    """False where the lines are read from their ends."""

    source: str = ""
    """Fingerprint of the text that was counted."""

    units: int = 0
    """Units of it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        BaselineConfig(order=self.order)  # or an error
        if not 0 <= self.newline < self.num_items:
            raise ConfigError(f"the newline has an id below {self.num_items}, the size of the dictionary")


@dataclass(frozen=True)
class _Ngrams:
    """The n-grams of one order that occur, in the order of their numbers."""

    numbers: np.ndarray
    """Number of each, (K,) uint64; empty for single items, whose number is their id."""

    probabilities: np.ndarray
    """Of the last item after the ones before it, interpolated with all lower orders, (K,) float32."""

    backoffs: np.ndarray
    """Weight of the lower orders after these n items, (K,) float32; empty for the highest order."""

    def find(self, contexts: np.ndarray, ids: np.ndarray, num_items: int) -> np.ndarray:
        """The place of each context followed by its id, or -1, (N,) int64."""
        wanted = np.maximum(contexts, 0).astype(np.uint64) * np.uint64(num_items) + ids.astype(np.uint64)
        places: np.ndarray = np.minimum(np.searchsorted(self.numbers, wanted), len(self.numbers) - 1)
        places[(contexts < 0) | (self.numbers[places] != wanted)] = _NONE
        return places


class NgramModel:
    """Probabilities of the next item after up to `order - 1` items of the same line."""

    def __init__(self, config: NgramConfig, orders: list[_Ngrams]) -> None:
        self.config = config
        self._orders = orders

    @classmethod
    def train(cls, ids: np.ndarray, config: NgramConfig) -> Self:
        """The model of a text given as ids in its own order, (N,); raises CorpusError where there is none.

        Its memory grows with the text: callers bound N (see evaluation/baseline.py).
        """
        if not len(ids):
            raise CorpusError("an n-gram model needs text to count; the training text holds none")
        counted = list(_count(_in_reading_direction(ids, config), config))
        return cls(config, _estimate(counted, config))

    @property
    def num_ngrams(self) -> list[int]:
        """Distinct n-grams of each order."""
        return [len(ngrams.probabilities) for ngrams in self._orders]

    def nats(self, ids: np.ndarray) -> np.ndarray:
        """Cross entropy of every unit of a text in its own order, (N,) float32; the text begins with a line."""
        read = _in_reading_direction(ids, self.config)
        nats = np.empty(len(read), dtype=np.float32)
        reach = self.config.order - 1
        for start in range(0, len(read), _UNITS_AT_ONCE):
            begin = max(0, start - reach)  # what precedes is read again, as context
            part = self._probabilities(read[begin : start + _UNITS_AT_ONCE])[start - begin :]
            nats[start : start + len(part)] = -np.log(part)
        return _in_reading_direction(nats, self.config)

    def _probabilities(self, ids: np.ndarray) -> np.ndarray:
        """Probability of each id after those before it, (N,) float64."""
        config, (first, *higher) = self.config, self._orders
        ids = ids.astype(np.int64)
        probabilities: np.ndarray = first.probabilities[ids].astype(np.float64)
        found, lower = ids, first
        for ngrams in higher:
            if not len(ngrams.numbers):  # no line of the training text is as long
                break
            contexts = _contexts(found, ids, config, is_first=lower is first)
            found = ngrams.find(contexts, ids, config.num_items)
            weights = np.where(contexts < 0, 1.0, lower.backoffs[np.maximum(contexts, 0)])
            probabilities = np.where(found < 0, weights * probabilities, ngrams.probabilities[np.maximum(found, 0)])
            lower = ngrams
        return probabilities

    # ---- files -------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write the model as safetensors, atomically."""
        tensors = {
            f"{number}.{name}": getattr(ngrams, name)
            for number, ngrams in enumerate(self._orders, start=1)
            for name in ("numbers", "probabilities", "backoffs")
        }
        with atomic_write(path) as file:
            _write_safetensors(file, tensors, {"config": json.dumps(self.config.to_json())})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model in a file; raises ModelFileError where it is missing or damaged."""
        try:
            with safe_open(path, framework="numpy") as file:
                config = NgramConfig.from_json(json.loads((file.metadata() or {})["config"]))
                orders = [
                    _Ngrams(*(file.get_tensor(f"{number}.{name}") for name in ("numbers", "probabilities", "backoffs")))
                    for number in range(1, config.order + 1)
                ]
        except (OSError, SafetensorError, KeyError, ValueError, ConfigError) as error:
            raise ModelFileError(f"{path} is no n-gram model of ours ({error}); delete it") from error
        return cls(config, orders)


_TYPE_NAMES = {"uint64": "U64", "float32": "F32"}


def _write_safetensors(file: IO[bytes], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays in the format of safetensors straight from memory; the library would copy all of them first."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, array in tensors.items():
        begin, end = end, end + array.nbytes
        kind = _TYPE_NAMES[array.dtype.name]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # arrays begin at a multiple of 8
    file.write(len(text).to_bytes(8, "little") + text)
    for array in tensors.values():
        file.write(np.ascontiguousarray(array).data.cast("B") if array.size else b"")


def _in_reading_direction(values: np.ndarray, config: NgramConfig) -> np.ndarray:
    return values if config.is_forward else values[::-1]


def _contexts(found: np.ndarray, ids: np.ndarray, config: NgramConfig, *, is_first: bool) -> np.ndarray:
    """The place of the n-gram before each unit, or -1 where the line, or the text, begins within it, (N,).

    `found` is the place of the n-gram that ends at each unit. A newline alone is the context of what begins a line.
    """
    contexts = np.empty_like(found)
    contexts[0] = config.newline if is_first else _NONE
    contexts[1:] = found[:-1]
    if not is_first:
        contexts[1:][ids[:-1] == config.newline] = _NONE
    return contexts


# ---- training ------------------------------------------------------------------------------------------------------


@dataclass
class _Counted:
    """The n-grams of one order in the training text."""

    numbers: np.ndarray
    counts: np.ndarray
    """How often each occurs, (K,); below the highest order then after how many different items (`_adjusted`)."""

    prefixes: np.ndarray
    """Place of its first n - 1 items in the order below, (K,)."""

    suffixes: np.ndarray
    """Place of its last n - 1 items in the order below, (K,)."""

    begin_a_line: np.ndarray
    """Whether its first item is the newline before a line, (K,) bool."""


def _count(ids: np.ndarray, config: NgramConfig) -> Iterator[_Counted]:
    """The n-grams of each order, of all items for single ones."""
    nothing = np.empty(0, dtype=np.int64)
    counts = np.bincount(ids, minlength=config.num_items)
    if len(counts) > config.num_items:
        raise CorpusError(f"the text has an id {len(counts) - 1}, and the dictionary only {config.num_items} items")
    begin_a_line = np.zeros(config.num_items, dtype=bool)
    yield _Counted(nothing.astype(np.uint64), counts, nothing, nothing, begin_a_line)
    found = ids.astype(np.int32)
    for order in range(2, config.order + 1):
        contexts = _contexts(found, ids, config, is_first=order == 2)
        where = np.flatnonzero(contexts >= 0).astype(np.int32)
        numbers = contexts[where].astype(np.uint64)
        numbers *= np.uint64(config.num_items)
        numbers += ids[where].astype(np.uint64)
        in_order = np.argsort(numbers)
        numbers, where = numbers[in_order], where[in_order]
        del contexts, in_order
        is_new = np.empty(len(numbers), dtype=bool)
        is_new[:1] = True
        np.not_equal(numbers[1:], numbers[:-1], out=is_new[1:])
        (starts,) = np.nonzero(is_new)
        numbers, suffixes = numbers[starts], found[where[starts]]
        prefixes = (numbers // np.uint64(config.num_items)).astype(np.int32)
        begin_a_line = prefixes == config.newline if order == 2 else begin_a_line[prefixes]
        yield _Counted(numbers, np.diff(starts, append=len(where)).astype(np.int32), prefixes, suffixes, begin_a_line)
        if order < config.order:
            found = np.full(len(ids), _NONE, dtype=np.int32)
            found[where] = np.cumsum(is_new, dtype=np.int32) - 1


def _estimate(counted: list[_Counted], config: NgramConfig) -> list[_Ngrams]:
    """Probabilities and back-offs of each order; empties `counted` on the way, since both together fill the memory."""
    for lower, higher in itertools.pairwise(counted):
        neighbours = np.bincount(higher.suffixes, minlength=len(lower.counts))
        lower.counts = np.where(lower.begin_a_line, lower.counts, neighbours).astype(np.int32)
    orders: list[_Ngrams] = []
    below = np.full(1, 1 / config.num_items)  # the uniform distribution, whatever the item
    while counted:
        ngrams = counted.pop(0)
        if not orders:
            ngrams.prefixes = ngrams.suffixes = np.zeros(config.num_items, dtype=np.int32)
        discounts = np.array([0.0, *_discounts(ngrams.counts)], dtype=np.float32)[np.minimum(ngrams.counts, 3)]
        totals = np.bincount(ngrams.prefixes, weights=ngrams.counts, minlength=len(below))
        freed = np.bincount(ngrams.prefixes, weights=discounts, minlength=len(below))
        weights = np.divide(freed, totals, out=np.ones(len(below)), where=totals > 0)  # 1 where nothing has followed
        if orders:
            orders[-1] = _Ngrams(orders[-1].numbers, orders[-1].probabilities, weights.astype(np.float32))
        interpolated = weights[ngrams.prefixes] * below[ngrams.suffixes]
        below = (ngrams.counts - discounts) / totals[ngrams.prefixes] + interpolated
        orders.append(_Ngrams(ngrams.numbers, below.astype(np.float32), np.empty(0, dtype=np.float32)))
    return orders


def _discounts(counts: np.ndarray) -> tuple[float, float, float]:
    """What is taken from a count of one, of two, and of more (Chen and Goodman 1998, equation 26)."""
    ones, twos, threes, fours = (int(np.count_nonzero(counts == number)) for number in (1, 2, 3, 4))
    if not (ones and twos and threes):
        return _FALLBACK
    share = ones / (ones + 2 * twos)
    discounts = (1 - 2 * share * twos / ones, 2 - 3 * share * threes / twos, 3 - 4 * share * fours / threes)
    return discounts if all(0 <= discount <= most for most, discount in enumerate(discounts, 1)) else _FALLBACK
