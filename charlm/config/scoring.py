"""What a language model is helped by when it scores text."""

import math
from dataclasses import dataclass

from charlm.config.json_config import JsonConfig
from charlm.errors import ConfigError


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
