"""Sentence splitters under the names that they have in Flair: a text to linked sentences."""

from charlm.splitter.splitters import (
    NewlineSentenceSplitter,
    NoSentenceSplitter,
    SciSpacySentenceSplitter,
    SegtokSentenceSplitter,
    SentenceSplitter,
    SpacySentenceSplitter,
    TagSentenceSplitter,
)

__all__ = [
    "NewlineSentenceSplitter",
    "NoSentenceSplitter",
    "SciSpacySentenceSplitter",
    "SegtokSentenceSplitter",
    "SentenceSplitter",
    "SpacySentenceSplitter",
    "TagSentenceSplitter",
]
