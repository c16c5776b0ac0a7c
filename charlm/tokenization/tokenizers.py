"""Tokenizers: objects that cut a text into words.

The names are Flair's. SegtokTokenizer follows the rules of units/tokenization.py, which agree with the package segtok
on almost every word of running text; segtok itself is not needed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from charlm.errors import ConfigError
from charlm.units.tokenization import split_at_spaces, tokenize


class Tokenizer(ABC):
    """Splits a text into words. A word must occur in the text as it is."""

    @abstractmethod
    def tokenize(self, text: str) -> list[str]:
        """The words of `text` in their order."""

    @property
    def name(self) -> str:
        return type(self).__name__


class SegtokTokenizer(Tokenizer):
    """The rules that a Sentence follows by default.

    Args:
        additional_split_characters: characters that are always a word of their own, such as `§`.
    """

    def __init__(self, additional_split_characters: list[str] | None = None) -> None:
        self.additional_split_characters = additional_split_characters

    def tokenize(self, text: str) -> list[str]:
        for character in self.additional_split_characters or ():
            text = text.replace(character, f" {character} ")
        return self.run_tokenize(text)

    @staticmethod
    def run_tokenize(text: str) -> list[str]:
        return [text[start:end] for start, end in tokenize(text)]


class SpaceTokenizer(Tokenizer):
    """Words are the texts between spaces."""

    def tokenize(self, text: str) -> list[str]:
        return self.run_tokenize(text)

    @staticmethod
    def run_tokenize(text: str) -> list[str]:
        return [text[start:end] for start, end in split_at_spaces(text)]


class TokenizerWrapper(Tokenizer):
    """A function from a text to its words as a tokenizer."""

    def __init__(self, tokenizer_func: Callable[[str], Iterable[str]]) -> None:
        self.tokenizer_func = tokenizer_func

    def tokenize(self, text: str) -> list[str]:
        return list(self.tokenizer_func(text))

    @property
    def name(self) -> str:
        return f"{type(self).__name__}_{getattr(self.tokenizer_func, '__name__', type(self.tokenizer_func).__name__)}"


class SpacyTokenizer(Tokenizer):
    """The tokenizer of a spaCy pipeline, given as the pipeline or its name; needs the package spacy."""

    def __init__(self, model: Any) -> None:
        self.model = _imported("spacy").load(model) if isinstance(model, str) else model

    def tokenize(self, text: str) -> list[str]:
        return [word.text for word in self.model.make_doc(text) if word.text.strip()]

    @property
    def name(self) -> str:
        return f"{type(self).__name__}_{self.model.meta['name']}_{self.model.meta['version']}"


class SciSpacyTokenizer(SpacyTokenizer):
    """The tokenizer of scispaCy; needs the packages spacy and scispacy and the pipeline `en_core_sci_sm`."""

    def __init__(self) -> None:
        super().__init__("en_core_sci_sm")


class JapaneseTokenizer(Tokenizer):
    """A tokenizer of konoha, such as `mecab` or `janome`; needs the package konoha."""

    def __init__(self, tokenizer: str, sudachi_mode: str = "A") -> None:
        self.tokenizer = tokenizer
        self.word_tokenizer = _imported("konoha").WordTokenizer(tokenizer, mode=sudachi_mode)

    def tokenize(self, text: str) -> list[str]:
        return [str(word) for word in self.word_tokenizer.tokenize(text)]

    @property
    def name(self) -> str:
        return f"{type(self).__name__}_{self.tokenizer}"


def as_function(tokenizer: "str | Tokenizer | Callable[[str], Iterable[str]]") -> Callable[[str], Iterable[str]]:
    """The function of a tokenizer, of its name (`SpaceTokenizer`), or `tokenizer` where it is a function."""
    if isinstance(tokenizer, str):
        known = {found.__name__: found for found in (SegtokTokenizer, SpaceTokenizer)}
        if tokenizer not in known:
            raise ConfigError(f"there is no tokenizer {tokenizer!r}; there are {' and '.join(known)}")
        return known[tokenizer]().tokenize
    function = getattr(tokenizer, "tokenize", tokenizer)
    if not callable(function):
        raise TypeError(
            f"use_tokenizer takes true, false, a tokenizer, its name or a function, not {type(tokenizer).__name__}"
        )
    return function


def _imported(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigError(f"this tokenizer needs the package {package}: install it") from error
