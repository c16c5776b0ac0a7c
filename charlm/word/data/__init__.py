"""Text as lists of words, their counts, and the batches that a language model is trained on."""

from charlm.word.data import batchify
from charlm.word.data.corpora import CorpusDataset, WikiText2, WikiText103
from charlm.word.data.counting import Counter, count_tokens
from charlm.word.data.splitting import SacreMosesTokenizer, line_splitter, sentences, whitespace_splitter

__all__ = [
    "CorpusDataset",
    "Counter",
    "SacreMosesTokenizer",
    "WikiText2",
    "WikiText103",
    "batchify",
    "count_tokens",
    "line_splitter",
    "sentences",
    "whitespace_splitter",
]
