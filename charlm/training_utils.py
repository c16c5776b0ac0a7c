"""What programs written for Flair import from `training_utils`: the metrics that choose and judge a model."""

from charlm.evaluation.labels import (
    ClassScore,
    EvaluationMetric,
    LabelScores,
    score_label_sets,
    score_labels,
    score_spans,
)

__all__ = ["ClassScore", "EvaluationMetric", "LabelScores", "score_label_sets", "score_labels", "score_spans"]
