"""What a training of a tagger or classifier gives back."""

from dataclasses import dataclass, field

from charlm.models.downstream_model import Evaluation


@dataclass(frozen=True, kw_only=True)
class DownstreamTrainingResult:
    """The scores of a finished training, and how it went."""

    test: Evaluation | None
    """Scores of the best model on the test sentences (of the last model without dev sentences); None without any."""

    dev_scores: list[float] = field(default_factory=list)
    """Score on the dev sentences after every epoch of this call."""

    epochs: int
    best_epoch: int
    seconds: float
    reason: str

    @property
    def test_score(self) -> float | None:
        return None if self.test is None else self.test.main_score

    def to_json(self) -> dict[str, object]:
        return {
            "test": None if self.test is None else self.test.to_json(),
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "seconds": self.seconds,
            "reason": self.reason,
        }
