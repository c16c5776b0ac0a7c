"""What embeddings and models work on."""

from charlm.data.dictionary import Dictionary
from charlm.data.sentence import DataPoint, Label, Sentence, Span, Token

__all__ = ["DataPoint", "Dictionary", "Label", "Sentence", "Span", "Token"]
