"""Corpus and MultiCorpus: splits, samples, and the labels that they hold."""

import json
import random

import pytest

from charlm.data import Corpus, MultiCorpus, Sentence
from charlm.data.spans import TaggedSpan, spans_from_tags, tags_from_spans, tags_of
from charlm.errors import DatasetError


def numbered(count: int, name: str = "s") -> list[Sentence]:
    return [Sentence(f"{name}{number}") for number in range(count)]


def texts(sentences: list[Sentence]) -> list[str]:
    return [sentence.text for sentence in sentences]


def tagged(text: str, layer: str, values: list[str]) -> Sentence:
    sentence = Sentence(text)
    for token, value in zip(sentence, values, strict=True):
        if value:
            token.add_label(layer, value)
    return sentence


def with_place(text: str = "I love New York", start: int = 2, stop: int = 4) -> Sentence:
    sentence = Sentence(text)
    sentence[start:stop].add_label("ner", "LOC")
    return sentence


def test_missing_test_and_dev_are_each_a_tenth_of_what_is_in_train():
    corpus = Corpus(numbered(100))
    assert str(corpus) == "Corpus: 81 train + 9 dev + 10 test sentences"
    assert sorted(texts([*corpus.get_all_sentences()])) == sorted(texts(numbered(100)))


@pytest.mark.parametrize(
    ("count", "expected"), [(1, "1 train + 0 dev + 0"), (2, "1 train + 0 dev + 1"), (3, "1 train + 1 dev + 1")]
)
def test_sampling_leaves_something_to_train_on(count, expected):
    assert str(Corpus(numbered(count))) == f"Corpus: {expected} test sentences"


def test_splits_that_are_sampled_are_the_same_for_the_same_seed_and_keep_the_order():
    first, second, third = (Corpus(numbered(50), random_seed=seed) for seed in (1, 1, 2))
    assert texts(first.dev) == texts(second.dev) != texts(third.dev)
    assert texts(first.train) == sorted(texts(first.train), key=lambda text: int(text[1:]))


def test_splits_that_are_given_or_unwanted_are_not_sampled():
    assert str(Corpus(numbered(10), numbered(2), numbered(3))) == "Corpus: 10 train + 2 dev + 3 test sentences"
    assert str(Corpus(numbered(10), sample_missing_splits=False)) == "Corpus: 10 train + 0 dev + 0 test sentences"
    assert str(Corpus(test=numbered(3))) == "Corpus: 0 train + 0 dev + 3 test sentences"


def test_corpus_without_a_sentence_is_refused():
    with pytest.raises(DatasetError, match="the corpus nothing holds no sentence"):
        Corpus([], name="nothing")


def test_downsampled_corpus_is_the_same_object_with_a_share_of_each_chosen_split():
    corpus = Corpus(numbered(100), numbered(20), numbered(4))
    assert corpus.downsample(0.3, downsample_dev=False) is corpus
    assert [len(corpus.train), len(corpus.dev), len(corpus.test)] == [30, 20, 1]
    assert len(Corpus(numbered(3), numbered(1), numbered(1)).downsample(0.01).train) == 1
    with pytest.raises(DatasetError, match=r"above 0 and at most 1, got 30"):
        corpus.downsample(30)


def test_tag_dictionary_of_words_has_o_and_the_tags_of_every_split():
    corpus = Corpus(
        [tagged("I love", "pos", ["PRON", "VERB"])],
        [tagged("big", "pos", ["ADJ"])],
        [tagged("so ?", "pos", ["ADV", ""])],
    )
    assert corpus.make_tag_dictionary("pos").get_items() == ["O", "PRON", "VERB", "ADJ", "ADV"]


def test_tag_dictionary_of_spans_has_all_four_tags_of_each_value():
    corpus = Corpus([with_place(), Sentence("nothing here")], [], [])
    assert corpus.make_tag_dictionary("ner").get_items() == ["O", "S-LOC", "B-LOC", "I-LOC", "E-LOC"]


def test_label_dictionary_has_the_values_of_train_most_frequent_first():
    def sentence(*values: str) -> Sentence:
        made = Sentence("text")
        for value in values:
            made.add_label("topic", value)
        return made

    corpus = Corpus([sentence("a"), sentence("b", "c"), sentence("b")], [sentence("d")], [])
    assert corpus.make_label_dictionary().get_items() == ["b", "a", "c"]
    assert corpus.make_label_dictionary("topic", add_unk=True).get_items() == ["<unk>", "b", "a", "c"]
    spans = Corpus([with_place()], [], [])
    assert spans.make_label_dictionary("ner").get_items() == ["LOC"]
    words = Corpus([tagged("a b c", "pos", ["X", "", ""])], [], [])
    assert words.make_label_dictionary("pos").get_items() == ["O", "X"]


def test_layer_that_is_missing_or_must_be_chosen_is_an_error_that_names_the_layers():
    corpus = Corpus([with_place()], [], [], name="places")
    with pytest.raises(DatasetError, match="nothing is labelled 'pos': the corpus places has the layers ner"):
        corpus.make_tag_dictionary("pos")
    corpus.train[0][0].add_label("pos", "PRON")
    with pytest.raises(DatasetError, match="name the label type: the corpus places has the layers ner, pos"):
        corpus.make_label_dictionary()
    with pytest.raises(DatasetError, match="has no labels at all"):
        Corpus(numbered(1), [], []).make_label_dictionary()


def test_statistics_count_sentences_tokens_and_labels():
    corpus = Corpus([with_place(), Sentence("Hi").add_label("class", "greeting")], [], [])
    statistics = json.loads(corpus.obtain_statistics())
    assert statistics == corpus.obtain_statistics(pretty_print=False)
    assert statistics["TRAIN"] == {
        "dataset": "TRAIN",
        "total_number_of_documents": 2,
        "number_of_documents_per_class": {"greeting": 1},
        "number_of_tokens_per_tag": {"LOC": 1},
        "number_of_tokens": {"total": 5, "min": 1, "max": 4, "avg": 2.5},
    }
    assert statistics["DEV"] == {}
    assert corpus.obtain_statistics("ner", pretty_print=False)["TRAIN"]["number_of_documents_per_class"] == {}


def test_several_corpora_are_one_and_can_be_downsampled():
    english, german = Corpus(numbered(10), numbered(2), [], name="en"), Corpus(numbered(20, "d"), [], numbered(3), "de")
    corpus = MultiCorpus([english, german])
    assert str(corpus).splitlines() == [
        "MultiCorpus: 30 train + 2 dev + 3 test sentences",
        " - en: Corpus: 10 train + 2 dev + 0 test sentences",
        " - de: Corpus: 20 train + 0 dev + 3 test sentences",
    ]
    assert corpus.downsample(0.5) is corpus
    assert len(corpus.train) == 15
    assert len(english.train) == 10


def test_tags_are_read_in_every_scheme():
    expected = [TaggedSpan(0, 2, "LOC"), TaggedSpan(2, 3, "LOC"), TaggedSpan(4, 5, "PER")]
    for tags in (
        ["B-LOC", "I-LOC", "B-LOC", "O", "B-PER"],
        ["B-LOC", "E-LOC", "S-LOC", "O", "S-PER"],
        ["I-LOC", "I-LOC", "B-LOC", "O", "I-PER"],
    ):
        assert spans_from_tags(tags) == expected


def test_spans_come_back_from_their_tags():
    choose = random.Random(3)
    for _ in range(200):
        spans, place = [], 0
        while place < 12:
            length = choose.randint(1, 4)
            if choose.random() < 0.6:
                spans.append(TaggedSpan(place, place + length, choose.choice(["A", "B-C"])))
            place += length
        assert spans_from_tags(tags_from_spans(spans, 16)) == spans


def test_tags_of_a_sentence_are_its_span_or_token_labels():
    assert tags_of(with_place(), "ner") == ["O", "O", "B-LOC", "E-LOC"]
    assert tags_of(with_place(), "pos") == ["O"] * 4
    assert tags_of(tagged("a b", "pos", ["X", ""]), "pos") == ["X", "O"]
