"""A language small enough to be learned in a second: names are places, and who says I is asking."""

import random
from pathlib import Path

from charlm.data import Corpus, Sentence
from charlm.embeddings import FlairEmbeddings, StackedEmbeddings

GOLDEN = Path(__file__).parent / "golden" / "flair"
_WORDS = ("Berlin", "Paris", "New York", "I", "love", "the", "rain")


def toy_sentences(count: int, seed: int) -> list[Sentence]:
    """Sentences with spans in the layer `ner`, tags in `kind`, and a label in `class`."""
    choose = random.Random(seed)
    sentences = []
    for _ in range(count):
        parts = choose.choices(_WORDS, k=choose.randint(1, 6))
        sentence = Sentence(" ".join(parts).split(" "))
        place = 0
        for part in parts:
            length = len(part.split(" "))
            if part.istitle() and part != "I":
                sentence.get_span(place, place + length).add_label("ner", "LOC")
            place += length
        for token in sentence:
            token.add_label("kind", "name" if token.text.istitle() and token.text != "I" else "word")
        sentence.add_label("class", "question" if "I" in parts else "claim")
        sentences.append(sentence)
    return sentences


def toy_corpus(train: int = 80) -> Corpus:
    return Corpus(toy_sentences(train, 1), toy_sentences(20, 2), toy_sentences(20, 3), name="toy")


def toy_embeddings() -> StackedEmbeddings:
    """Those of two small language models."""
    return StackedEmbeddings([FlairEmbeddings(GOLDEN / "forward.pt"), FlairEmbeddings(GOLDEN / "backward.pt")])
