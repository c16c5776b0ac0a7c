"""Tokenizers under the names that they have in Flair, for `Sentence(text, use_tokenizer=…)`."""

from charlm.tokenization.tokenizers import (
    JapaneseTokenizer,
    SciSpacyTokenizer,
    SegtokTokenizer,
    SpaceTokenizer,
    SpacyTokenizer,
    Tokenizer,
    TokenizerWrapper,
    as_function,
)

__all__ = [
    "JapaneseTokenizer",
    "SciSpacyTokenizer",
    "SegtokTokenizer",
    "SpaceTokenizer",
    "SpacyTokenizer",
    "Tokenizer",
    "TokenizerWrapper",
    "as_function",
]
