"""How well a language model predicts text: the score of a text, and the bits that each of its documents takes."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypedDict

import numpy as np

from charlm.config import UnitName
from charlm.errors import GateError
from charlm.units.unit import find_unit


class ScoreValues(TypedDict):
    """The quotients of an `LMScore` under the names that they have in files, reports and trackers."""

    loss: float
    perplexity: float
    bits_per_character: float | None
    bits_per_byte: float | None
    """None where the text cannot be rebuilt from what is predicted, so that no code of it has been measured."""

    unk_rate: float
    characters: int


@dataclass(frozen=True, kw_only=True)
class LMScore:
    """Exact sums over a text; the quotients are properties."""

    nats: float
    """Cross entropy summed over all units."""

    units: int
    """Number of predicted units: characters, bytes or words."""

    characters: int
    """Code points of the text, empty lines dropped."""

    bytes: int
    """UTF-8 bytes of the text, empty lines dropped."""

    unknown: int
    """Units outside the dictionary."""

    unknown_bits: float
    """Bits that bits_per_byte adds to the cross entropy: what naming all of them costs, and of words also what stands
    between them. Not a number where the text cannot be rebuilt."""

    unit: UnitName
    """Name of the unit that the model predicts."""

    @property
    def loss(self) -> float:
        """Nats per unit."""
        return self.nats / self.units

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss, 700.0))  # exp overflows a float above 709

    @property
    def bits_per_character(self) -> float | None:
        """loss / ln 2 for a character model; for a byte model the bits of all bytes over the characters.

        Of words it is `bits_per_byte` over characters: without what their ids leave out it would compare with nothing.
        """
        if find_unit(self.unit).unknown_bits is None:
            return None if math.isnan(self.unknown_bits) else self._all_bits / self.characters
        return self.nats / math.log(2) / self.characters

    @property
    def bits_per_byte(self) -> float | None:
        """All bits over UTF-8 bytes, where every `<unk>` also costs the bits that name what it stands for.

        Only this score compares models with different dictionaries. None where the text cannot be rebuilt.
        """
        return None if math.isnan(self.unknown_bits) else self._all_bits / self.bytes

    @property
    def _all_bits(self) -> float:
        return self.nats / math.log(2) + self.unknown_bits

    @property
    def unk_rate(self) -> float:
        """Share of units outside the dictionary."""
        return self.unknown / self.units

    def __add__(self, other: "LMScore") -> "LMScore":
        """The score over both texts; raises GateError when the models have different units."""
        if find_unit(self.unit) is not find_unit(other.unit):
            raise GateError(
                f"scores of {self.unit} and {other.unit} models cannot be added; compare their bits_per_byte"
            )
        return LMScore(
            nats=self.nats + other.nats,
            units=self.units + other.units,
            characters=self.characters + other.characters,
            bytes=self.bytes + other.bytes,
            unknown=self.unknown + other.unknown,
            unknown_bits=self.unknown_bits + other.unknown_bits,
            unit=self.unit,
        )

    def to_json(self) -> ScoreValues:
        return {
            "loss": self.loss,
            "perplexity": self.perplexity,
            "bits_per_character": self.bits_per_character,
            "bits_per_byte": self.bits_per_byte,
            "unk_rate": self.unk_rate,
            "characters": self.characters,
        }


@dataclass(frozen=True, kw_only=True)
class DocumentScores:
    """Bits that one model needs for each held-out document of a domain; arrays of shape (D,)."""

    keys: np.ndarray
    """Hash of each document's text: its identity."""

    nats: np.ndarray
    """Cross entropy of each document, summed over its units."""

    bits: np.ndarray
    """The same in bits, plus the cost of naming the units outside the dictionary, and of words of what stands between
    them; not a number where the text cannot be rebuilt from what is predicted."""

    bytes: np.ndarray
    """UTF-8 bytes of each document."""

    units: np.ndarray
    """Predicted units of each document: characters, bytes or words."""

    unknown: np.ndarray
    """Units outside the dictionary."""

    def __getitem__(self, chosen: np.ndarray) -> Self:
        """The scores of the documents that `chosen`, of shape (D,), is true for."""
        return type(self)(**{field.name: getattr(self, field.name)[chosen] for field in dataclasses.fields(self)})

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The scores of all documents of `parts`, one after the other."""
        return cls(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in parts])
                for field in dataclasses.fields(cls)
            }
        )

    @property
    def bits_per_byte(self) -> float:
        return float(self.bits.sum() / self.bytes.sum())

    @property
    def unk_rate(self) -> float:
        return float(self.unknown.sum() / self.units.sum())


PairScores = Mapping[str, Mapping[str, DocumentScores]]
"""Scores of a pair of models by direction, then domain."""


class BaselineJson(TypedDict):
    """What `charlm baseline --json` shows, and the file holds."""

    order: int
    units: int
    share: float
    ngrams: list[int]
    valid: ScoreValues
    test: ScoreValues


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """An n-gram model of a corpus and its scores on the held-out text."""

    order: int
    """Units of its longest n-grams."""

    units: int
    """Units that were counted."""

    share: float
    """Share of the training text that they are."""

    ngrams: list[int]
    """Distinct n-grams of each order."""

    valid: ScoreValues
    test: ScoreValues

    def to_json(self) -> BaselineJson:
        return {
            "order": self.order,
            "units": self.units,
            "share": self.share,
            "ngrams": self.ngrams,
            "valid": self.valid,
            "test": self.test,
        }
