"""Scores of labels: counted by hand, and equal to seqeval and scikit-learn whatever the labels are."""

import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.evaluation.labels import NOTHING, LabelScores, score_label_sets, score_labels, score_spans
from charlm.training_utils import EvaluationMetric
from tests.nasty import NASTY

LABELS = st.sampled_from(["A", "B", "C-D", "O"])
# Every order of prefixes, right or wrong, and values that hold a hyphen or differ by case.
TAGS = st.just("O") | st.builds("{}-{}".format, st.sampled_from("BIES"), st.sampled_from(["X", "x", "X-Y"]))
SENTENCES = st.lists(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=12), min_size=1, max_size=5)


def unzip(pairs):
    return [first for first, _ in pairs], [second for _, second in pairs]


def assert_averages_are(scores: LabelScores, reference, true, predicted, **options) -> None:
    """Precision, recall and F1 are those of a module with the functions of scikit-learn."""
    ours = [scores.total.precision, scores.total.recall, scores.micro_f1, scores.macro_f1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where there is nothing to divide by
        theirs = [
            reference.precision_score(true, predicted, average="micro", zero_division=0, **options),
            reference.recall_score(true, predicted, average="micro", zero_division=0, **options),
            reference.f1_score(true, predicted, average="micro", zero_division=0, **options),
            reference.f1_score(true, predicted, average="macro", zero_division=0, **options),
        ]
    assert ours == pytest.approx(np.nan_to_num(theirs))  # seqeval's mean over no label is not a number


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=60))
def test_scores_of_single_labels_are_those_of_scikit_learn(pairs):
    from sklearn import metrics as sklearn

    true, predicted = unzip(pairs)
    scores = score_labels(true, predicted)
    assert scores.accuracy == pytest.approx(sklearn.accuracy_score(true, predicted))
    assert_averages_are(scores, sklearn, true, predicted)
    names, matrix = scores.confusion()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where there is a single label
        assert matrix == sklearn.confusion_matrix(true, predicted, labels=names).tolist()


@given(st.lists(st.tuples(st.sets(LABELS), st.sets(LABELS)), min_size=1, max_size=40))
def test_scores_of_label_sets_are_those_of_scikit_learn(pairs):
    from sklearn import metrics as sklearn
    from sklearn.preprocessing import MultiLabelBinarizer

    true, predicted = (MultiLabelBinarizer(classes=["A", "B", "C-D", "O"]).fit_transform(sets) for sets in unzip(pairs))
    scores = score_label_sets(*unzip(pairs))
    assert scores.accuracy == pytest.approx(sklearn.accuracy_score(true, predicted))
    present = np.flatnonzero((true | predicted).any(axis=0))
    if len(present):
        assert_averages_are(scores, sklearn, true, predicted, labels=present)


@given(SENTENCES)
def test_scores_of_spans_are_those_of_seqeval_even_for_tags_in_a_wrong_order(sentences):
    from seqeval import metrics as seqeval

    true, predicted = unzip([unzip(sentence) for sentence in sentences])
    scores = score_spans(true, predicted)
    assert scores.accuracy == pytest.approx(seqeval.accuracy_score(true, predicted))
    assert_averages_are(scores, seqeval, true, predicted)


@given(st.lists(st.tuples(LABELS, LABELS), max_size=30), st.lists(st.tuples(LABELS, LABELS), max_size=30))
def test_scores_of_two_parts_add_up_to_those_of_the_whole(first, second):
    whole = score_labels(*unzip(first + second))
    assert score_labels(*unzip(first)) + score_labels(*unzip(second)) == whole


def test_span_counts_only_with_exactly_its_words_and_its_label():
    true = [["B-LOC", "E-LOC", "O", "S-PER", "O", "S-PER"]]
    predicted = [["B-LOC", "E-LOC", "O", "S-LOC", "S-PER", "O"]]
    scores = score_spans(true, predicted)
    assert scores.pairs == Counter({("LOC", "LOC"): 1, ("PER", "LOC"): 1, ("PER", NOTHING): 1, (NOTHING, "PER"): 1})
    assert scores.total.precision == 1 / 3
    assert scores.total.recall == 1 / 3
    assert scores.classes["LOC"].f1 == pytest.approx(2 / 3)
    assert scores.macro_f1 == pytest.approx(1 / 3)
    assert scores.accuracy == 3 / 6
    assert scores.confusion() == (["LOC", "PER", NOTHING], [[1, 0, 0], [1, 0, 1], [0, 1, 0]])


def test_every_metric_has_its_number():
    scores = score_labels("aaab", "aabb")  # a: 2 of 3 found, all right; b: 1 of 1 found, 1 of 2 right
    assert {metric: scores.value(metric) for metric in EvaluationMetric} == {
        EvaluationMetric.MICRO_ACCURACY: 3 / 4,
        EvaluationMetric.MICRO_F1_SCORE: 3 / 4,
        EvaluationMetric.MACRO_ACCURACY: pytest.approx((2 / 3 + 1 / 2) / 2),
        EvaluationMetric.MACRO_F1_SCORE: pytest.approx((4 / 5 + 2 / 3) / 2),
    }
    assert EvaluationMetric("macro-average f1-score") is EvaluationMetric.MACRO_F1_SCORE


def test_nothing_to_score_is_zero():
    scores = score_spans([["O", "O"]], [["O", "O"]])
    assert (scores.micro_f1, scores.macro_f1, scores.accuracy) == (0, 0, 1)
    assert score_labels([], []).accuracy == 0


def test_table_has_a_line_for_every_label_and_average():
    assert score_labels("aaab", "aabb").table().splitlines() == [
        "label          precision  recall      f1   count",
        "a                 1.0000  0.6667  0.8000       3",
        "b                 0.5000  1.0000  0.6667       1",
        "micro average     0.7500  0.7500  0.7500       4",
        "macro average     0.7500  0.8333  0.7333       4",
        "accuracy 0.7500 of 4",
    ]
    assert score_labels("aaab", "aabb").to_json()["classes"]["b"] == {
        "precision": 0.5,
        "recall": 1.0,
        "f1": pytest.approx(2 / 3),
        "count": 1,
    }


@pytest.mark.parametrize("label", NASTY)
def test_a_label_of_any_characters_is_one_line_of_the_table(label):
    table = score_labels([label, "b"], [label, "b"]).table()
    assert len(table.splitlines()) == 6
    assert table.replace("\n", "").isprintable()
