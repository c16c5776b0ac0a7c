"""The report of the promotion gate: its decision, one sentence why, and all numbers behind it, as plain JSON too."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from charlm.config import GateConfig


@dataclass(frozen=True, kw_only=True)
class ProbeScores:
    """Scores of a downstream task that uses the models as embeddings; higher is better."""

    challenger: float
    champion: float
    interval: tuple[float, float] | None = None
    """Bootstrap interval, over the probe's test sentences, of the challenger's score less the champion's."""

    sentences: int | None = None
    """Number of those sentences."""

    def fault(self, tolerance: float) -> str | None:
        """The reason to refuse the challenger: its score fell by more than `tolerance`, or significantly."""
        if self.champion - self.challenger <= tolerance and (self.interval is None or self.interval[1] >= 0):
            return None
        shown = "" if self.interval is None else f" (difference {self.interval[0]:+.4f} to {self.interval[1]:+.4f})"
        return f"its probe score is {self.challenger:.4f}, the champion's {self.champion:.4f}{shown}"

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(**{**value, "interval": value.get("interval") and tuple(value["interval"])})


@dataclass(frozen=True, kw_only=True)
class DomainComparison:
    """Challenger and champion on the held-out text of one domain; the champion's numbers are None without one."""

    documents: int
    """Held-out documents, or the parts that they were cut into because they were few."""

    bits_per_byte: float
    """The challenger's, mean of the directions."""

    unk_rate: float
    champion_bits_per_byte: float | None = None
    improvement: float | None = None
    """Bits per byte that the challenger saves."""

    interval: tuple[float, float] | None = None
    """Bootstrap interval of the improvement."""

    parts_of: int | None = None
    """Number of the documents where these were cut into parts."""


@dataclass(frozen=True, kw_only=True)
class DirectionComparison:
    """Challenger and champion in one direction, on the held-out text of all domains together."""

    bits_per_byte: float
    champion_bits_per_byte: float | None = None
    improvement: float | None = None
    """Bits per byte that the challenger saves."""

    interval: tuple[float, float] | None = None
    """Bootstrap interval of the improvement."""


@dataclass(frozen=True, kw_only=True)
class BaselineScore:
    """The n-gram model of the corpus on the held-out text of all domains."""

    order: int
    """Units of its longest n-grams."""

    bits_per_byte: float
    required: bool
    """Whether the challenger must be better."""

    share: float = 1.0
    """Share of the training text that it has counted."""

    def fault(self, bits_per_byte: float) -> str | None:
        """The reason to refuse a challenger that needs so many bits per byte."""
        if not self.required or bits_per_byte < self.bits_per_byte:
            return None
        return (
            f"its {bits_per_byte:.4f} bits per byte are not below the {self.bits_per_byte:.4f} of an n-gram model of"
            f" order {self.order}"
        )


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """The decision of the gate, one sentence why, and all numbers behind it."""

    decision: Literal["promoted", "refused", "waiting"]
    """`waiting` of a version that would be promoted, and that a person has to approve."""

    reason: str
    target: str
    """The domain that has to improve."""

    domains: dict[str, DomainComparison] = dataclasses.field(default_factory=dict)
    perplexities: dict[str, float] = dataclasses.field(default_factory=dict)
    """The challenger's over the held-out text of all domains, by direction."""

    directions: dict[str, DirectionComparison] = dataclasses.field(default_factory=dict)
    """Both models over the held-out text of all domains, by direction; empty in reports of older versions."""

    probe: ProbeScores | None = None
    baseline: BaselineScore | None = None
    config: GateConfig = dataclasses.field(default_factory=GateConfig)

    @property
    def promoted(self) -> bool:
        return self.decision == "promoted"

    def to_json(self) -> dict[str, object]:
        """Plain JSON, which has no infinity: a score of the challenger that is not finite is null."""
        value = dataclasses.asdict(self)
        for numbers in (*value["domains"].values(), *value["directions"].values()):
            numbers["bits_per_byte"] = _finite(numbers["bits_per_byte"])
        value["perplexities"] = {direction: _finite(number) for direction, number in self.perplexities.items()}
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        domains = {domain: DomainComparison(**_numbers(given)) for domain, given in value["domains"].items()}
        directions = {
            direction: DirectionComparison(**_numbers(given))
            for direction, given in value.get("directions", {}).items()
        }
        perplexities = {direction: _or_infinity(number) for direction, number in value["perplexities"].items()}
        changes = {
            "domains": domains,
            "directions": directions,
            "perplexities": perplexities,
            "probe": value["probe"] and ProbeScores.from_json(value["probe"]),
            "baseline": BaselineScore(**value["baseline"]) if value.get("baseline") else None,
            "config": GateConfig.from_json(value["config"]),
        }
        return cls(**{**value, **changes})


def _numbers(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a comparison, from plain JSON."""
    return {
        **given,
        "bits_per_byte": _or_infinity(given["bits_per_byte"]),
        "interval": given["interval"] and tuple(given["interval"]),
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _or_infinity(number: float | None) -> float:
    return math.inf if number is None else number
