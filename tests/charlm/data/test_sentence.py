"""Sentences, tokens, spans and labels behave as Flair's tutorials show, and take little memory."""

import json
import subprocess
import sys

import pytest
import torch

from charlm.data import Label, Sentence, Token
from charlm.units.tokenization import clean_text, cleaned_positions


def test_words_that_are_given_are_kept_and_joined_by_spaces():
    sentence = Sentence(["I", "love", "New York", "."])
    assert [token.text for token in sentence] == ["I", "love", "New York", "."]
    assert sentence.text == "I love New York ."
    assert [token.start_position for token in sentence] == [0, 2, 7, 16]
    assert [token.whitespace_after for token in sentence] == [1, 1, 1, 0]
    assert [token.idx for token in sentence] == [1, 2, 3, 4]


def test_empty_words_are_dropped():
    assert Sentence(["a", "", "b"]).text == "a b"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I love Berlin.", "I love Berlin ."),
        ("Mr. Smith's e-mail (in D.C.) isn't 3.5%!", "Mr. Smith 's e-mail ( in D.C. ) is n't 3.5 % !"),
        ("We met Dr. J. Doe at 12:30, 5 p.m.", "We met Dr. J. Doe at 12:30 , 5 p.m ."),
        ("http://x.org/a_b?c=1 :-) 1,000.50!!", "http :// x.org / a _ b ? c = 1 :-) 1,000.50 ! !"),
        ("users' CAN'T n't (e.g. this)...", "users' CAN'T n't ( e.g. this ).. ."),
        ("Wait... what?!  --no", "Wait ... what ? ! -- no"),
        ("“ok”, they'll say: 'hi'", "“ ok ” , they 'll say : ' hi '"),
        ("हिन्दी में cafe\u0301", "हिन्दी में cafe\u0301"),
        ("שלום, עולם", "שלום , עולם"),
        ("don’t O’Brien's x.org", "do n’t O’Brien's x.org"),
        ("", ""),
    ],
)
def test_raw_text_is_cut_into_words(text, words):
    """Words that the package segtok gives, except that it cuts marks off their letters (Hindi)."""
    assert [token.text for token in Sentence(text)] == words.split()


def test_white_space_after_words_is_counted_as_in_flair():
    """`flair.data.Sentence(text, use_tokenizer=False)` 0.15.1 gives these numbers."""
    sentence = Sentence("two  spaces   and more ", use_tokenizer=False)
    assert [(token.text, token.start_position, token.whitespace_after) for token in sentence] == [
        ("two", 0, 2), ("spaces", 5, 3), ("and", 14, 1), ("more", 18, 0),
    ]  # fmt: skip
    assert sentence.to_plain_string() == "two  spaces   and more"
    assert sentence.to_tokenized_string() == "two spaces and more"


def test_making_tokens_changes_nothing_that_can_be_seen():
    lazy, made = Sentence("  two  words."), Sentence("  two  words.")
    assert made.tokens
    for name in ("text", "words", "word_spans", "whitespaces_after", "unlabeled_identifier"):
        assert getattr(lazy, name) == getattr(made, name)
    assert lazy.to_plain_string() == made.to_plain_string()


def test_a_sentence_of_tokens_keeps_their_white_space():
    sentence = Sentence([Token("Hello", whitespace_after=0), Token("!")])
    assert sentence.text == "Hello!"
    assert sentence[1].start_position == 5
    assert sentence[1].sentence is sentence


def test_zero_width_characters_leave_and_positions_lead_back():
    text = "a\u200bb c\x96d\ufe0f"
    assert clean_text(text) == "ab c–d"
    assert cleaned_positions(text) == [0, 2, 3, 4, 5, 6, 8]
    assert text[cleaned_positions(text)[1]] == "b"


def test_labels_are_printed_as_in_flairs_tutorial():
    sentence = Sentence("George Washington went home .")
    sentence[0].add_label("pos", "NNP")
    sentence[0:2].add_label("ner", "PER", 0.9)
    sentence.add_label("topic", "travel", 0.5)
    text = '"George Washington went home ."'
    tagged = f'Sentence[5]: {text} → travel (0.5000) → ["George"/NNP, "George Washington"/PER]'
    assert sentence.to_tagged_string() == tagged
    assert sentence.to_tagged_string("ner").endswith('→ ["George Washington"/PER]')
    assert str(sentence.get_labels("ner")) == "['Span[0:2]: \"George Washington\"'/'PER' (0.9)]"
    assert repr(sentence[0]) == 'Token[0]: "George" → NNP (1.0000)'


def test_labels_of_parts_are_found_at_the_sentence():
    sentence = Sentence("I love Berlin")
    sentence[2].add_label("ner", "LOC")
    sentence[0].add_label("ner", "PER").add_label("ner", "X")
    assert [label.value for label in sentence.get_labels("ner")] == ["PER", "X", "LOC"]
    assert sentence.get_labels("pos") == []
    assert sentence[1].get_label("ner").value == "O"
    assert sentence[0].tag == "PER"
    sentence[0].set_label("ner", "ORG", 0.7)
    assert sentence[0].get_labels("ner") == [Label(sentence[0], "ORG", 0.7)]
    sentence.remove_labels("ner")
    assert not sentence.labels
    assert not sentence[2].has_label("ner")


def test_a_layer_keeps_its_place_when_a_label_is_set_as_in_flair():
    sentence = Sentence("George Washington went to Washington")
    sentence[0:2].add_label("ner", "PER")
    sentence.add_label("topic", "x")
    sentence[4:5].add_label("ner", "LOC")
    sentence[1].add_label("pos", "A").add_label("case", "B")
    assert [label.value for label in sentence.labels] == ["PER", "LOC", "x", "A", "B"]
    sentence.set_label("topic", "y")
    sentence[0:2].set_label("ner", "ORG")
    sentence[1].set_label("pos", "C").set_label("pos", "D")
    assert [label.value for label in sentence.labels] == ["LOC", "ORG", "y", "D", "B"]
    assert [label.value for label in sentence[1].labels] == ["D", "B"]


def test_a_span_is_the_same_object_each_time():
    sentence = Sentence("I love New York .")
    sentence[2:4].add_label("ner", "LOC")
    assert sentence[2:4] is sentence.get_span(2, 4)
    assert sentence[-3:-1] is sentence[2:4]
    assert [span.text for span in sentence.get_spans("ner")] == ["New York"]
    assert (sentence[2:4].start_position, sentence[2:4].end_position) == (7, 15)
    assert sentence.get_spans("pos") == []


def test_a_sentence_as_json():
    sentence = Sentence("in Berlin")
    sentence[1:2].add_label("ner", "LOC")
    value = json.loads(json.dumps(sentence.to_dict("ner")))
    assert value["entities"] == [
        {"text": "Berlin", "start_pos": 3, "end_pos": 9, "labels": [{"value": "LOC", "confidence": 1.0}]}
    ]
    assert [token["text"] for token in value["tokens"]] == ["in", "Berlin"]


def test_embeddings_are_concatenated_in_the_order_of_their_names():
    sentence = Sentence("a b")
    sentence.set_token_embeddings("1-second", torch.tensor([[3.0], [4.0]]))
    sentence.set_token_embeddings("0-first", torch.tensor([[1.0], [2.0]]))
    sentence[1].set_embedding("2-own", torch.tensor([5.0]))
    sentence.set_embedding("document", torch.tensor([9.0]))
    assert sentence[0].embedding.tolist() == [1, 3]
    assert sentence[1].embedding.tolist() == [2, 4, 5]
    assert sentence[1].get_embedding(["1-second"]).tolist() == [4]
    assert sentence.get_token_embeddings(["0-first", "1-second"]).tolist() == [[1, 3], [2, 4]]
    assert sentence.embedding.tolist() == [9]
    sentence.clear_embeddings(["0-first"])
    assert sentence[1].embedding.tolist() == [4, 5]
    sentence.clear_embeddings()
    assert sentence[1].embedding.tolist() == sentence.embedding.tolist() == []


def test_a_matrix_must_have_a_row_for_each_token():
    with pytest.raises(ValueError, match="3 vectors for 2 tokens"):
        Sentence("a b").set_token_embeddings("x", torch.zeros(3, 1))


def test_a_hundred_thousand_sentences_take_less_than_a_hundred_megabytes():
    program = """
import re
from pathlib import Path
from charlm.data import Sentence

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

start = peak()
words = [f"word{number}" for number in range(20)]
kept = [Sentence(words) for _ in range(100_000)]
print(peak() - start)
"""
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert 20 < float(result.stdout) < 100  # the text alone takes 13


def test_vectors_of_other_names_stay_in_one_matrix_when_one_name_is_cleared():
    sentence = Sentence("one two")
    sentence.set_token_embeddings("kept", torch.ones(2, 3))
    sentence.set_token_embeddings("cleared", torch.zeros(2, 3))
    sentence.clear_embeddings(["cleared"])
    assert sentence.has_token_embeddings("kept")
    assert not sentence.has_token_embeddings("cleared")
    assert sentence.get_token_embeddings().tolist() == torch.ones(2, 3).tolist()


def test_white_space_that_is_inferred_is_that_of_the_sentence_returned():
    sentence = Sentence(["Hello", ",", "world", "(", "x", ")"])
    assert sentence.infer_space_after() is sentence
    assert [token.whitespace_after for token in sentence] == [0, 1, 1, 0, 0, 0]
