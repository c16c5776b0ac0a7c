"""Tokenizers: objects that cut a text into words.

The names are Flair's. SegtokTokenizer follows the rules of units/tokenization.py, which agree with the package segtok
on almost every word of running text; segtok itself is not needed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from charlm.errors import ConfigError
from charlm.units.tokenization import split_at_spaces, tokenize
from charlm.units.word_tokenizers import find_tokenizer


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


AnyTokenizer = bool | str | Tokenizer | Callable[[str], Iterable[str]]
"""What finds words: true for the rules, false for spaces, a tokenizer, its name, or a function from a text to words."""


def as_function(tokenizer: str | Tokenizer | Callable[[str], Iterable[str]]) -> Callable[[str], Iterable[str]]:
    """The function of a tokenizer, of its name, or `tokenizer` where it is a function.

    Names are those of Flair (`SpaceTokenizer`) and of the tokenizers of words (`rules`, `whitespace`, `unicode`, and
    what was given to `register_tokenizer`). Raises ConfigError where there is none of a name.
    """
    if isinstance(tokenizer, str):
        known = {found.__name__: found for found in (SegtokTokenizer, SpaceTokenizer)}
        return known[tokenizer]().tokenize if tokenizer in known else _NamedWords(tokenizer)
    function = getattr(tokenizer, "tokenize", tokenizer)
    if not callable(function):
        raise TypeError(
            f"use_tokenizer takes true, false, a tokenizer, its name or a function, not {type(tokenizer).__name__}"
        )
    return function


def tokenizer_name(tokenizer: AnyTokenizer) -> str:
    """What a tokenizer is called; of those of the unit word with their version."""
    if isinstance(tokenizer, bool):
        return "rules" if tokenizer else "spaces"
    if isinstance(tokenizer, str):
        function = as_function(tokenizer)
        return f"{tokenizer} {find_tokenizer(tokenizer).version}" if isinstance(function, _NamedWords) else tokenizer
    return tokenizer.name if isinstance(tokenizer, Tokenizer) else TokenizerWrapper(tokenizer).name


@dataclass(frozen=True)
class TokenizerIdentity:
    """What a model remembers of the tokenizer that its texts were cut with."""

    name: str
    version: str

    @classmethod
    def of(cls, name: str) -> "TokenizerIdentity":
        """The tokenizer of a name as it is here; raises ConfigError where there is none."""
        return cls(name, find_tokenizer(name).version)


def tokenizer_of(identity: TokenizerIdentity | None) -> AnyTokenizer:
    """What `use_tokenizer` takes to cut texts as a model remembers it; true, for the rules, where it does not.

    Raises ConfigError where the tokenizer of this name has another version here.
    """
    if identity is None:
        return True
    if (found := find_tokenizer(identity.name).version) != identity.version:
        raise ConfigError(
            f"the model was trained on words of the tokenizer {identity.name}, version {identity.version!r}, here is "
            f"{found!r}, whose words may differ; install that version, or choose a tokenizer"
        )
    return identity.name == "rules" or identity.name  # the rules are what true stands for


class _NamedWords:
    """The words that a tokenizer of the unit word finds in a text."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._cut = find_tokenizer(name).cut

    def __call__(self, text: str) -> list[str]:
        return [word for line in text.splitlines() for word in self._cut(line)[0]]

    def __reduce__(self) -> tuple[type, tuple[str]]:
        """By its name: a tokenizer may be a function that cannot be pickled."""
        return type(self), (self.name,)


def _imported(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigError(f"this tokenizer needs the package {package}: install it") from error
