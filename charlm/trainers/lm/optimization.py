"""Budget, learning rate and update rule of a training."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from charlm.config import TrainingConfig

MIN_RATE_FACTOR = 1e-4
"""`plateau` ends when annealing has lowered the rate to less than this share of its start."""


@dataclass(frozen=True)
class Budget:
    """When a training ends: after a number of characters or of seconds, whichever comes first."""

    characters: int
    seconds: float

    @classmethod
    def of(cls, config: TrainingConfig, *, characters_per_epoch: int) -> "Budget":
        limits = [math.inf]
        if config.max_characters is not None:
            limits.append(config.max_characters)
        if config.max_epochs is not None:
            limits.append(round(config.max_epochs * characters_per_epoch))
        characters = min(limits)
        return cls(
            characters=2**62 if math.isinf(characters) else int(characters),
            seconds=math.inf if config.max_minutes is None else 60 * config.max_minutes,
        )

    def progress(self, characters: float, seconds: float) -> float:
        """Share of the budget that is spent, 1 at its end."""
        return min(1.0, max(characters / self.characters, seconds / self.seconds))


def learning_rate_at(config: TrainingConfig, progress: float) -> float:
    """The rate of `linear`: it rises over `warmup_share` of the budget, then falls linearly to zero at its end."""
    if config.schedule == "plateau":
        return config.learning_rate
    if progress < config.warmup_share:
        return config.learning_rate * progress / config.warmup_share
    return config.learning_rate * (1 - progress) / (1 - config.warmup_share)


def sequence_length_at(config: TrainingConfig, splits_read: int) -> int:
    """The sequence length after so many shards: it grows by one a shard where the configuration lets it."""
    if config.grow_to_sequence_length is None:
        return config.sequence_length
    grown = config.sequence_length + splits_read + 1
    return max(config.sequence_length, min(grown, config.grow_to_sequence_length))


def build_optimizer(config: TrainingConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The update rule over all weights; the engine sets the rate of every step."""
    if config.optimizer == "sgd":
        # In one kernel on a GPU; on a CPU that would sum in another order than Flair's, which tests compare with.
        is_on_gpu = next(model.parameters()).device.type == "cuda"
        return torch.optim.SGD(model.parameters(), lr=config.learning_rate, fused=is_on_gpu)
    return torch.optim.AdamW(
        model.parameters(),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )


class Stopwatch:
    """Seconds since it was made, without its pauses, plus `seconds` of an earlier one."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._zero = time.perf_counter() - seconds

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._zero

    @contextmanager
    def paused(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._zero += time.perf_counter() - started
