"""Token and Span: the parts of a sentence, which can be labelled as the sentence itself can.

A label of a part is found at the sentence too: `sentence[2].add_label("ner", "LOC")`, `sentence.get_labels("ner")`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast, overload

from charlm.data.data_point import DataPoint, Vectors
from charlm.data.label import Label

if TYPE_CHECKING:
    from charlm.data.sentence import Sentence

Places = range | tuple[int, ...]
"""The positions of the tokens of a span, counted from 0: a range where they are neighbours."""

_PROBABILITIES = "tags_proba_dist"  # the key of the metadata that a tagger leaves


class _Part(DataPoint):
    """A part that hands its labels on to its sentence."""

    __slots__ = ()

    def _sentence(self) -> "Sentence | None":
        raise NotImplementedError

    def _keep_label(self, typename: str, label: Label) -> None:
        super()._keep_label(typename, label)
        if (sentence := self._sentence()) is not None:
            sentence._keep_label(typename, label)

    def remove_labels(self, typename: str) -> None:
        own = self._labels.pop(typename, None) if self._labels is not None else None
        if not own or (sentence := self._sentence()) is None or sentence._labels is None:
            return
        kept = sentence._labels.get(typename, [])
        for label in own:  # as a rule the oldest ones there
            if kept and kept[0] is label:
                del kept[0]
            else:
                kept[:] = [known for known in kept if known is not label]


class Token(_Part):
    """A word of a sentence.

    Attributes:
        idx: place in the sentence, counted from 1; -1 outside a sentence.
        whitespace_after: number of white-space characters before the next word.
        head_id: `idx` of the head in a dependency tree.
        sentence: whose word it is.
    """

    __slots__ = ("_start_position", "_text", "head_id", "idx", "sentence", "whitespace_after")

    def __init__(
        self,
        text: str,
        head_id: int | None = None,
        whitespace_after: int = 1,
        start_position: int = 0,
        sentence: "Sentence | None" = None,
    ) -> None:
        super().__init__()
        self._text = text
        self.head_id = head_id
        self.whitespace_after = whitespace_after
        self._start_position = start_position
        self.sentence = sentence
        self.idx = -1

    def _sentence(self) -> "Sentence | None":
        return self.sentence

    @property
    def text(self) -> str:
        return self._text

    @text.setter
    def text(self, text: str) -> None:
        self._text = text

    form = text

    @property
    def _internal_index(self) -> int:
        """Its name inside Flair, which programs use."""
        return self.idx

    @property
    def start_position(self) -> int:
        return self._start_position

    @start_position.setter
    def start_position(self, start_position: int) -> None:
        self._start_position = start_position

    @property
    def unlabeled_identifier(self) -> str:
        return f'Token[{self.idx - 1}]: "{self.text}"'

    def get_head(self) -> "Token | None":
        """The token that this one depends on, in a sentence with heads."""
        if self.sentence is None or self.head_id is None:
            return None
        return self.sentence.get_token(self.head_id)

    # ---- probabilities of tags ---------------------------------------------------------------------------------

    def add_tags_proba_dist(self, tag_type: str, tags: list[Label]) -> None:
        """Keep the probability of every tag of the layer `tag_type`."""
        self.tags_proba_dist[tag_type] = tags

    def get_tags_proba_dist(self, tag_type: str) -> list[Label]:
        """The probability of every tag, where a tagger predicted them; empty where none did."""
        return list(self.tags_proba_dist.get(tag_type, ()))

    @property
    def tags_proba_dist(self) -> dict[str, list[Label]]:
        """The probabilities of tags by layer."""
        if not self.has_metadata(_PROBABILITIES):
            self.add_metadata(_PROBABILITIES, {})
        return cast("dict[str, list[Label]]", self.get_metadata(_PROBABILITIES))

    def _all_embeddings(self) -> Vectors:
        matrices = self.sentence._matrices if self.sentence is not None else None
        if matrices is None:
            return self._embeddings or {}
        return {name: matrix[self.idx - 1] for name, matrix in matrices.items()} | (self._embeddings or {})

    def clear_embeddings(self, embedding_names: list[str] | None = None) -> None:
        """Drop all embeddings of this token, or those of `embedding_names`; other tokens keep theirs."""
        if self.sentence is not None:
            self.sentence._give_rows_to_tokens()
        super().clear_embeddings(embedding_names)

    def __len__(self) -> int:
        return 1


class Span(_Part):
    """Tokens of one sentence, as a rule neighbours.

    The same tokens of a sentence are the same object each time: `Span(sentence.tokens[0:2]) is sentence[0:2]`, so that
    labels stay on it. Raises IndexError without any token.
    """

    __slots__ = ("tokens",)

    tokens: list[Token]

    def __new__(cls, tokens: list[Token] | None = None) -> "Span":
        """The span of these tokens that their sentence knows, or a new one; a bare one for copy and pickle."""
        if tokens is None:
            return super().__new__(cls)
        if not tokens:
            raise IndexError("a span needs a token")
        sentence = tokens[0].sentence
        places = _places(tokens)
        if sentence is not None and sentence._spans is not None and places in sentence._spans:
            return sentence._spans[places]
        span = super().__new__(cls)
        DataPoint.__init__(span)
        span.tokens = list(tokens)
        if sentence is not None:
            if sentence._spans is None:
                sentence._spans = {}
            sentence._spans[places] = span
        return span

    def __init__(self, tokens: list[Token]) -> None:
        """Everything is set by `__new__`, which may give a span that has labels already."""

    def _sentence(self) -> "Sentence | None":
        return self.tokens[0].sentence

    @property
    def sentence(self) -> "Sentence | None":
        """Whose tokens they are."""
        return self._sentence()

    @property
    def text(self) -> str:
        return joined(self.tokens)

    @property
    def start_position(self) -> int:
        return self.tokens[0].start_position

    @property
    def end_position(self) -> int:
        return self.tokens[-1].end_position

    @property
    def unlabeled_identifier(self) -> str:
        return f'Span[{self.tokens[0].idx - 1}:{self.tokens[-1].idx}]: "{self.text}"'

    def __iter__(self) -> Iterator[Token]:
        return iter(self.tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    @overload
    def __getitem__(self, index: int) -> Token: ...
    @overload
    def __getitem__(self, index: slice) -> list[Token]: ...
    def __getitem__(self, index: int | slice) -> Token | list[Token]:
        return self.tokens[index]


def joined(tokens: list[Token]) -> str:
    """The tokens with their own white space, as spaces, and none at either end."""
    return "".join(token.text + " " * token.whitespace_after for token in tokens).strip()


def _places(tokens: list[Token]) -> Places:
    places = tuple(token.idx - 1 for token in tokens)
    neighbours = range(places[0], places[0] + len(places))
    return neighbours if places == tuple(neighbours) else places
