"""What a language model is helped by when it scores text, and which scores a text is kept with."""

import math
from dataclasses import dataclass

from charlm.config.json_config import JsonConfig
from charlm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ScoreBounds(JsonConfig):
    """Between which scores a text is kept, both included; None for no bound."""

    min_percentile: float | None = None
    """Percentile among the model's own held-out documents, in [0, 100]."""

    max_percentile: float | None = None

    min_bits_per_byte: float | None = None
    """Repetitions and boilerplate cost few bits, foreign and garbled text many."""

    max_bits_per_byte: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, limit in (("percentile", 100.0), ("bits_per_byte", math.inf)):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if not 0 <= (low or 0) <= (limit if high is None else high) <= limit:
                raise ConfigError(
                    f"min_{name} and max_{name} lie in [0, {limit:g}] in this order, got {low} and {high}"
                )

    @property
    def has_any(self) -> bool:
        return self.needs_percentiles or self.min_bits_per_byte is not None or self.max_bits_per_byte is not None

    @property
    def needs_percentiles(self) -> bool:
        return self.min_percentile is not None or self.max_percentile is not None


@dataclass(frozen=True, kw_only=True)
class CacheConfig(JsonConfig):
    """A cache of the last states. Defaults are those of Grave et al. 2017 for WikiText-2."""

    window: int = 2_000
    """Most states that are remembered."""

    sharpness: float = 0.662
    """Factor of the product of two states: the larger, the more the most similar states count (theta)."""

    weight: float = 0.1279
    """Share of the cache in the probability of each unit (lambda)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 1:
            raise ConfigError(f"the window of a cache is at least 1 state, got {self.window}")
        if not 0 <= self.sharpness < math.inf:
            raise ConfigError(f"the sharpness of a cache must be 0 or more, got {self.sharpness}")
        if not 0 <= self.weight < 1:
            raise ConfigError(f"the weight of a cache is in [0, 1), got {self.weight}")
