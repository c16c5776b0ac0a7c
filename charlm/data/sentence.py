"""Sentence, Token, Span and Label: text with embeddings and labels on its parts, as in Flair but light.

A sentence keeps its text and the ends of its words; Token objects are made when somebody asks for them. The token
embeddings of a sentence lie in one matrix per embedding, of which a token's vector is a row. A million sentences of 20
words take about 0.7 GB, and about 4 GB once every Token was looked at.
"""

# N = tokens of the sentence, D = width of an embedding

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, overload

from charlm.units.tokenization import clean_text, split_at_spaces, tokenize

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Label:
    """A value given to a token, span or sentence, with a confidence in [0, 1]."""

    data_point: "DataPoint"
    value: str
    score: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        return {"value": self.value, "confidence": self.score}

    def __repr__(self) -> str:
        return f"'{self.data_point.unlabeled_identifier}'/'{self.value}' ({round(self.score, 4)})"

    def __str__(self) -> str:
        return f"{self.data_point.unlabeled_identifier} → {self.value} ({round(self.score, 4)})"


class DataPoint:
    """What can carry embeddings and labels. Both containers are made when the first one comes."""

    __slots__ = ("_embeddings", "_labels")

    def __init__(self) -> None:
        self._embeddings: dict[str, torch.Tensor] | None = None
        self._labels: dict[str, list[Label]] | None = None

    # ---- embeddings --------------------------------------------------------------------------------------------

    def set_embedding(self, name: str, vector: "torch.Tensor") -> None:
        """Keep `vector` (D,) under the name of its embedding."""
        if self._embeddings is None:
            self._embeddings = {}
        self._embeddings[name] = vector

    def get_embedding(self, names: list[str] | None = None) -> "torch.Tensor":
        """All embeddings, or those of `names`, concatenated in the order of their names; (0,) where there is none."""
        import torch

        found = self._all_embeddings()
        vectors = [found[name] for name in sorted(found) if names is None or name in names]
        if len(vectors) == 1:
            return vectors[0]
        return torch.cat(vectors) if vectors else torch.empty(0)

    def has_embedding(self, name: str) -> bool:
        return name in self._all_embeddings()

    @property
    def embedding(self) -> "torch.Tensor":
        return self.get_embedding()

    def _all_embeddings(self) -> "dict[str, torch.Tensor]":
        return self._embeddings or {}

    def clear_embeddings(self, embedding_names: list[str] | None = None) -> None:
        """Drop all embeddings, or those of `embedding_names`."""
        self._embeddings = _without(self._embeddings, embedding_names)

    def to(self, device: "torch.device | str") -> None:
        """Move the embeddings to `device`."""
        self._embeddings = _moved(self._embeddings, device)

    # ---- labels ------------------------------------------------------------------------------------------------

    def add_label(self, typename: str, value: str, score: float = 1.0) -> Self:
        """Add a label in the layer `typename`, such as `ner`."""
        if self._labels is None:
            self._labels = {}
        self._labels.setdefault(typename, []).append(Label(self, value, score))
        return self

    def set_label(self, typename: str, value: str, score: float = 1.0) -> Self:
        """Make this the only label of the layer `typename`."""
        if self._labels is not None:
            self._labels.pop(typename, None)
        return self.add_label(typename, value, score)

    def remove_labels(self, typename: str) -> None:
        if self._labels is not None:
            self._labels.pop(typename, None)

    def get_labels(self, typename: str | None = None) -> list[Label]:
        """The labels of one layer, or of all."""
        layers = self._labels or {}
        if typename is not None:
            return list(layers.get(typename, []))
        return [label for labels in layers.values() for label in labels]

    def get_label(self, typename: str | None = None, zero_tag_value: str = "O") -> Label:
        """The first label of the layer, or one of `zero_tag_value` where there is none."""
        labels = self.get_labels(typename)
        return labels[0] if labels else Label(self, zero_tag_value)

    def has_label(self, typename: str) -> bool:
        return bool(self.get_labels(typename))

    @property
    def labels(self) -> list[Label]:
        return self.get_labels()

    @property
    def tag(self) -> str:
        """Value of the first label."""
        return self.get_label().value

    @property
    def score(self) -> float:
        """Confidence of the first label."""
        return self.get_label().score

    # ---- what a part is called ---------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        raise NotImplementedError

    @property
    def start_position(self) -> int:
        raise NotImplementedError

    @property
    def end_position(self) -> int:
        return self.start_position + len(self.text)

    @property
    def unlabeled_identifier(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        labels = "; ".join(f"{label.value} ({label.score:.4f})" for label in DataPoint.get_labels(self))
        return f"{self.unlabeled_identifier} → {labels}" if labels else self.unlabeled_identifier

    def to_dict(self, tag_type: str | None = None) -> dict[str, Any]:
        return {
            "text": self.text,
            "start_pos": self.start_position,
            "end_pos": self.end_position,
            "labels": [label.to_dict() for label in DataPoint.get_labels(self, tag_type)],
        }


class Token(DataPoint):
    """A word of a sentence.

    Attributes:
        idx: place in the sentence, counted from 1; -1 outside a sentence.
        whitespace_after: number of white-space characters before the next word.
        head_id: `idx` of the head in a dependency tree.
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

    @property
    def text(self) -> str:
        return self._text

    @property
    def start_position(self) -> int:
        return self._start_position

    @property
    def unlabeled_identifier(self) -> str:
        return f'Token[{self.idx - 1}]: "{self.text}"'

    def _all_embeddings(self) -> "dict[str, torch.Tensor]":
        matrices = self.sentence._matrices if self.sentence is not None else None
        if matrices is None:
            return self._embeddings or {}
        return {name: matrix[self.idx - 1] for name, matrix in matrices.items()} | (self._embeddings or {})

    def __len__(self) -> int:
        return 1


class Span(DataPoint):
    """Neighbouring tokens of one sentence. `sentence[0:2]` is the same object each time, so labels stay on it."""

    __slots__ = ("tokens",)

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__()
        self.tokens = tokens

    @property
    def text(self) -> str:
        return _joined(self.tokens)

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

    def __getitem__(self, index: int) -> Token:
        return self.tokens[index]


class Sentence(DataPoint):
    """A text and its words.

    Args:
        text: raw text, or words, or tokens.
        use_tokenizer: for raw text, True to find words (see tokenization.py) and False to split it at spaces.
        start_position: where the sentence starts in the text that it comes from.
    """

    __slots__ = ("_ends", "_matrices", "_spans", "_start_position", "_starts", "_text", "_tokens")

    def __init__(
        self, text: str | Iterable[str] | Iterable[Token], use_tokenizer: bool = True, start_position: int = 0
    ) -> None:
        super().__init__()
        self._start_position = start_position
        self._matrices: dict[str, torch.Tensor] | None = None
        self._spans: dict[tuple[int, int], Span] | None = None
        # Until a token is asked for, the words are the pieces of `_text` from `_starts` to `_ends`.
        self._text = ""
        self._starts, self._ends = array("I"), array("I")
        self._tokens: list[Token] | None = None
        if isinstance(text, str):
            self._text = clean_text(text)
            for start, end in (tokenize if use_tokenizer else split_at_spaces)(self._text):
                self._starts.append(start)
                self._ends.append(end)
            return
        parts = list(text)
        words = [part for part in parts if isinstance(part, str) and part]
        if words:
            self._text = " ".join(words)
            end = -1
            for word in words:
                self._starts.append(end + 1)
                end += 1 + len(word)
                self._ends.append(end)
        else:
            self._tokens = []
            for part in parts:
                if isinstance(part, Token):
                    self.add_token(part)

    # ---- words and tokens --------------------------------------------------------------------------------------

    @property
    def tokens(self) -> list[Token]:
        """The tokens, which are made at the first call."""
        if self._tokens is None:
            starts = [*self._starts, self._ends[-1]] if self._ends else [0]
            self._tokens = []
            for idx, (start, end) in enumerate(zip(self._starts, self._ends, strict=True), 1):
                token = Token(self._text[start:end], None, starts[idx] - end, start, self)
                token.idx = idx
                self._tokens.append(token)
            self._text, self._starts, self._ends = "", array("I"), array("I")  # from here on the tokens are the truth
        return self._tokens

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
        """Add a word at the end; one white space before it where the last token says nothing else."""
        if isinstance(token, str):
            token = Token(token)
        tokens = self.tokens
        if tokens and token._start_position == 0:
            token._start_position = tokens[-1].end_position + tokens[-1].whitespace_after
        token.sentence = self
        token.idx = len(tokens) + 1
        tokens.append(token)
        self._matrices = None  # they have one row too few now

    def get_token(self, token_id: int) -> Token | None:
        """The token whose `idx` is `token_id`."""
        return self.tokens[token_id - 1] if 1 <= token_id <= len(self) else None

    def get_span(self, start: int, stop: int) -> Span:
        """The span of the tokens from place `start` up to `stop`, counted from 0."""
        start, stop, _ = slice(start, stop).indices(len(self))
        if self._spans is None:
            self._spans = {}
        if (start, stop) not in self._spans:
            self._spans[start, stop] = Span(self.tokens[start:stop])
        return self._spans[start, stop]

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
        if isinstance(index, slice):
            return self.get_span(index.start or 0, len(self) if index.stop is None else index.stop)
        return self.tokens[index]

    # ---- text --------------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        return self._text.strip() if self._tokens is None else _joined(self._tokens)

    def to_original_text(self) -> str:
        """The words with their own white space, as spaces."""
        return self.to_plain_string()

    def to_plain_string(self) -> str:
        """The words with their own white space, as spaces, and none at the end."""
        gaps = self.whitespaces_after
        return "".join(word + " " * gap for word, gap in zip(self.words, gaps, strict=True)).rstrip()

    def to_tokenized_string(self) -> str:
        """The words with one space between."""
        return " ".join(self.words)

    def to_tagged_string(self, main_label: str | None = None) -> str:
        """The text and its labels: `Sentence[3]: "I love Berlin" → ["Berlin"/LOC]`."""
        parts: list[DataPoint] = []
        for label in self.get_labels(main_label):
            if label.data_point is not self and label.data_point not in parts:
                parts.append(label.data_point)
        tagged = [f'"{part.text}"/' + "/".join(label.value for label in part.get_labels(main_label)) for part in parts]
        return DataPoint.__repr__(self) + (f" → [{', '.join(tagged)}]" if tagged else "")

    @property
    def start_position(self) -> int:
        return self._start_position

    @property
    def unlabeled_identifier(self) -> str:
        return f'Sentence[{len(self)}]: "{self.text}"'

    def __repr__(self) -> str:
        return self.to_tagged_string()

    def to_dict(self, tag_type: str | None = None) -> dict[str, Any]:
        return {
            "text": self.text,
            "labels": [label.to_dict() for label in DataPoint.get_labels(self, tag_type)],
            "entities": [span.to_dict(tag_type) for span in self.get_spans(tag_type)],
            "tokens": [token.to_dict(tag_type) for token in self.tokens],
        }

    # ---- labels of the whole and of its parts ------------------------------------------------------------------

    def get_labels(self, typename: str | None = None) -> list[Label]:
        """The labels of the sentence, its tokens and its spans, in the order of the text."""
        parts: list[DataPoint] = [*(self._tokens or []), *(self._spans or {}).values()]
        labels = super().get_labels(typename) + [label for part in parts for label in part.get_labels(typename)]
        return sorted(labels, key=lambda label: label.data_point.start_position)

    def get_label(self, typename: str | None = None, zero_tag_value: str = "O") -> Label:
        labels = super().get_labels(typename) or self.get_labels(typename)
        return labels[0] if labels else Label(self, zero_tag_value)

    @property
    def label_types(self) -> list[str]:
        """The layers of labels of the sentence, its tokens and its spans."""
        parts: list[DataPoint] = [self, *(self._tokens or []), *(self._spans or {}).values()]
        return list(dict.fromkeys(layer for part in parts for layer in part._labels or {}))

    def remove_labels(self, typename: str) -> None:
        """Remove a layer of labels from the sentence and all its parts."""
        super().remove_labels(typename)
        for part in (*(self._tokens or []), *(self._spans or {}).values()):
            part.remove_labels(typename)

    # ---- embeddings of the whole and of its tokens -------------------------------------------------------------

    def set_token_embeddings(self, name: str, matrix: "torch.Tensor") -> None:
        """Keep the vectors of all tokens, (N, D), under the name of their embedding."""
        if len(matrix) != len(self):
            raise ValueError(f"{len(matrix)} vectors for {len(self)} tokens")
        if self._matrices is None:
            self._matrices = {}
        self._matrices[name] = matrix

    def get_token_embeddings(self, names: list[str] | None = None) -> "torch.Tensor":
        """The vectors of all tokens, (N, D), embeddings concatenated in the order of their names."""
        import torch

        matrices = self._matrices or {}
        if self._tokens is not None and any(token._embeddings for token in self._tokens):
            return torch.stack([token.get_embedding(names) for token in self._tokens])
        chosen = [matrices[name] for name in sorted(matrices) if names is None or name in names]
        if len(chosen) == 1:
            return chosen[0]
        return torch.cat(chosen, dim=1) if chosen else torch.empty(len(self), 0)

    def has_token_embeddings(self, name: str) -> bool:
        return self._matrices is not None and name in self._matrices

    def clear_embeddings(self, embedding_names: list[str] | None = None) -> None:
        """Drop all embeddings, or those of `embedding_names`, from the sentence and its tokens."""
        super().clear_embeddings(embedding_names)
        self._matrices = _without(self._matrices, embedding_names)
        for token in self._tokens or []:
            token.clear_embeddings(embedding_names)

    def to(self, device: "torch.device | str") -> None:
        super().to(device)
        self._matrices = _moved(self._matrices, device)
        for token in self._tokens or []:
            token.to(device)


def _joined(tokens: list[Token]) -> str:
    return "".join(token.text + " " * token.whitespace_after for token in tokens).strip()


def _without(embeddings: "dict[str, torch.Tensor] | None", names: list[str] | None) -> "dict[str, torch.Tensor] | None":
    if embeddings is None or names is None:
        return None
    return {name: vector for name, vector in embeddings.items() if name not in names} or None


def _moved(
    embeddings: "dict[str, torch.Tensor] | None", device: "torch.device | str"
) -> "dict[str, torch.Tensor] | None":
    return None if embeddings is None else {name: vector.to(device) for name, vector in embeddings.items()}
