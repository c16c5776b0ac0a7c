"""When a training of a tagger or classifier lowers its rate, and when it ends. The rule is Flair's."""

import math
from dataclasses import dataclass


@dataclass(kw_only=True)
class Plateau:
    """The rate falls after more than `patience` epochs in a row without improvement.

    An epoch improves when its score is higher than any before, or as high with a lower loss. All of it is plain
    numbers, so it can be stored.
    """

    learning_rate: float
    """The rate of the next epoch."""

    best_score: float | None = None
    """Highest score so far."""

    best_loss: float | None = None
    """Loss of the epoch that had it; none where there was nothing to measure it on."""

    bad_epochs: int = 0
    """Epochs without improvement since the last improvement or annealing."""

    def step(self, score: float, loss: float, *, anneal_factor: float, patience: int) -> bool:
        """Take in the scores of an epoch; True when it has the highest score so far."""
        is_best = self.best_score is None or score > self.best_score
        if is_best or (score == self.best_score and self.best_loss is not None and loss < self.best_loss):
            self.best_score, self.best_loss, self.bad_epochs = score, None if math.isnan(loss) else loss, 0
        else:
            self.bad_epochs += 1
        if self.bad_epochs > patience:
            self.learning_rate *= anneal_factor
            self.bad_epochs = 0
        return is_best
