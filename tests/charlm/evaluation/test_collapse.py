"""A model that has learned nothing but one answer is named, and one that has learned something is not."""

import pytest

from charlm.evaluation.collapse import collapse_of
from charlm.evaluation.labels import score_label_sets, score_labels, score_spans


@pytest.mark.parametrize(
    ("true", "predicted", "expected"),
    [
        ("ham ham ham spam", "ham ham ham ham", "the model predicts 'ham' for everything"),
        ("ham ham ham spam", "ham ham spam ham", None),
        ("ham ham", "ham ham", None),
        ("NOUN VERB O", "O O O", "the model gives no word a label"),
        ("NOUN VERB O", "O VERB O", None),
        ("O O", "O O", None),
    ],
)
def test_one_class_for_everything_is_named(true, predicted, expected):
    found = collapse_of(score_labels(true.split(), predicted.split()))
    assert found is None if expected is None else found is not None and found.startswith(expected)


def test_a_tagger_that_finds_no_span_is_named():
    true = [["B-PER", "E-PER", "O"], ["O", "S-LOC"]]
    nothing = [["O", "O", "O"], ["O", "O"]]
    assert collapse_of(score_spans(true, nothing)) == "the model predicts no label at all: it has learned nothing yet"
    assert collapse_of(score_spans(true, [["O", "O", "O"], ["O", "S-LOC"]])) is not None
    assert collapse_of(score_spans(true, true)) is None
    assert collapse_of(score_spans(nothing, nothing)) is None


def test_texts_without_any_predicted_class_are_named():
    true = [{"a"}, {"a", "b"}]
    assert collapse_of(score_label_sets(true, [set(), set()])) is not None
    assert collapse_of(score_label_sets(true, [{"a"}, {"b"}])) is None
