"""Tokenizers under the names that they have in Flair, for `Sentence(text, use_tokenizer=…)`."""

from charlm.tokenization.tokenizers import (
    AnyTokenizer,
    JapaneseTokenizer,
    SciSpacyTokenizer,
    SegtokTokenizer,
    SpaceTokenizer,
    SpacyTokenizer,
    Tokenizer,
    TokenizerIdentity,
    TokenizerWrapper,
    as_function,
    tokenizer_name,
    tokenizer_of,
)

__all__ = [
    "AnyTokenizer",
    "JapaneseTokenizer",
    "SciSpacyTokenizer",
    "SegtokTokenizer",
    "SpaceTokenizer",
    "SpacyTokenizer",
    "Tokenizer",
    "TokenizerIdentity",
    "TokenizerWrapper",
    "as_function",
    "tokenizer_name",
    "tokenizer_of",
]
