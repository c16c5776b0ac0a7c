"""Budget, learning rate and update rule of a training."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from charlm.config import TrainingConfig

MIN_RATE_FACTOR = 1e-4
"""`plateau` ends when annealing has lowered the rate to less than this share of its start."""

_SHORTEST = 5  # units of a random sequence
_OF_LENGTHS = 7  # tells these draws from others of the same seed


@dataclass(frozen=True)
class Budget:
    """When a training ends: after a number of units or of seconds, whichever comes first."""

    units: int
    seconds: float

    @classmethod
    def of(cls, config: TrainingConfig, *, units_per_epoch: int, characters_per_unit: float = 1.0) -> "Budget":
        limits = [math.inf]
        if config.max_characters is not None:
            limits.append(config.max_characters / characters_per_unit)
        if config.max_words is not None:
            limits.append(config.max_words)
        if config.max_epochs is not None:
            limits.append(round(config.max_epochs * units_per_epoch))
        units = min(limits)
        return cls(
            units=2**62 if math.isinf(units) else int(units),
            seconds=math.inf if config.max_minutes is None else 60 * config.max_minutes,
        )

    def progress(self, units: float, seconds: float) -> float:
        """Share of the budget that is spent, 1 at its end."""
        return min(1.0, max(units / self.units, seconds / self.seconds))


def learning_rate_at(config: TrainingConfig, progress: float) -> float:
    """The rate of `linear`: it rises over `warmup_share` of the budget, then falls linearly to zero at its end."""
    if config.schedule == "plateau":
        return config.learning_rate
    if progress < config.warmup_share:
        return config.learning_rate * progress / config.warmup_share
    return config.learning_rate * (1 - progress) / (1 - config.warmup_share)


def sequence_length_at(config: TrainingConfig, splits_read: int, step: int = 0) -> int:
    """The length of the sequences of one step: it grows by one a shard, or is random, where that is set.

    A random length (Merity et al. 2018) is a function of the seed and the number of the step, so that a training that
    is resumed draws what an undisturbed one does.
    """
    if config.random_sequence_length:
        draw = np.random.default_rng([config.seed, _OF_LENGTHS, step])
        mean = config.sequence_length if draw.random() < 0.95 else config.sequence_length / 2
        return max(min(_SHORTEST, config.sequence_length), round(draw.normal(mean, 5)))
    if config.grow_to_sequence_length is None:
        return config.sequence_length
    grown = config.sequence_length + splits_read + 1
    return max(config.sequence_length, min(grown, config.grow_to_sequence_length))


def shortened_sequence_length(config: TrainingConfig, num_steps: float) -> int:
    """The length of the sequences where the budget allows `num_steps` of `sequence_length`, fewer than `min_steps`.

    A training of a few hundred steps is short of steps, not of text (docs/lab-notebook.md, "short budgets"). Lengths
    are eighths of the whole one, so that a budget in minutes does not change them with every breath of the machine.
    """
    if config.min_steps is None:
        return config.sequence_length
    eighths = min(8, max(2, math.ceil(8 * num_steps / config.min_steps)))
    return math.ceil(config.sequence_length * eighths / 8)


def build_optimizer(config: TrainingConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The update rule over all weights; the engine sets the rate of every step."""
    if config.optimizer == "sgd":
        # In one kernel on a GPU; on a CPU that would sum in another order than Flair's, which tests compare with.
        is_on_gpu = next(model.parameters()).device.type == "cuda"
        return torch.optim.SGD(model.parameters(), lr=config.learning_rate, weight_decay=config.l2, fused=is_on_gpu)
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
