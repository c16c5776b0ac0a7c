"""What embeddings and models work on."""

from charlm.data.corpus import Corpus, MultiCorpus
from charlm.data.dictionary import Dictionary
from charlm.data.sentence import DataPoint, Label, Sentence, Span, Token

__all__ = ["Corpus", "DataPoint", "Dictionary", "Label", "MultiCorpus", "Sentence", "Span", "Token"]
