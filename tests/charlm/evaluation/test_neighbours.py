"""Neighbours of words in context, by hand arithmetic on small vectors."""

import numpy as np
import pytest

from charlm.evaluation.neighbours import (
    Context,
    EmbeddedWord,
    ambiguous_words,
    different_contexts,
    nearest_words,
    neighbours_of,
)


def word(text: str, sentence: str, *vector: float) -> EmbeddedWord:
    return EmbeddedWord(text, Context("", text, sentence), np.array(vector, dtype=np.float32))


def test_a_context_has_the_words_around_and_the_word_in_brackets() -> None:
    words = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]
    assert str(Context.of(words, 5)) == "b c d e [f] g h i j"
    assert str(Context.of(words, 0, num_around=1)) == "[a] b"
    assert Context.of(["x" * 100], 0).word == "x" * 39 + "…"


def test_the_nearest_words_are_those_of_greatest_cosine_whatever_their_length() -> None:
    query = word("q", "1", 1, 0)
    candidates = [word("far", "2", 0, 9), word("near", "3", 9, 0.9), word("middle", "4", 1, 1), word("q", "1", 1, 0)]
    found = neighbours_of(query, candidates, num=2)
    assert [near.place.word for near in found.neighbours] == ["near", "middle"]  # not the word itself in its place
    assert [near.cosine for near in found.neighbours] == pytest.approx([1 / np.sqrt(1.01), 1 / np.sqrt(2)], abs=1e-6)


def test_each_context_is_shown_once() -> None:
    query = word("q", "1", 1, 0)
    twice = [word("a", "2", 1, 0), word("a", "2", 1, 0), word("b", "3", 1, 1)]
    assert [near.word for near in nearest_words(query, twice, num=2)] == ["a", "b"]


def test_a_vector_of_zeros_is_far_from_everything() -> None:
    found = neighbours_of(word("q", "1", 0, 0), [word("a", "2", 1, 0)], num=1)
    assert [near.cosine for near in found.neighbours] == [0.0]
    assert neighbours_of(word("q", "1", 1, 0), [], num=3).neighbours == []


def test_a_word_whose_contexts_differ_most_is_the_most_ambiguous_one() -> None:
    words = [
        word("bank", "river", 1, 0),
        word("bank", "money", 0, 1),
        word("bank", "coins", 0.1, 1),
        word("same", "1", 1, 1),
        word("same", "2", 1, 1.1),
        word("same", "3", 1, 0.9),
        word("rare", "1", 1, 0),
        word("rare", "2", -1, 0),  # too few occurrences
        word("the", "1", 1, 0),
        word("the", "2", -1, 0),
        word("the", "3", 1, 1),  # too short
    ]
    (first, second), (other, _) = ambiguous_words(words, num=5)
    assert (first.place.after, second.place.after) == ("river", "money")
    assert other.word == "same"
    assert len(ambiguous_words(words, num=1)) == 1


def test_different_contexts_are_spread_and_keep_the_order_of_the_text() -> None:
    words = [word("w", str(angle), np.cos(angle), np.sin(angle)) for angle in (0.0, 0.1, 1.5, 3.0)]
    assert [one.place.after for one in different_contexts(words, num=2)] == ["0.0", "3.0"]
    assert [one.place.after for one in different_contexts(words, num=3)] == ["0.0", "1.5", "3.0"]
    assert len(different_contexts(words, num=9)) == 4
    assert [one.place.after for one in different_contexts(words, num=1)] == ["0.0"]
