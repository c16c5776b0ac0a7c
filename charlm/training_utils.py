"""What programs written for Flair import from `training_utils`.

The metrics that choose and judge a model, and sentences of texts whose labelled spans are known.
"""

import logging
from collections.abc import Sequence

from charlm.data.dictionary import Dictionary
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


def convert_labels_to_one_hot(label_list: Sequence[Sequence[str]], label_dict: Dictionary) -> list[list[int]]:
    """A row for each list of labels, with 1 at the ids of its labels: `[["b"]]` of a, b, c -> `[[0, 1, 0]]`."""
    items = label_dict.get_items()
    return [[int(item in labels) for item in items] for labels in label_list]


def log_line(log: logging.Logger) -> None:
    """A line across the log."""
    log.info("-" * 100)


__all__ = [
    "CharEntity",
    "ClassScore",
    "EvaluationMetric",
    "LabelScores",
    "TokenEntity",
    "convert_labels_to_one_hot",
    "create_labeled_sentence_from_entity_offsets",
    "create_labeled_sentence_from_tokens",
    "log_line",
    "score_label_sets",
    "score_labels",
    "score_spans",
]
