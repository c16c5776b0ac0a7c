"""The average of the weights over the steps of a training, once validation is stuck.

NT-ASGD of Merity et al. 2018, "Regularizing and Optimizing LSTM Language Models": averaging (Polyak and Juditsky 1992)
begins when a validation is worse than the best of those before the last few ones.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor, nn

from charlm.trainers.lm.checkpoint import Progress


class WeightAverage:
    """The mean of the weights after each step since it was made; before the first one, those of the model."""

    def __init__(self, model: nn.Module) -> None:
        self.steps = 0
        self._means = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    @torch.no_grad()
    def add(self, model: nn.Module) -> None:
        self.steps += 1
        for name, parameter in model.named_parameters():
            self._means[name].lerp_(parameter.detach(), 1 / self.steps)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The block sees the means in place of the weights of `model`, which come back after it."""
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    @torch.no_grad()
    def _swap(self, model: nn.Module) -> None:
        for name, parameter in model.named_parameters():
            own = self._means[name].clone()
            self._means[name].copy_(parameter)
            parameter.copy_(own)

    def state(self) -> dict[str, Tensor]:
        return {**self._means, _STEPS: torch.tensor(self.steps)}

    @classmethod
    def restored(cls, state: Mapping[str, Tensor], model: nn.Module) -> Self:
        """The average that `state()` has returned; raises KeyError or RuntimeError when it is of another model."""
        average = cls(model)
        average.steps = int(state[_STEPS])
        for name, mean in average._means.items():
            mean.copy_(state[name])
        return average


_STEPS = "number of steps"


def note_loss(progress: Progress, loss: float, patience: int) -> None:
    """Add a validation to `progress`, and begin to average after it where it is time to."""
    if progress.averaging_since >= 0:
        return
    if loss > progress.earlier_loss:
        progress.averaging_since = progress.step
        return
    progress.recent_losses = [*progress.recent_losses, loss]
    if len(progress.recent_losses) > patience:
        oldest, *progress.recent_losses = progress.recent_losses
        progress.earlier_loss = min(progress.earlier_loss, oldest)
