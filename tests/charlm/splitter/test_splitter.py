"""Texts are cut into sentences that know their places and their neighbours."""

import pytest

from charlm.splitter import NewlineSentenceSplitter, NoSentenceSplitter, SegtokSentenceSplitter, TagSentenceSplitter
from charlm.tokenization import SpaceTokenizer

TEXT = "I love  Berlin. Mr. Smith isn't here!  He said so (e.g. to J. Doe). Then he left\n\nThe end? 3.5% … 。"


@pytest.mark.parametrize(
    "splitter",
    [SegtokSentenceSplitter(), NoSentenceSplitter(), NewlineSentenceSplitter(), TagSentenceSplitter("he")],
    ids=lambda splitter: splitter.name,
)
def test_a_sentence_is_the_text_at_its_place(splitter):
    sentences = splitter.split(TEXT)
    assert sentences
    for sentence in sentences:
        assert TEXT[sentence.start_position : sentence.end_position] == sentence.text
    assert [sentence.next_sentence() for sentence in sentences] == [*sentences[1:], None]


def test_sentences_end_at_punctuation_and_not_at_abbreviations():
    assert [sentence.text for sentence in SegtokSentenceSplitter().split(TEXT)][:5] == [
        "I love  Berlin.",
        "Mr. Smith isn't here!",
        "He said so (e.g. to J. Doe).",
        "Then he left",
        "The end?",
    ]


def test_unlinked_sentences_have_no_neighbours():
    sentences = NewlineSentenceSplitter().split("one\ntwo", link_sentences=False)
    assert [sentence.is_context_set() for sentence in sentences] == [False, False]


def test_the_tokenizer_finds_the_words_of_a_sentence():
    (sentence,) = NoSentenceSplitter(tokenizer=SpaceTokenizer()).split("it's so.")
    assert sentence.words == ["it's", "so."]


def test_a_text_without_words_has_no_sentences():
    for splitter in (SegtokSentenceSplitter(), NoSentenceSplitter(), TagSentenceSplitter("x")):
        assert splitter.split(" \n ") == []
