"""A cache and a mixture give probabilities that add up, equal to those computed one unit at a time."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from charlm.config import CacheConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import ConfigError
from charlm.evaluation import language_model as scoring
from charlm.evaluation.language_model import unit_nats
from charlm.evaluation.mixing import best_weight, cached_nats, mixed_nats
from charlm.language_models.language_model import LanguageModel
from charlm.nn.inference import inference

pytestmark = pytest.mark.numeric


def small_model(*, is_forward: bool = True) -> LanguageModel:
    torch.manual_seed(1)
    model = LanguageModel(Dictionary.from_items("\nabcd"), is_forward, 8, 1, embedding_size=8)
    for weight in model.parameters():
        torch.nn.init.uniform_(weight, -1, 1)
    return model.eval()


TEXT = np.tile(np.array([2, 3, 4, 5, 1, 3, 3, 2, 0, 4], dtype=np.uint8), 6)


def slowly_cached(model: LanguageModel, ids: np.ndarray, cache: CacheConfig) -> list[float]:
    """The probability of each unit of one stream, from the definition."""
    read = ids if model.is_forward_lm else ids[::-1]
    with inference(model):
        inputs = torch.tensor([[1, *read[:-1].tolist()]]).t()
        logits, states, _ = model(inputs)
        own = logits[:, 0].softmax(1)
    nats = []
    for t, item in enumerate(read.tolist()):
        past = range(max(0, t - cache.window), t)
        scores = [math.exp(cache.sharpness * float(states[t, 0] @ states[i, 0])) for i in past]
        hits = sum(score for score, i in zip(scores, past, strict=True) if read[i] == item)
        p = float(own[t, item])
        nats.append(-math.log((1 - cache.weight) * p + cache.weight * hits / sum(scores) if scores else p))
    return nats if model.is_forward_lm else nats[::-1]


@pytest.mark.parametrize("is_forward", [True, False])
@pytest.mark.parametrize("window", [1, 7, 1000])
def test_the_cache_is_that_of_its_definition(is_forward: bool, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, cache = small_model(is_forward=is_forward), CacheConfig(window=window, weight=0.3)
    expected = slowly_cached(model, TEXT, cache)
    for chunk in (512, 9):
        monkeypatch.setattr(scoring, "_CHUNK", chunk)
        assert cached_nats(model, TEXT, cache) == pytest.approx(expected, rel=1e-4)


def test_each_stream_has_its_own_memory() -> None:
    model, cache = small_model(), CacheConfig(window=50)
    text = np.tile(TEXT, 40)[:2_005]  # two streams
    first = cached_nats(model, text, cache)[:1_003]
    assert first == pytest.approx(slowly_cached(model, text[:1_003], cache), rel=1e-3)


def test_without_weight_the_cache_changes_nothing_and_on_repeated_text_it_helps() -> None:
    model = small_model()
    plain = unit_nats(model, TEXT)
    assert cached_nats(model, TEXT, CacheConfig(weight=0.0)) == pytest.approx(plain, abs=1e-6)
    assert cached_nats(model, TEXT, CacheConfig()).mean() < plain.mean() - 0.05


def test_a_mixture_is_the_mean_of_two_probabilities() -> None:
    first, second = np.array([1.0, 2.0, 80.0]), np.array([3.0, 0.5, 1.0])
    expected = -np.log(0.75 * np.exp(-first) + 0.25 * np.exp(-second))
    assert mixed_nats(first, second, 0.25) == pytest.approx(expected)
    assert mixed_nats(first, second, 0) is first
    assert mixed_nats(first, second, 1) is second


def test_the_best_weight_is_where_the_mixture_predicts_best() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.exponential(3, 2_000), generator.exponential(3.5, 2_000)
    weight = best_weight(first, second)
    costs = [mixed_nats(first, second, weight + change).mean() for change in (-0.02, 0, 0.02)]
    assert costs[1] == min(costs)
    assert best_weight(first, first + 100) < 0.01
    assert best_weight(first + 100, first) > 0.99


def test_the_weight_of_a_cache_leads_down_and_up_again() -> None:
    model = small_model()
    costs = [float(cached_nats(model, TEXT, CacheConfig(weight=weight)).mean()) for weight in (0.0, 0.3, 0.6)]
    assert all(later < earlier for earlier, later in pairwise(costs))


@pytest.mark.parametrize("settings", [{"window": 0}, {"sharpness": -1.0}, {"weight": 1.0}, {"weight": -0.1}])
def test_caches_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="cache"):
        CacheConfig(**settings)  # type: ignore[arg-type]
