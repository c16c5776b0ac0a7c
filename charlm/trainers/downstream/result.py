"""What a training of a tagger or classifier returns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from charlm.models.evaluation import Evaluation

_KEYS = ("test_score", "dev_score_history", "train_loss_history", "dev_loss_history")

Value = float | list[float] | None


@dataclass(frozen=True, kw_only=True)
class DownstreamTrainingResult(Mapping[str, Value]):
    """The scores of a finished training, and how it went.

    It reads like the dictionary that Flair's trainer returns too: `result["test_score"]`.
    """

    test: Evaluation | None
    """Scores of the best model on the test sentences (of the last model without dev sentences); None without any."""

    dev_scores: list[float] = field(default_factory=list)
    """Score on the dev sentences after every epoch of this call."""

    train_losses: list[float] = field(default_factory=list)
    """Mean train loss of every epoch of this call."""

    dev_losses: list[float] = field(default_factory=list)
    """Loss on the dev sentences after every epoch of this call."""

    epochs: int
    best_epoch: int
    seconds: float
    reason: str

    @property
    def test_score(self) -> float | None:
        return None if self.test is None else self.test.main_score

    def __getitem__(self, key: str) -> Value:
        values = (self.test_score, self.dev_scores, self.train_losses, self.dev_losses)
        return dict(zip(_KEYS, values, strict=True))[key]

    def __iter__(self) -> Iterator[str]:
        return iter(_KEYS)

    def __len__(self) -> int:
        return len(_KEYS)

    def to_json(self) -> dict[str, object]:
        return {
            "test": None if self.test is None else self.test.to_json(),
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "seconds": self.seconds,
            "reason": self.reason,
        }
