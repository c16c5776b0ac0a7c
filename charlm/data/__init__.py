"""What embeddings and models work on."""

from charlm.data.corpus import Corpus, MultiCorpus
from charlm.data.data_point import DataPoint
from charlm.data.dictionary import Dictionary
from charlm.data.label import Label
from charlm.data.parts import Span, Token
from charlm.data.sentence import Sentence
from charlm.data.spans import get_spans_from_bio
from charlm.errors import outside_charlm

__all__ = [
    "Corpus",
    "DataPoint",
    "Dictionary",
    "Label",
    "MultiCorpus",
    "Sentence",
    "Span",
    "Token",
    "get_spans_from_bio",
]

__getattr__ = outside_charlm(
    __name__,
    {
        "Relation": "relations between spans",
        "EntityCandidate": "entity linkers",
        "ConcatFlairDataset": "models of several tasks",
        "Image": "images",
        "BoundingBox": "images",
        **dict.fromkeys(("DataPair", "TextPair", "DataTriple", "TextTriple"), "models of several texts"),
    },
)
