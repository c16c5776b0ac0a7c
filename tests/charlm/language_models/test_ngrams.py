"""The n-gram model gives the probabilities of the textbook, whatever the blocks and directions it is computed in."""

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.errors import ConfigError, CorpusError, ModelFileError
from charlm.language_models import ngrams
from charlm.language_models.ngrams import NgramConfig, NgramModel

NEWLINE = 1
Gram = tuple[int, ...]


class Textbook:
    """Interpolated modified Kneser-Ney by its definition, one probability at a time, over tuples that begin with -1."""

    def __init__(self, ids: list[int], order: int, num_items: int) -> None:
        self.num_items = num_items
        counts: dict[int, Counter[Gram]] = defaultdict(Counter)
        lefts: dict[Gram, set[int]] = defaultdict(set)
        for line in lines_of(ids):
            items = (-1, *line)
            for end in range(1, len(items)):
                for length in range(1, min(order, end + 1) + 1):
                    gram = items[end + 1 - length : end + 1]
                    counts[length][gram] += 1
                    lefts[gram[1:]].add(gram[0])
        self.counts = {
            length: {
                gram: count if length == order or gram[0] == -1 else len(lefts[gram])
                for gram, count in counts[length].items()
            }
            for length in counts
        }
        self.followers: dict[Gram, list[tuple[Gram, int]]] = defaultdict(list)
        for grams in self.counts.values():
            for gram, count in grams.items():
                self.followers[gram[:-1]].append((gram, count))

    def probability(self, context: Gram, item: int) -> float:
        lower = self.probability(context[1:], item) if context else 1 / self.num_items
        followers = self.followers[context]
        if not followers:
            return lower
        counts = self.counts[len(context) + 1]
        total = sum(count for _, count in followers)
        own = counts.get((*context, item), 0)
        freed = sum(self.discount(counts, count) for _, count in followers)
        return (own - self.discount(counts, own)) / total + freed / total * lower

    @staticmethod
    def discount(counts: dict[Gram, int], count: int) -> float:
        times = Counter(counts.values())
        values = (0.5, 1.0, 1.5)
        if times[1] and times[2] and times[3]:
            share = times[1] / (times[1] + 2 * times[2])
            exact = tuple(k - (k + 1) * share * times[k + 1] / times[k] for k in (1, 2, 3))
            if all(0 <= value <= k for k, value in enumerate(exact, 1)):
                values = exact
        return 0.0 if count == 0 else values[min(count, 3) - 1]


def lines_of(ids: list[int]) -> list[list[int]]:
    lines: list[list[int]] = [[]]
    for item in ids:
        lines[-1].append(item)
        if item == NEWLINE:
            lines.append([])
    return [line for line in lines if line]


def textbook_nats(model: Textbook, ids: list[int], order: int) -> list[float]:
    nats = []
    for line in lines_of(ids):
        items = (-1, *line)
        for end in range(1, len(items)):
            nats.append(-math.log(model.probability(items[max(0, end + 1 - order) : end], items[end])))
    return nats


def random_ids(seed: int, size: int, num_items: int = 12) -> np.ndarray:
    """Ids with a few frequent ones and runs that come again, `<unk>` (0) and newlines (1) among them."""
    generator = np.random.default_rng(seed)
    ids = generator.zipf(1.6, size).astype(np.int64) % num_items
    ids[::17] = NEWLINE
    ids[size // 2 :] = np.roll(ids, 3)[: size - size // 2]
    return ids.astype(np.uint16)


def config(order: int, num_items: int = 12, **settings: bool) -> NgramConfig:
    return NgramConfig(order=order, num_items=num_items, newline=NEWLINE, **settings)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_are_those_of_the_textbook(order: int) -> None:
    train, text = random_ids(1, 2_000), random_ids(2, 300)
    nats = NgramModel.train(train, config(order)).nats(text)
    expected = textbook_nats(Textbook(train.tolist(), order, 12), text.tolist(), order)
    assert nats == pytest.approx(expected, rel=2e-5)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.lists(st.integers(0, 5), max_size=5))
def test_probabilities_after_any_context_add_up_to_one(train: list[int], context: list[int]) -> None:
    model = NgramModel.train(np.array(train, dtype=np.uint8), config(4, 6))
    last = [float(model.nats(np.array([*context, item]))[-1]) for item in range(6)]
    assert sum(math.exp(-nats) for nats in last) == pytest.approx(1, abs=1e-5)


def test_no_context_reaches_across_a_newline() -> None:
    model = NgramModel.train(random_ids(1, 2_000), config(4))
    after_two, after_five = (model.nats(np.array([item, NEWLINE, 3, 4]))[2:] for item in (2, 5))
    assert after_two == pytest.approx(after_five)


@pytest.mark.parametrize("is_forward", [True, False])
def test_a_text_may_be_computed_in_blocks(is_forward: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = NgramModel.train(random_ids(1, 2_000), config(5, is_forward=is_forward))
    text = random_ids(2, 500)
    whole = model.nats(text)
    monkeypatch.setattr(ngrams, "_UNITS_AT_ONCE", 7)
    assert np.array_equal(model.nats(text), whole)


def test_a_backward_model_is_the_forward_one_of_the_reversed_text() -> None:
    train, text = random_ids(1, 2_000), random_ids(2, 300)
    backward = NgramModel.train(train, config(3, is_forward=False))
    forward = NgramModel.train(train[::-1].copy(), config(3))
    assert np.array_equal(backward.nats(text)[::-1], forward.nats(text[::-1]))


def test_a_model_is_the_same_after_it_was_saved(tmp_path: Path) -> None:
    model = NgramModel.train(random_ids(1, 2_000), config(4, is_forward=False))
    model.save(tmp_path / "model")
    loaded = NgramModel.load(tmp_path / "model")
    assert loaded.config == model.config
    assert loaded.num_ngrams == model.num_ngrams
    assert np.array_equal(loaded.nats(random_ids(2, 300)), model.nats(random_ids(2, 300)))


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04K\x01."])
def test_a_damaged_file_is_reported_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(ModelFileError, match="no n-gram model") as error:
        NgramModel.load(tmp_path / "model")
    assert "\n" not in str(error.value)


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(CorpusError, match="holds none"):
        NgramModel.train(np.empty(0, dtype=np.uint8), config(3))
    with pytest.raises(CorpusError, match="an id 12, and the dictionary only 12 items"):
        NgramModel.train(np.array([12, 1]), config(3))
    for order in (0, 13):
        with pytest.raises(ConfigError, match="1 to 12"):
            config(order)
