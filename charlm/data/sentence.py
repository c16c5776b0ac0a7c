"""Sentence: a text with labels and embeddings on itself and on its parts, as in Flair but light.

The token embeddings of a sentence lie in one matrix per embedding, of which a token's vector is a row. A million
sentences of 20 words take about 0.7 GB, and about 4 GB once every Token was looked at.
"""

# N = tokens of the sentence, D = width of an embedding

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from charlm.data.data_point import DataPoint, moved, on_one_device, without
from charlm.data.label import Label
from charlm.data.parts import Span, Token
from charlm.data.token_sequence import Tokenizer, TokenSequence
from charlm.errors import ConfigError, NotInCharLMError
from charlm.storage.atomic import JsonObject
from charlm.tokenization import as_function

if TYPE_CHECKING:
    import torch

    from charlm.tokenization import Tokenizer as TokenizerObject

__all__ = ["DataPoint", "Label", "Sentence", "Span", "Token"]


class Sentence(TokenSequence):
    """A text and its words. Other attributes may be set on it: `sentence.source = "page 3"`.

    Args:
        text: raw text, or words, or tokens.
        use_tokenizer: for raw text, True to find words (see units/tokenization.py), False to split it at spaces, or
            a tokenizer of charlm.tokenization, its name, or any function from a text to its words.
        language_code: of the text, such as `de`; nothing is guessed.
        start_position: where the sentence starts in the text that it comes from. Positions of tokens count from the
            sentence's own beginning.

    Attributes:
        is_document_boundary: whether a new document begins here, so that no context is taken from beyond.

    Raises TypeError when `text` is anything else.
    """

    __slots__ = ("__dict__", "_start_position")

    # Few sentences have these, so they are kept in `__dict__` where they are set.
    language_code: str | None = None
    is_document_boundary: bool = False
    tokenized: str | None = None
    _previous_sentence: "Sentence | None" = None
    _next_sentence: "Sentence | None" = None
    _has_context: bool = False

    def __init__(
        self,
        text: str | Iterable[str] | Iterable[Token],
        use_tokenizer: "bool | str | Tokenizer | TokenizerObject" = True,
        language_code: str | None = None,
        start_position: int = 0,
    ) -> None:
        super().__init__()
        self._start_position = start_position
        if language_code is not None:
            self.language_code = language_code
        if isinstance(text, str):
            self._find_words(text, use_tokenizer if isinstance(use_tokenizer, bool) else as_function(use_tokenizer))
            return
        is_list = isinstance(text, Iterable) and not isinstance(text, bytes)
        parts: list[Any] = list(text) if is_list else []
        if parts and all(isinstance(part, str) for part in parts):
            self._join_words([part for part in parts if part])
        elif parts and all(isinstance(part, Token) for part in parts):
            self._take_tokens(parts)
        elif parts or not is_list:
            found = " and ".join(sorted({type(part).__name__ for part in parts})) or type(text).__name__
            raise TypeError(f"a sentence is made of a text, of words, or of tokens, not of {found}")

    def _as_sentence(self) -> "Sentence":
        return self

    @property
    def start_position(self) -> int:
        return self._start_position

    @start_position.setter
    def start_position(self, start_position: int) -> None:
        self._start_position = start_position

    @property
    def end_position(self) -> int:
        """Where the last word ends in the text that the sentence comes from."""
        spans = self._ends if self._tokens is None else [token.end_position for token in self._tokens[-1:]]
        return self._start_position + (spans[-1] if spans else 0)

    def get_language_code(self) -> str:
        """The language that the sentence was given; ConfigError where it was given none."""
        if self.language_code is None:
            raise ConfigError("the sentence has no language_code, and languages are not guessed here: set it")
        return self.language_code

    # ---- neighbours in the document ----------------------------------------------------------------------------

    @classmethod
    def set_context_for_sentences(cls, sentences: "Iterable[Sentence]") -> None:
        """Make neighbours of sentences that follow each other in a document; those that have neighbours keep them."""
        previous: Sentence | None = None
        for sentence in sentences:
            if sentence.is_context_set():
                continue
            sentence._has_context = True
            sentence._previous_sentence, sentence._next_sentence = previous, None
            if previous is not None:
                previous._next_sentence = sentence
            previous = sentence

    def copy_context_from_sentence(self, sentence: "Sentence") -> None:
        """Take the neighbours of another sentence."""
        self._previous_sentence, self._next_sentence = sentence._previous_sentence, sentence._next_sentence
        self._has_context = sentence._has_context

    def is_context_set(self) -> bool:
        """Whether the sentence has neighbours, or was found to have none."""
        return self._has_context or self._previous_sentence is not None or self._next_sentence is not None

    def next_sentence(self) -> "Sentence | None":
        return self._next_sentence

    def previous_sentence(self) -> "Sentence | None":
        return self._previous_sentence

    def left_context(self, context_length: int, respect_document_boundaries: bool = True) -> list[Token]:
        """Up to `context_length` tokens before the sentence, in the order of the text."""
        tokens: list[Token] = []
        neighbour = self._previous_sentence
        while neighbour is not None and len(tokens) < context_length:
            if respect_document_boundaries and neighbour.is_document_boundary:
                break
            tokens[:0] = neighbour.tokens
            neighbour = neighbour._previous_sentence
        return tokens[max(0, len(tokens) - context_length) :]

    def right_context(self, context_length: int, respect_document_boundaries: bool = True) -> list[Token]:
        """Up to `context_length` tokens after the sentence."""
        tokens: list[Token] = []
        neighbour = self._next_sentence
        while neighbour is not None and len(tokens) < context_length:
            if respect_document_boundaries and neighbour.is_document_boundary:
                break
            tokens += neighbour.tokens
            neighbour = neighbour._next_sentence
        return tokens[:context_length]

    # ---- labels of the whole and of its parts ------------------------------------------------------------------

    def get_labels(self, label_type: str | None = None) -> list[Label]:
        """The labels of the sentence, its tokens and its spans, in the order of the text."""
        return sorted(super().get_labels(label_type), key=lambda label: label.data_point.start_position)

    @property
    def label_types(self) -> list[str]:
        """The layers of labels of the sentence, its tokens and its spans."""
        return [typename for typename, labels in (self._labels or {}).items() if labels]

    def remove_labels(self, typename: str) -> None:
        """Remove a layer of labels from the sentence and all its parts."""
        for label in (self._labels or {}).get(typename, ()):
            if label.data_point is not self:
                DataPoint.remove_labels(label.data_point, typename)
        super().remove_labels(typename)

    def get_relations(self, label_type: str | None = None) -> NoReturn:
        raise NotInCharLMError("relations between spans are not part of charlm; Flair has them")

    # ---- how it is shown ---------------------------------------------------------------------------------------

    def to_tagged_string(self, main_label: str | None = None) -> str:
        """The text and its labels: `Sentence[3]: "I love Berlin" → ["Berlin"/LOC]`."""
        parts = {id(label.data_point): label.data_point for label in self.get_labels(main_label)}
        tagged = [
            f'"{part.text}"' + "".join(f"/{label.value}{label.metadata_str}" for label in part.get_labels(main_label))
            for part in parts.values()
            if part is not self
        ]
        return super().__repr__() + (f" → [{', '.join(tagged)}]" if tagged else "")

    @property
    def unlabeled_identifier(self) -> str:
        return f'Sentence[{len(self)}]: "{self.text}"'

    def __repr__(self) -> str:
        return self.to_tagged_string()

    def to_dict(self, tag_type: str | None = None) -> JsonObject:
        own = [label for label in self.get_labels(tag_type) if label.data_point is self]
        return {
            "text": self.text,
            "labels": [label.to_dict() for label in own],
            "entities": [span.to_dict(tag_type) for span in self.get_spans(tag_type)],
            "relations": [],  # none here; the key is Flair's
            "tokens": [token.to_dict(tag_type) for token in self.tokens],
        }

    # ---- embeddings of the whole and of its tokens -------------------------------------------------------------

    def set_token_embeddings(self, name: str, matrix: "torch.Tensor") -> None:
        """Keep the vectors of all tokens, (N, D), under the name of their embedding."""
        if len(matrix) != len(self):
            raise ValueError(f"{len(matrix)} vectors for {len(self)} tokens")
        if self._matrices is None:
            self._matrices = {}
        self._matrices[name] = matrix
        for token in self._tokens or ():
            if token._embeddings:
                token._embeddings.pop(name, None)

    def get_token_embeddings(self, names: list[str] | None = None) -> "torch.Tensor":
        """The vectors of all tokens, (N, D), embeddings concatenated in the order of their names."""
        import torch

        chosen = self.token_matrices(names)
        if chosen is None:
            return torch.stack([token.get_embedding(names) for token in self.tokens])
        if len(chosen) == 1:
            return chosen[0]
        return torch.cat(on_one_device(chosen), dim=1) if chosen else torch.empty(len(self), 0)

    def token_matrices(self, names: Collection[str] | None = None) -> "list[torch.Tensor] | None":
        """The vectors of all tokens of each embedding, (N, D), in the order of their names, each on its device.

        None where tokens have vectors of their own.
        """
        if self._tokens is not None and any(token._embeddings for token in self._tokens):
            return None
        matrices = self._matrices or {}
        return [matrices[name] for name in sorted(matrices) if names is None or name in names]

    def _give_rows_to_tokens(self) -> None:
        """Give every token its vectors, so that one token can lose them."""
        for name, matrix in (self._matrices or {}).items():
            for token, row in zip(self.tokens, matrix, strict=True):
                token.set_embedding(name, row)
        self._matrices = None

    def has_token_embeddings(self, name: str) -> bool:
        return self._matrices is not None and name in self._matrices

    def clear_embeddings(self, embedding_names: list[str] | None = None) -> None:
        """Drop all embeddings, or those of `embedding_names`, from the sentence and its tokens."""
        super().clear_embeddings(embedding_names)
        self._matrices = without(self._matrices, embedding_names)
        for token in self._tokens or []:
            token._embeddings = without(token._embeddings, embedding_names)  # matrices of other names stay whole

    def to(self, device: "torch.device | str", pin_memory: bool = False) -> None:
        super().to(device, pin_memory)
        self._matrices = moved(self._matrices, device, pin_memory)
        for token in self._tokens or []:
            token.to(device, pin_memory)
