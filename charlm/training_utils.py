"""The metrics under the import path of Flair's `training_utils`."""

from charlm.evaluation.labels import (
    ClassScore,
    EvaluationMetric,
    LabelScores,
    score_label_sets,
    score_labels,
    score_spans,
)

__all__ = ["ClassScore", "EvaluationMetric", "LabelScores", "score_label_sets", "score_labels", "score_spans"]
