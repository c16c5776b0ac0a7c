"""Evaluation: the scores of a tagger or classifier, with the attributes that programs written for Flair read."""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

from charlm.errors import ConfigError
from charlm.evaluation.labels import NOTHING, ClassScore, EvaluationMetric, EvaluationValues, LabelScores

Metric = EvaluationMetric | tuple[str, ...]
"""An EvaluationMetric, or a path into the classification report as Flair has it: `("micro avg", "f1-score")`."""


def metric_name(metric: Metric) -> str:
    """The metric as text, for logs."""
    return metric.value if isinstance(metric, EvaluationMetric) else " ".join(metric)


ClassificationReport = dict[str, dict[str, float] | float]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of a model on labelled sentences."""

    scores: LabelScores
    """Exact counts of every label."""

    loss: float
    """Mean loss of a token (tagger) or a text (classifier), nats; sentences with an unknown label are left out."""

    metric: Metric = EvaluationMetric.MICRO_F1_SCORE
    """What `main_score` is."""

    @property
    def main_score(self) -> float:
        return self.value(self.metric)

    @property
    def detailed_results(self) -> str:
        return self.scores.table()

    def value(self, metric: Metric) -> float:
        """The score that `metric` names; raises ConfigError where there is none."""
        if isinstance(metric, EvaluationMetric):
            return self.scores.value(metric)
        if metric and metric[0] == "loss":
            return self.loss
        found: ClassificationReport | dict[str, float] | float = self.classification_report
        for name in metric:
            if not isinstance(found, dict) or name not in found:
                raise ConfigError(f"there is no score {metric}; there are {', '.join(self.classification_report)}")
            found = found[name]
        if isinstance(found, dict):
            raise ConfigError(f"{metric} names several scores: add one of {', '.join(found)}")
        return found

    @property
    def classification_report(self) -> ClassificationReport:
        """Precision, recall, F1 and support of every label and of the averages, with scikit-learn's keys."""
        classes = self.scores.classes
        total = self.scores.total
        report: ClassificationReport = {name: _row(score) for name, score in classes.items()}
        report["micro avg"] = _row(total)
        report["macro avg"] = _mean_row(classes, dict.fromkeys(classes, 1.0), total.true)
        report["weighted avg"] = _mean_row(
            classes, {name: float(one.true) for name, one in classes.items()}, total.true
        )
        report["accuracy"] = self.scores.accuracy
        return report

    def without(self, labels: Collection[str]) -> "Evaluation":
        """The same with `labels` left out of the scores: they count neither as true nor as predicted."""
        if not labels:
            return self
        kept: LabelScores = replace(self.scores, pairs=type(self.scores.pairs)())
        for pair, count in self.scores.pairs.items():
            gold, guess = (NOTHING if name in labels else name for name in pair)
            if (gold, guess) != (NOTHING, NOTHING):
                kept.pairs[gold, guess] += count
        return replace(self, scores=kept)

    def to_json(self) -> EvaluationValues:
        return {"loss": None if math.isnan(self.loss) else self.loss, **self.scores.to_json()}


def _row(score: ClassScore) -> dict[str, float]:
    return {
        "precision": score.precision,
        "recall": score.recall,
        "f1-score": score.f1,
        "support": float(score.true),
    }


def _mean_row(classes: dict[str, ClassScore], weights: dict[str, float], support: int) -> dict[str, float]:
    """The mean of the rows, weighted by label."""
    rows = {name: _row(score) for name, score in classes.items()}
    whole = sum(weights.values()) or 1.0
    mean = {
        key: sum(weights[name] * row[key] for name, row in rows.items()) / whole
        for key in ("precision", "recall", "f1-score")
    }
    return {**mean, "support": float(support)}
