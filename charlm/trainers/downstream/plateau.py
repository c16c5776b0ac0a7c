"""When the learning rate of a tagger or classifier is lowered. The rule is Flair's."""

import math
from dataclasses import dataclass


@dataclass(kw_only=True)
class PlateauScheduler:
    """Lowers the rate when more than `patience` epochs in a row bring no improvement.

    An epoch improves when its score is higher than any before, or equally high with a lower loss. The state is plain
    numbers and goes into the checkpoint.
    """

    learning_rate: float
    """The rate of the next epoch."""

    best_score: float | None = None
    """Highest score so far."""

    best_loss: float | None = None
    """Loss of the epoch with the highest score; None where nothing was measured."""

    bad_epochs: int = 0
    """Epochs since the last improvement or the last change of the rate."""

    def step(self, score: float, loss: float, *, anneal_factor: float, patience: int) -> bool:
        """Record the scores of an epoch; True when its score is the highest so far."""
        is_best = self.best_score is None or score > self.best_score
        if is_best or (score == self.best_score and self.best_loss is not None and loss < self.best_loss):
            self.best_score, self.best_loss, self.bad_epochs = score, None if math.isnan(loss) else loss, 0
        else:
            self.bad_epochs += 1
        if self.bad_epochs > patience:
            self.learning_rate *= anneal_factor
            self.bad_epochs = 0
        return is_best
