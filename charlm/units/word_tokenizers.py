"""Tokenizers of the unit word, and what ends a sentence, by name.

A tokenizer gives the places of the words of a text. What stands between them is a gap: white space, as a rule. Words
and gaps together are the text, so a word model can pay for both. A tokenizer that changes text (`moses`) gives words
alone, and then no text can be rebuilt from them.

Special tokens of tokenised corpora, a literal `<unk>` or `<eos>`, stay whole in `whitespace` and `moses`; in raw text,
which `rules` and `unicode` are for, they are punctuation and letters.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from importlib.metadata import version
from typing import Any

from charlm.errors import ConfigError, how_to_install
from charlm.units.tokenization import tokenize, words_at_once

UNK_TOKEN, EOS_TOKEN = "<unk>", "<eos>"
_LITERALS = frozenset((UNK_TOKEN, EOS_TOKEN))
Spans = Callable[[str], Iterable[tuple[int, int]]]
Words = Callable[[str], Sequence[str]]
SentenceEnds = Callable[[str], Sequence[int]]


@dataclass(frozen=True)
class WordTokenizer:
    """What splits a text without newlines into words; `spans` or, where it changes text, `words` is given."""

    name: str
    version: str
    """Enters the fingerprint of a dictionary: another version may give other words."""

    spans: Spans | None = None
    words: Words | None = None
    at_once: Callable[[str], list[str] | None] | None = None
    """A faster way to the words of a text where nothing stands between them; None elsewhere, and where it matters
    whether another word follows."""

    is_chunkwise: bool = True
    """True where each run of characters between spaces is cut by itself, so that each distinct one is cut once.

    Such a run may be given with the space after it; without one, the line ends.
    """

    @property
    def keeps_text(self) -> bool:
        return self.spans is not None

    def cut_at_once(self, text: str) -> list[str] | None:
        """The words of `text` where nothing stands between them, as is the rule without spaces; None elsewhere."""
        if self.spans is None:
            return None
        words = [text[start:end] for start, end in self.spans(text)]
        return words if "".join(words) == text and text not in _LITERALS else None

    def cut(self, text: str) -> tuple[list[str], list[str]]:
        """The words of `text`, and the gaps before each of them and after the last; no gaps where text is lost."""
        if self.spans is None:
            assert self.words is not None  # one of both is given
            return [word for word in self.words(text) if word], []
        words, gaps, position = [], [], 0
        for start, end in self.spans(text):
            if not position <= start < end <= len(text):
                raise ConfigError(
                    f"the tokenizer {self.name} gave a word from {start} to {end} after one that ends at {position}, "
                    f"in a text of {len(text)} characters: {text!r:.60}"
                )
            gaps.append(text[position:start])
            words.append(text[start:end])
            position = end
        return words, [*gaps, text[position:]]


# ---- tokenizers ----------------------------------------------------------------------------------------------------


def _at_white_space(text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in re.finditer(r"\S+", text))


def _unicode() -> WordTokenizer:
    """Unicode's word boundaries (UAX 29); scripts without spaces are cut into single characters or short runs."""
    package = _package("unicode_segmentation_rs", "unicode-segmentation-rs", "the tokenizer unicode")

    def spans(text: str) -> Iterator[tuple[int, int]]:
        start = 0
        for piece in package.split_word_bounds(text):
            if not piece.isspace():
                yield start, start + len(piece)
            start += len(piece)

    return WordTokenizer("unicode", f"unicode-segmentation-rs {version('unicode-segmentation-rs')}", spans)


def _moses() -> WordTokenizer:
    """The tokenizer of the Moses scripts for English, without escapes such as `&quot;`."""
    package = _package("sacremoses", "sacremoses", "the tokenizer moses")
    split = package.MosesTokenizer(lang="en").tokenize
    words = partial(split, escape=False, protected_patterns=[re.escape(UNK_TOKEN), re.escape(EOS_TOKEN)])
    return WordTokenizer("moses", f"sacremoses {version('sacremoses')}", words=words, is_chunkwise=False)


_MAKERS: dict[str, Callable[[], WordTokenizer]] = {
    "rules": lambda: WordTokenizer("rules", "2", tokenize, at_once=words_at_once),
    "whitespace": lambda: WordTokenizer("whitespace", "1", _at_white_space),
    "unicode": _unicode,
    "moses": _moses,
}


@cache
def _made(name: str) -> WordTokenizer:
    return _MAKERS[name]()


_registered: dict[str, WordTokenizer] = {}


def register_tokenizer(
    name: str,
    tokenizer: Callable[[str], Sequence[str]],
    *,
    version: str = "1",
    loses_text: bool = False,
    is_chunkwise: bool = False,
) -> None:
    """Make a function from a line of text to its words a tokenizer, under a name for settings and dictionaries.

    Every process that counts or encodes text has to register it: files hold the name alone, as nothing that is loaded
    may execute code.

    Args:
        version: change it when the function gives other words.
        loses_text: True where words are not found in the text as they are; such a model has no bits per byte.
        is_chunkwise: True where what stands between two spaces is cut in the same way everywhere, which is faster.
    """
    if name in _MAKERS:
        raise ConfigError(f"{name!r} is the name of a tokenizer that charlm has; choose another")
    spans = None if loses_text else partial(_found_spans, name, tokenizer)
    words = tokenizer if loses_text else None
    _registered[name] = WordTokenizer(name, version, spans, words, is_chunkwise=is_chunkwise)


def _found_spans(name: str, tokenizer: Callable[[str], Sequence[str]], text: str) -> Iterator[tuple[int, int]]:
    """Where the words of `tokenizer` stand in `text`."""
    position = 0
    for word in tokenizer(text):
        start = text.find(word, position) if word else -1
        if start < 0 or text[position:start].strip():
            raise ConfigError(
                f"the tokenizer {name} loses text: its word {word!r:.40} does not come next in {text[position:]!r:.60}"
                f"; register it with loses_text=True, and its models have no bits per byte"
            )
        position = start + len(word)
        yield start, position


def find_tokenizer(name: str) -> WordTokenizer:
    """The tokenizer of a name; raises ConfigError when there is none, or its package is missing."""
    if name in _MAKERS:
        return _made(name)
    if name in _registered:
        return _registered[name]
    raise ConfigError(
        f"a tokenizer is one of {', '.join([*_MAKERS, *_registered])}, or a function given to register_tokenizer; "
        f"got {name!r:.60}"
    )


# ---- sentences -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SentenceRule:
    """What ends a sentence."""

    name: str
    version: str
    ends: SentenceEnds | None
    """The ends of the sentences of a line but its last one; none where lines alone end sentences."""


def find_sentence_rule(name: str) -> SentenceRule:
    """The rule of a name; raises ConfigError when there is none, or its package is missing."""
    if name == "none":
        return SentenceRule(name, "", None)
    if name == "punkt":
        return _punkt()
    raise ConfigError(f"sentences is none or punkt, got {name!r:.60}")


@cache
def _punkt() -> SentenceRule:
    """Punkt (Kiss and Strunk 2006, Unsupervised Multilingual Sentence Boundary Detection) as nupunkt trained it."""
    spans = _package("nupunkt", "nupunkt", "--sentences punkt").sent_spans
    return SentenceRule(
        "punkt",
        f"nupunkt {version('nupunkt')}",
        lambda line: [end for _, end in spans(line)][:-1],
    )


def _package(module: str, package: str, what: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(f"{what} needs the package {package}; {how_to_install('words')}") from error
