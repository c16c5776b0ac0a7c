"""How a text is split into samples, and a sample into words; any function from a string to strings does."""

import re
from collections.abc import Sequence
from typing import Literal, overload

from charlm.errors import ConfigError

SPECIAL_TOKENS = ("<unk>", "<eos>")


def line_splitter(text: str) -> list[str]:
    """The lines of a text, as training reads them: a newline alone ends one."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def whitespace_splitter(text: str) -> list[str]:
    """What stands between white space."""
    return text.split()


def sentences(text: str) -> list[str]:
    """The sentences of an English text (Kiss and Strunk 2006, "Unsupervised Multilingual Sentence Boundary Detection").

    Needs the package nupunkt, of the extra `words`, and no download.
    """
    try:
        from nupunkt import sent_tokenize
    except ImportError as error:
        raise ConfigError("nlp.data.sentences needs the package nupunkt: pip install nupunkt") from error
    return [str(sentence) for sentence in sent_tokenize(text)]


class SacreMosesTokenizer:
    """The tokenizer of the Moses scripts, for corpora that were made with it.

    Unlike GluonNLP's, it does not escape: `"` stays `"` instead of `&quot;`, and a literal `<unk>` or `<eos>` stays
    whole. With `escape=True` it does, and the words of its texts are not those of a dictionary made from others.
    """

    def __init__(self, lang: str = "en", *, escape: bool = False) -> None:
        try:
            from sacremoses import MosesTokenizer
        except ImportError as error:
            raise ConfigError("SacreMosesTokenizer needs the package sacremoses: pip install sacremoses") from error
        self._tokenizer = MosesTokenizer(lang)
        self._escape = escape
        self._protected = None if escape else [re.escape(token) for token in SPECIAL_TOKENS]

    @overload
    def __call__(self, sample: str, return_str: Literal[False] = False) -> list[str]: ...

    @overload
    def __call__(self, sample: str, return_str: Literal[True]) -> str: ...

    def __call__(self, sample: str, return_str: bool = False) -> Sequence[str]:
        """The words of a text, as a list, or joined by spaces with `return_str`."""
        words: list[str] = self._tokenizer.tokenize(sample, escape=self._escape, protected_patterns=self._protected)
        return " ".join(words) if return_str else words
