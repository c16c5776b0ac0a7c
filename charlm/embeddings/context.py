"""Words of the sentences around a sentence, which a transformer reads with it (Schweter and Akbik 2020, FLERT)."""

from dataclasses import dataclass

import torch

from charlm.data.sentence import Sentence
from charlm.errors import ConfigError
from charlm.storage.atomic import JsonObject

SEPARATOR = "[FLERT]"
"""Stands between the sentence and its context; a token of its own in the dictionary of the transformer."""

_USUAL_LENGTH = 64


@dataclass(frozen=True, kw_only=True)
class Context:
    """How much is read around a sentence."""

    length: int = 0
    """Words on each side."""

    has_separator: bool = True
    """Whether SEPARATOR stands on both sides of the sentence."""

    within_document: bool = True
    """Whether nothing is read from beyond the boundary of a document."""

    dropout: float = 0.5
    """How often a side is left out in training, in [0, 1]."""

    @classmethod
    def of(cls, use_context: bool | int, **settings: bool | float) -> "Context":
        """The context of Flair's argument `use_context`: a number of words, true for 64."""
        length = _USUAL_LENGTH if use_context is True else int(use_context)
        if length < 0:
            raise ConfigError(f"use_context is true, false or a number of words, got {use_context!r}")
        return cls(length=length, **settings)  # type: ignore[arg-type]  # by their names

    def around(self, sentence: Sentence, *, training: bool) -> tuple[list[str], list[str]]:
        """The words to read before and after the sentence."""
        if not self.length:
            return [], []
        kept = (torch.rand(2) >= self.dropout).tolist() if training else (True, True)
        before = sentence.left_context(self.length, self.within_document) if kept[0] else []
        after = sentence.right_context(self.length, self.within_document) if kept[1] else []
        separator = [SEPARATOR] if self.has_separator else []
        return [*(token.text for token in before), *separator], [*separator, *(token.text for token in after)]

    def to_json(self) -> JsonObject:
        return {
            "context_length": self.length,
            "use_context_separator": self.has_separator,
            "respect_document_boundaries": self.within_document,
            "context_dropout": self.dropout,
        }

    @classmethod
    def from_json(cls, settings: JsonObject) -> "Context":
        """The context in the settings of a model file; of an older version none."""
        if "context_length" not in settings:
            return cls()
        return cls(
            length=settings["context_length"],
            has_separator=settings["use_context_separator"],
            within_document=settings["respect_document_boundaries"],
            dropout=settings["context_dropout"],
        )


NO_CONTEXT = Context()
