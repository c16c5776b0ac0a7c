"""Better scores of the same language model: with a cache of its last states, and mixed with an n-gram model.

The cache is Grave et al. 2017, "Improving Neural Language Models with a Continuous Cache": what followed a similar
state a short while ago is likely to follow again. A mixture is the weighted mean of two probabilities (Jelinek and
Mercer 1980, "Interpolated Estimation of Markov Source Parameters from Sparse Data"). Both stay proper distributions.
"""

# S = streams, T = units of a chunk, M = remembered states, D = width of a state, N = units of a text

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from charlm.config import CacheConfig
from charlm.evaluation.language_model import chunk_outputs, stream_shape

if TYPE_CHECKING:
    from charlm.language_models.language_model import LanguageModel

_ROUNDS = 100
_CLOSE = 1e-6


def cached_nats(model: "LanguageModel", ids: np.ndarray, cache: CacheConfig) -> np.ndarray:
    """Cross entropy of every unit of a text in text order with a cache of the stream's last states, (N,) float32."""
    streams, length = stream_shape(len(ids))
    nats = np.zeros((streams, length), dtype=np.float32)
    states: Tensor | None = None
    words = torch.empty(0, streams, dtype=torch.int64)
    for start, chunk, targets, output in chunk_outputs(model, ids, limit=length):
        known = output[:0] if states is None else states  # (M, S, D)
        states = torch.cat([known, output])  # (M + T, S, D)
        words = torch.cat([words, torch.from_numpy(targets.T.astype(np.int64))])  # (M + T, S)
        own = np.exp(-chunk.astype(np.float64))
        for stream in range(streams):
            share = _pointer(states[:, stream], words[:, stream].to(output.device), len(known), cache)
            has_memory = np.arange(len(share)) + len(known) > 0
            mixed = np.where(has_memory, (1 - cache.weight) * own[stream] + cache.weight * share, own[stream])
            nats[stream, start : start + len(share)] = -np.log(mixed)
        states, words = states[-cache.window :], words[-cache.window :]
    ordered = nats.reshape(-1)[: len(ids)]
    return ordered if model.is_forward_lm else ordered[::-1]


def _pointer(states: Tensor, words: Tensor, num_known: int, cache: CacheConfig) -> np.ndarray:
    """The probability that the cache gives to each unit after the known ones, (T,), from states (M + T, D).

    `words` (M + T,) has what followed each state.
    """
    new = torch.arange(num_known, len(states), device=states.device)
    age = new[:, None] - torch.arange(len(states), device=states.device)  # (T, M + T)
    scores = cache.sharpness * (states[num_known:] @ states.t())  # (T, M + T)
    scores.masked_fill_((age < 1) | (age > cache.window), -torch.inf)
    shares = torch.nan_to_num(scores.softmax(dim=1))  # nothing is remembered at the very first state
    shares.mul_(words[num_known:, None] == words)
    return shares.sum(dim=1).double().cpu().numpy()


def mixed_nats(first: np.ndarray, second: np.ndarray, weight: float) -> np.ndarray:
    """Cross entropy of each unit, (N,) float32, where the second model's probability counts with `weight`."""
    if weight in (0, 1):
        return first if weight == 0 else second
    mixed: np.ndarray = -np.logaddexp(np.log1p(-weight) - first, np.log(weight) - second)
    return mixed.astype(np.float32)


def best_weight(first: np.ndarray, second: np.ndarray) -> float:
    """The weight of the second model at which the mixture predicts a text best, by expectation maximization."""
    odds = np.exp(np.clip(first.astype(np.float64) - second, -50, 50))  # of the second probability to the first
    weight = 0.5
    for _ in range(_ROUNDS):
        new = float(np.mean(weight * odds / (1 - weight + weight * odds)))
        if abs(new - weight) < _CLOSE:
            return new
        weight = new
    return weight
