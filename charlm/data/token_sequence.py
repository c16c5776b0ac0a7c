"""TokenSequence: the text of a sentence, its words, tokens and spans.

A sentence keeps its text and the ends of its words; Token objects are made on first access.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Self, overload

from charlm.data.data_point import DataPoint
from charlm.data.parts import Places, Span, Token
from charlm.errors import DatasetError
from charlm.units.tokenization import clean_text, split_at_spaces, tokenize

if TYPE_CHECKING:
    import torch

    from charlm.data.sentence import Sentence

Tokenizer = Callable[[str], Iterable[str]]
"""Text to words, in the order of the text."""

_NEVER_AFTER_SPACE = frozenset([".", ",", ":", ";", "!", "?", ")", "n't"])


class TokenSequence(DataPoint):
    """A text and its words; the base of Sentence."""

    __slots__ = ("_ends", "_matrices", "_spans", "_starts", "_text", "_tokens")

    def __init__(self) -> None:
        super().__init__()
        self._matrices: dict[str, torch.Tensor] | None = None
        self._spans: dict[Places, Span] | None = None
        # Until a token is accessed, the words are the pieces of `_text` from `_starts` to `_ends`.
        self._text = ""
        self._starts, self._ends = array("I"), array("I")
        self._tokens: list[Token] | None = None

    # ---- from text, words or tokens ----------------------------------------------------------------------------

    def _find_words(self, text: str, tokenizer: bool | Tokenizer) -> None:
        """Take the words that our own rules find in `text`, or a space alone cuts, or `tokenizer` gives."""
        self._text = clean_text(text)
        if not isinstance(tokenizer, bool):
            self._find_given_words(tokenizer)
            return
        for start, end in (tokenize if tokenizer else split_at_spaces)(self._text):
            self._starts.append(start)
            self._ends.append(end)

    def _find_given_words(self, tokenizer: Tokenizer) -> None:
        end = 0
        for word in tokenizer(self._text):
            start = self._text.find(word, end)
            if start < 0:
                raise DatasetError(
                    f"the tokenizer gave {word!r}, which is not in the text after character {end}: "
                    f"{self._text[end : end + 40]!r}; a tokenizer may only cut the text"
                )
            end = start + len(word)
            if word:
                self._starts.append(start)
                self._ends.append(end)
        self._text = self._spelled()  # what the tokenizer left out counts as white space

    def _join_words(self, words: list[str]) -> None:
        """Take these words, one space between them."""
        self._text = " ".join(words)
        end = -1
        for word in words:
            self._starts.append(end + 1)
            end += 1 + len(word)
            self._ends.append(end)

    def _take_tokens(self, tokens: Iterable[Token]) -> None:
        """Take these tokens with their own white space, and none after the last one."""
        self._tokens = []
        for token in tokens:
            self.add_token(token)
        if self._tokens:
            self._tokens[-1].whitespace_after = 0

    # ---- words and tokens --------------------------------------------------------------------------------------

    @property
    def tokens(self) -> list[Token]:
        """The tokens, which are made at the first call."""
        if self._tokens is None:
            starts = [*self._starts, self._ends[-1]] if self._ends else [0]
            self._tokens = []
            for idx, (start, end) in enumerate(zip(self._starts, self._ends, strict=True), 1):
                token = Token(self._text[start:end], None, starts[idx] - end, start, self._as_sentence())
                token.idx = idx
                self._tokens.append(token)
            self._text, self._starts, self._ends = "", array("I"), array("I")  # from here on the tokens are the truth
        return self._tokens

    def _as_sentence(self) -> "Sentence":
        raise NotImplementedError

    @property
    def words(self) -> list[str]:
        """The text of every token, without making tokens."""
        if self._tokens is not None:
            return [token.text for token in self._tokens]
        return [self._text[start:end] for start, end in zip(self._starts, self._ends, strict=True)]

    @property
    def word_spans(self) -> list[tuple[int, int]]:
        """Start and end of every token in the text, without making tokens."""
        if self._tokens is not None:
            return [(token.start_position, token.end_position) for token in self._tokens]
        return list(zip(self._starts, self._ends, strict=True))

    @property
    def whitespaces_after(self) -> list[int]:
        """Number of white-space characters after every token, without making tokens."""
        if self._tokens is not None:
            return [token.whitespace_after for token in self._tokens]
        gaps = [start - end for start, end in zip(self._starts[1:], self._ends[:-1], strict=True)]
        return [*gaps, 0] if self._ends else []

    def add_token(self, token: Token | str) -> None:
        """Add a word at the end; with the white space before it that the last token records."""
        if isinstance(token, str):
            token = Token(token)
        tokens = self.tokens
        if tokens and token._start_position == 0:
            token._start_position = tokens[-1].end_position + tokens[-1].whitespace_after
        token.sentence = self._as_sentence()
        token.idx = len(tokens) + 1
        tokens.append(token)
        self._matrices = None  # they have one row too few now
        for typename, labels in (token._labels or {}).items():
            for label in labels:
                self._keep_label(typename, label)

    _add_token = add_token  # its name in Flair

    def get_token(self, token_id: int) -> Token | None:
        """The token whose `idx` is `token_id`."""
        return self.tokens[token_id - 1] if 1 <= token_id <= len(self) else None

    def get_span(self, start: int, stop: int) -> Span:
        """The span of the tokens from place `start` up to `stop`, counted from 0."""
        return Span(self.tokens[start:stop])

    def get_spans(self, label_type: str | None = None) -> list[Span]:
        """The spans that have a label (of this layer), in the order of the text."""
        spans = [span for span in (self._spans or {}).values() if span.get_labels(label_type)]
        return sorted(spans, key=lambda span: span.start_position)

    def __len__(self) -> int:
        return len(self._starts) if self._tokens is None else len(self._tokens)

    def __iter__(self) -> Iterator[Token]:
        return iter(self.tokens)

    @overload
    def __getitem__(self, index: int) -> Token: ...
    @overload
    def __getitem__(self, index: slice) -> Span: ...
    def __getitem__(self, index: int | slice) -> Token | Span:
        return Span(self.tokens[index]) if isinstance(index, slice) else self.tokens[index]

    # ---- text --------------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The text up to its last word, each white-space character as a space: `text[token.start_position:]`."""
        return self._spelled()

    def _spelled(self) -> str:
        if self._tokens is None:
            if not self._ends:
                return ""
            text = self._text[: self._ends[-1]]
            if text.isprintable():  # then all its white space is spaces already
                return text
            return " " * self._starts[0] + self.to_plain_string()
        return " " * self._tokens[0].start_position + self.to_plain_string() if self._tokens else ""

    def to_original_text(self) -> str:
        """The text up to its last word, each white-space character as a space."""
        return self.text

    def to_plain_string(self) -> str:
        """The words with their own white space, as spaces, and none at either end."""
        gaps = self.whitespaces_after
        return "".join(word + " " * gap for word, gap in zip(self.words, gaps, strict=True)).rstrip()

    def to_tokenized_string(self) -> str:
        """The words with one space between."""
        return " ".join(self.words)

    def infer_space_after(self) -> Self:
        """Guess the white space of text that came as words alone: none before `.` and `n't`, none after `(`."""
        quote_is_open = False
        for token, before in zip(self.tokens, [None, *self.tokens], strict=False):
            token.whitespace_after = 1
            opens = token.text == '"' and not quote_is_open
            closes = token.text == '"' and quote_is_open
            quote_is_open = opens or (quote_is_open and not closes)
            if before is not None and (closes or token.text in _NEVER_AFTER_SPACE or token.text.startswith("'")):
                before.whitespace_after = 0
            if opens or token.text == "(":
                token.whitespace_after = 0
        position = 0
        for token in self.tokens:
            token.start_position = position
            position = token.end_position + token.whitespace_after
        if self.tokens:
            self.tokens[-1].whitespace_after = 0
        return self
