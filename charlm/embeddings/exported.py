"""What the vectors of an exported model (charlm/runtime) are worth beside those of the model in torch."""

# W = words, D = width of a vector

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from charlm.data.sentence import Sentence
from charlm.embeddings.of_model import embeddings_of
from charlm.embeddings.stacked import StackedEmbeddings
from charlm.errors import CorpusError
from charlm.language_models.language_model import LanguageModel
from charlm.runtime import Embedder

_MOST_WORDS = 4_000


@dataclass(frozen=True, kw_only=True)
class VectorLoss:
    """How far the vectors of the same words are apart."""

    words: int
    median_cosine: float
    lowest_cosine: float
    greatest_difference: float
    """Of any two numbers."""


def compare_vectors(models: Sequence[LanguageModel], embedder: Embedder, lines: Iterable[str]) -> VectorLoss:
    """The loss over the first few thousand words of a text; raises CorpusError where it has none."""
    sentences = list(_first_sentences(lines))
    if not sentences:
        raise CorpusError("the held-out text has no words to compare vectors of; give another one")
    StackedEmbeddings([embeddings_of(model) for model in models]).embed(sentences)
    ours = np.concatenate([sentence.get_token_embeddings().float().cpu().numpy() for sentence in sentences])  # (W, D)
    theirs = np.concatenate(embedder.embed([sentence.words for sentence in sentences]))
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines = (ours * theirs).sum(axis=1) / np.maximum(norms, np.finfo(np.float32).tiny)
    return VectorLoss(
        words=len(ours),
        median_cosine=float(np.median(cosines)),
        lowest_cosine=float(cosines.min()),
        greatest_difference=float(np.abs(ours - theirs).max()),
    )


def _first_sentences(lines: Iterable[str]) -> Iterator[Sentence]:
    num_words = 0
    for line in lines:
        sentence = Sentence(line)
        if len(sentence):
            yield sentence
        num_words += len(sentence)
        if num_words >= _MOST_WORDS:
            return
