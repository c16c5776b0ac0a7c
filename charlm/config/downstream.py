"""How taggers and classifiers are trained."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from charlm.config.json_config import JsonConfig, check_words
from charlm.errors import ConfigError

StorageMode = Literal["none", "cpu", "gpu"]


@dataclass(frozen=True, kw_only=True)
class DownstreamTrainingConfig(JsonConfig):
    """How a tagger or classifier is trained. Defaults are those of Flair's ModelTrainer."""

    learning_rate: float = 0.1
    """Rate of the first epoch."""

    mini_batch_size: int = 32
    """Sentences of one optimizer step."""

    mini_batch_chunk_size: int | None = None
    """Sentences computed at once, where a whole mini-batch needs too much memory; None for the whole mini-batch."""

    eval_batch_size: int = 64
    """Sentences computed at once when scoring."""

    max_epochs: int = 100
    """Largest number of passes over the train sentences."""

    anneal_factor: float = 0.5
    """Factor by which the rate is lowered."""

    patience: int = 3
    """Epochs to wait for an improvement before the rate is lowered."""

    min_learning_rate: float = 1e-4
    """The training ends when the rate falls below this, or below a tenth of `learning_rate` where that was lower from
    the start (Flair's rule)."""

    max_grad_norm: float = 5.0
    """Largest norm of the gradient of all weights together; a larger gradient is scaled down."""

    train_with_dev: bool = False
    """Train on the dev sentences too; the rate then follows the train loss, and the last model is tested."""

    monitor_test: bool = False
    """Score the test sentences after every epoch too, for information only."""

    shuffle: bool = True
    """Draw a new order of the sentences for every epoch."""

    embeddings_storage_mode: StorageMode = "cpu"
    """Where vectors that never change are kept: `none` computes them again in every epoch, `cpu` maps a file,
    `gpu` uses GPU memory."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of training, and of the stored vectors of train sentences; `auto` is bf16 where the hardware has it
    natively. Scoring is always fp32."""

    seed: int = 1
    """Seed of the order of sentences and of dropout."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_words(self, "embeddings_storage_mode", "precision")
        if self.max_epochs < 0:
            raise ConfigError(f"max_epochs must be 0 or more, got {self.max_epochs}")
        for name in ("mini_batch_size", "mini_batch_chunk_size", "eval_batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        for name in ("learning_rate", "max_grad_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be greater than 0, got {getattr(self, name)}")
        if not 0 < self.anneal_factor < 1:
            raise ConfigError(f"anneal_factor must be in (0, 1), got {self.anneal_factor}")
        if self.patience < 0 or self.min_learning_rate < 0:
            raise ConfigError(
                f"patience and min_learning_rate must be 0 or more, got {self.patience} and {self.min_learning_rate}"
            )

    @property
    def lowest_learning_rate(self) -> float:
        """The rate below which the training ends; lower for a small `learning_rate`, as transformers need it."""
        return self.learning_rate / 10 if self.learning_rate < self.min_learning_rate else self.min_learning_rate


@dataclass(frozen=True, kw_only=True)
class DownstreamConfig(DownstreamTrainingConfig):
    """A tagger or classifier on frozen language models, and how it is trained."""

    hidden_size: int = 256
    """Width of each direction of the recurrent layer."""

    use_crf: bool = True
    """Score sequences of tags as a whole (taggers only); otherwise each word by itself."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Update rule; adamw needs a learning rate of about 0.002."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_words(self, "optimizer")
        if self.hidden_size < 1:
            raise ConfigError(f"hidden_size must be at least 1, got {self.hidden_size}")

    def training(self) -> DownstreamTrainingConfig:
        """The settings of the training alone."""
        names = [field.name for field in dataclasses.fields(DownstreamTrainingConfig)]
        return DownstreamTrainingConfig(**{name: getattr(self, name) for name in names})
