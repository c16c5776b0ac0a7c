"""Sentence splitters: a text to its sentences, each with its place in the text and its neighbours.

`text[sentence.start_position : sentence.end_position]` is what a sentence was made of.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from charlm.data.sentence import Sentence
from charlm.tokenization import SegtokTokenizer, SpacyTokenizer, Tokenizer

Piece = tuple[int, int]
"""Start and end of a sentence in the text."""

# A sentence ends after `.`, `!` or `?` and closing quotes, where white space and no small letter follow; or at an
# empty line. Scripts that write no space end it at their own signs.
_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s+[^\s\W]|\s+[\"'“‘«(\[¿¡])|[。！？]+[」』”]*|\n\s*\n")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“])(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Gen|Col|Lt|Sgt|Capt|Rev|Hon|Gov|Sen|Rep|Pres|vs|etc|e\.g|i\.e|cf|al"
    r"|approx|No|Nos|vol|pp?|Fig|figs?|eds?|Inc|Ltd|Co|Corp|Bros|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec"
    r"|bzw|ca|z\.B|d\.h|usw|Nr|Str|[^\W\d_])\.$"
)


class SentenceSplitter(ABC):
    """What cuts a text into sentences; their words are found by `tokenizer`."""

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self.tokenizer = tokenizer or SegtokTokenizer()

    def split(self, text: str, link_sentences: bool = True) -> list[Sentence]:
        """The sentences of `text` that have a word; they know their neighbours unless `link_sentences` is false."""
        sentences = self._perform_split(text)
        if link_sentences:
            Sentence.set_context_for_sentences(sentences)
        return sentences

    def _perform_split(self, text: str) -> list[Sentence]:
        pieces = (
            Sentence(text[start:end], use_tokenizer=self.tokenizer, start_position=start)
            for start, end in self._pieces(text)
        )
        return [sentence for sentence in pieces if len(sentence)]

    @abstractmethod
    def _pieces(self, text: str) -> Iterator[Piece]:
        """Where the sentences are; those without a word are left out by `split`."""

    @property
    def name(self) -> str:
        return f"{type(self).__name__}_{self.tokenizer.name}"


class SegtokSentenceSplitter(SentenceSplitter):
    """Sentences end at punctuation, though not after the usual abbreviations, and at empty lines."""

    @property
    def name(self) -> str:
        return type(self).__name__

    def _pieces(self, text: str) -> Iterator[Piece]:
        start = 0
        for match in _END.finditer(text):
            is_abbreviation = match[0] == "." and _ABBREVIATION.search(text, max(start, match.end() - 12), match.end())
            following = text[match.end() :].lstrip()[:1]
            if is_abbreviation or following.islower():
                continue
            yield _stripped(text, start, match.end())
            start = match.end()
        yield _stripped(text, start, len(text))


class TagSentenceSplitter(SentenceSplitter):
    """Sentences are the texts between tags, such as `<sep>`."""

    def __init__(self, tag: str, tokenizer: Tokenizer | None = None) -> None:
        super().__init__(tokenizer)
        self.tag = tag

    def _pieces(self, text: str) -> Iterator[Piece]:
        start = 0
        for part in text.split(self.tag):
            if part.strip():
                yield start, start + len(part)
            start += len(part) + len(self.tag)

    @property
    def name(self) -> str:
        return f"{type(self).__name__}_{self.tag}_{self.tokenizer.name}"


class NewlineSentenceSplitter(TagSentenceSplitter):
    """Sentences are lines."""

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        super().__init__("\n", tokenizer)

    @property
    def name(self) -> str:
        return f"{type(self).__name__}_{self.tokenizer.name}"


class NoSentenceSplitter(SentenceSplitter):
    """The whole text is one sentence."""

    def _pieces(self, text: str) -> Iterator[Piece]:
        yield 0, len(text)


class SpacySentenceSplitter(SentenceSplitter):
    """The sentences of a spaCy pipeline, given as the pipeline or its name; needs the package spacy."""

    def __init__(self, model: Any, tokenizer: Tokenizer | None = None) -> None:
        pipeline = SpacyTokenizer(model)
        super().__init__(tokenizer or pipeline)
        self.model = pipeline.model

    def _pieces(self, text: str) -> Iterator[Piece]:
        for sentence in self.model(text).sents:
            yield sentence.start_char, sentence.end_char

    @property
    def name(self) -> str:
        return f"{type(self).__name__}_{self.model.meta['name']}_{self.model.meta['version']}_{self.tokenizer.name}"


class SciSpacySentenceSplitter(SpacySentenceSplitter):
    """The sentences of scispaCy; needs the packages spacy and scispacy and the pipeline `en_core_sci_sm`."""

    def __init__(self) -> None:
        super().__init__("en_core_sci_sm")


def _stripped(text: str, start: int, end: int) -> Piece:
    """The piece without white space at its ends."""
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
