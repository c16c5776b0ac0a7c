"""What was read of labelled data is counted and shown, and refused where no training can make sense of it."""

import json
from pathlib import Path

import pytest

from charlm.data import Corpus
from charlm.datasets.opening import open_data
from charlm.datasets.summary import check_corpus, summarize
from charlm.errors import DatasetError
from tests.charlm.datasets.test_reading_rules import put


def checked(folder: Path, task: str) -> Corpus:
    opened = open_data([str(folder)])
    check_corpus(opened.corpus, opened.label_type, task, summarize(opened.corpus, opened.label_type), opened.sampled)
    return opened.corpus


def test_a_summary_counts_and_shows_examples(tmp_path):
    put(tmp_path, "Ann B-PER\nsaw O\nNew B-LOC\nYork I-LOC\n\nBob B-PER\n")
    put(tmp_path, "Bob B-PER\n", "test.txt")
    put(tmp_path, "Bob B-PER\n", "dev.txt")
    opened = open_data([str(tmp_path)])
    summary = summarize(opened.corpus, opened.label_type)
    assert summary.lines()[:2] == [
        "train  2 sentences, 5 tokens; labels: PER 2, LOC 1",
        "       [Ann PER] saw [New York LOC]",
    ]
    assert json.loads(json.dumps(summary.to_json()))["splits"]["test"] == {
        "sentences": 1,
        "tokens": 1,
        "labels": {"PER": 1},
        "examples": ["[Bob PER]"],
    }
    put(tmp_path / "texts", "__label__a Go\n__label__b Stop\n")
    opened = open_data([str(tmp_path / "texts")])
    assert "a: Go" in " ".join(summarize(opened.corpus, "class").lines())


@pytest.mark.parametrize(
    ("task", "files", "reason"),
    [
        (
            "classifier",
            {"train.txt": "__label__a x\n__label__a y\n__label__a z\n"},
            "all texts .* the class 'a'",
        ),
        ("tagger", {"train.txt": "__label__a x\n__label__b y\n__label__a z\n"}, "a tagger learns labels of words"),
        ("classifier", {"train.txt": "a B-X\n\nb B-X\n\nc O\n"}, "a classifier learns classes of texts"),
        ("tagger", {"train.txt": "a O\n\nb O\n\nc O\n"}, "no train sentence of .* has a label in the layer 'tag'"),
        ("tagger", {"train.txt": "a X\n\nb X\n\nc X\n"}, "every word of .* has the label 'X'"),
        ("tagger", {"train.txt": "a B-X\n", "test.txt": "a B-Y\n"}, "the test split .* it has Y; train has X"),
        ("tagger", {"train.txt": "a B-X\n", "dev.txt": "a O\n"}, "the dev split of .* it has no label at all"),
        (
            "classifier",
            {"train.csv": "Ann,B-PER\nleft,O\n\nBob,B-PER\nsaw,O\nher,O\n"},
            "the texts of .* are tags such as .*: rows of words and their tags",
        ),
    ],
)
def test_what_no_training_can_make_sense_of_is_refused_in_one_line(tmp_path, task, files, reason):
    for name, content in files.items():
        put(tmp_path, content, name)
    with pytest.raises(DatasetError, match=reason) as error:
        checked(tmp_path, task)
    assert "\n" not in str(error.value)
