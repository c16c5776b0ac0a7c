"""What programs written for Flair import from `training_utils`.

The metrics that choose and judge a model, and sentences of texts whose labelled spans are known.
"""

from charlm.data.entities import (
    CharEntity,
    TokenEntity,
    create_labeled_sentence_from_entity_offsets,
    create_labeled_sentence_from_tokens,
)
from charlm.evaluation.labels import (
    ClassScore,
    EvaluationMetric,
    LabelScores,
    score_label_sets,
    score_labels,
    score_spans,
)

__all__ = [
    "CharEntity",
    "ClassScore",
    "EvaluationMetric",
    "LabelScores",
    "TokenEntity",
    "create_labeled_sentence_from_entity_offsets",
    "create_labeled_sentence_from_tokens",
    "score_label_sets",
    "score_labels",
    "score_spans",
]
