"""When a challenger becomes the champion, and when new text needs a challenger."""

import math
from dataclasses import dataclass

from charlm.config.json_config import JsonConfig
from charlm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class GateConfig(JsonConfig):
    """The conditions of the promotion gate. Differences are in bits per byte, lower scores are better."""

    margin: float = 0.002
    """Least improvement on the target domain."""

    tolerance: float = 0.02
    """Most that any other domain may get worse."""

    confidence: float = 0.95
    """Level of the bootstrap intervals, in (0, 1); the one of the target domain must exclude zero."""

    min_documents: int = 10
    """Least held-out documents of the target domain: an interval over fewer means nothing."""

    max_direction_ratio: float = 1.25
    """Most that the perplexity of one direction may be of the other's."""

    max_unk_rate: float | None = None
    """Largest share of `<unk>` in the held-out text of any domain; none for that of the unit: 0.01, of words 0.1."""

    beat_baseline: bool | None = None
    """Refuse a model whose bits per byte are not below those of the n-gram model of its corpus; by default only one
    of words."""

    probe: str | None = None
    """Folder of a labelled corpus, or the name of a prepared one: small taggers of it try out both models."""

    probe_tolerance: float = 0.01
    """Most that the score of these taggers may fall."""

    bootstrap_rounds: int = 2_000
    """Samples of documents that an interval is made of."""

    seed: int = 1
    """Seed of those samples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("margin", "tolerance", "probe_tolerance"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 1 <= self.max_direction_ratio < math.inf:
            raise ConfigError(f"max_direction_ratio must be at least 1, got {self.max_direction_ratio}")
        if self.max_unk_rate is not None and not 0 <= self.max_unk_rate <= 1:
            raise ConfigError(f"max_unk_rate must be in [0, 1], got {self.max_unk_rate}")
        _check_bootstrap(self)


@dataclass(frozen=True, kw_only=True)
class DriftConfig(JsonConfig):
    """When new text needs a new model."""

    tolerance: float = 0.02
    """Bits per byte that new text may cost more than the reference before the champion is fine-tuned."""

    max_unk_rate: float | None = None
    """Share of `<unk>` in new text from which its items get an id; none for that of the unit: 0.001, of words 0.02 more
    than in the reference."""

    foreign_bits: float = 2.0
    """Bits per byte more than the reference from which nothing of the champion is worth keeping."""

    foreign_unk_rate: float | None = None
    """Share of `<unk>` from which the same is true; none for that of the unit: 0.25, of words 0.2 more."""

    growth: float = 2.0
    """Multiple of the train text of the champion from which more of the same is worth a fine-tuning."""

    min_documents: int = 10
    """Least held-out documents of new text: an interval over fewer means nothing."""

    confidence: float = 0.95
    """Level of the bootstrap interval, in (0, 1)."""

    bootstrap_rounds: int = 2_000
    """Samples of documents that an interval is made of."""

    seed: int = 1
    """Seed of those samples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.tolerance <= self.foreign_bits < math.inf:
            raise ConfigError(
                f"tolerance must be 0 or more and at most foreign_bits, got {self.tolerance} and {self.foreign_bits}"
            )
        low, high = self.max_unk_rate, self.foreign_unk_rate
        if any(rate is not None and not 0 <= rate <= 1 for rate in (low, high)) or (
            low is not None and high is not None and low > high
        ):
            raise ConfigError(f"max_unk_rate must be in [0, 1] and at most foreign_unk_rate, got {low} and {high}")
        if not self.growth > 1:
            raise ConfigError(f"growth must be greater than 1, got {self.growth}")
        _check_bootstrap(self)


def _check_bootstrap(config: GateConfig | DriftConfig) -> None:
    if not 0 < config.confidence < 1:
        raise ConfigError(f"confidence must be in (0, 1), got {config.confidence}")
    if config.min_documents < 1:
        raise ConfigError(f"min_documents must be at least 1, got {config.min_documents}")
    if config.bootstrap_rounds < 100:
        raise ConfigError(f"bootstrap_rounds must be at least 100, got {config.bootstrap_rounds}")
