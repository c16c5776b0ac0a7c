"""The n-gram model that language models are compared with."""

from dataclasses import dataclass

from charlm.config.json_config import JsonConfig
from charlm.errors import ConfigError

LARGEST_ORDER = 12
_UNITS_PER_MINUTE = 1_500_000
"""Units that are counted and scored in about three seconds: a twentieth of a minute."""


@dataclass(frozen=True, kw_only=True)
class BaselineConfig(JsonConfig):
    """An n-gram model of a corpus."""

    order: int = 5
    """Units of the longest n-grams."""

    max_units: int = 10_000_000
    """Most units of the training text that are counted; counting 9 million words takes 1.3 GB."""

    @classmethod
    def beside(cls, max_minutes: float | None) -> "BaselineConfig":
        """The model that is shown beside a training of so many minutes: a short one counts a part of the text."""
        if max_minutes is None:
            return cls()
        return cls(max_units=min(cls.max_units, round(max_minutes * _UNITS_PER_MINUTE) + 1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.order <= LARGEST_ORDER:
            raise ConfigError(f"the order of an n-gram model is 1 to {LARGEST_ORDER}, got {self.order}")
        if self.max_units < 1:
            raise ConfigError(f"max_units must be at least 1, got {self.max_units}")
