"""Budget, learning rate and update rule of a training."""

import inspect
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from charlm.config import TrainingConfig

MIN_RATE_FACTOR = 1e-4
"""`plateau` ends when annealing has brought the rate below this share of where it began."""


@dataclass(frozen=True)
class Budget:
    """When a training ends: after so many characters, or so many seconds, whichever comes first."""

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
    """The rate of `linear`: up to the highest over `warmup_share` of the budget, then down to zero at its end."""
    if config.schedule == "plateau":
        return config.learning_rate
    if progress < config.warmup_share:
        return config.learning_rate * progress / config.warmup_share
    return config.learning_rate * (1 - progress) / (1 - config.warmup_share)


def build_optimizer(config: TrainingConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The update rule over all weights; the engine sets the rate of every step."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=config.learning_rate)
    return torch.optim.AdamW(
        model.parameters(),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )


def spare_compiler() -> None:
    """Let the optimizers of this process do without torch's compiler, which takes longer to load than torch itself.

    torch 2.13 loads it in methods that a compiled program would leave out; nothing is compiled here. What they compute
    stays the same.
    """
    base = torch.optim.Optimizer
    for method in (base.add_param_group, base.zero_grad, base.state_dict, base.load_state_dict):
        plain = inspect.unwrap(method)
        plain.__dict__["__dynamo_disable"] = plain  # where `method` looks for the version that the compiler leaves out
    for kind in (torch.optim.Adam, torch.optim.SGD):
        kind.step = torch.no_grad()(inspect.unwrap(kind.step))  # type: ignore[method-assign]


class Stopwatch:
    """Seconds since it was made, less those for which it was paused, plus those of an earlier one."""

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
