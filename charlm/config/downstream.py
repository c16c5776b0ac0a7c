"""How taggers and classifiers are trained."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from charlm.config.json_config import JsonConfig, check_words
from charlm.errors import ConfigError
from charlm.storage.atomic import JsonObject

StorageMode = Literal["none", "cpu", "gpu"]


@dataclass(frozen=True, kw_only=True)
class TaskTrainingConfig(JsonConfig):
    """How a tagger or classifier is trained. Defaults are those of Flair's ModelTrainer."""

    learning_rate: float = 0.1
    """Rate to begin with."""

    mini_batch_size: int = 32
    """Sentences of one optimizer step."""

    mini_batch_chunk_size: int | None = None
    """Sentences computed at once, where a mini-batch takes too much memory; all of it by default."""

    eval_batch_size: int = 64
    """Sentences computed at once when scoring."""

    max_epochs: int = 100
    """Most passes over the train sentences."""

    anneal_factor: float = 0.5
    """Factor on the rate when `patience` is used up."""

    patience: int = 3
    """Epochs to wait for an improvement before the rate is lowered."""

    min_learning_rate: float = 1e-4
    """The training ends when the rate falls below this."""

    max_grad_norm: float = 5.0
    """Longest gradient of all weights together; a longer one is shortened."""

    train_with_dev: bool = False
    """Learn from the dev sentences too; the train loss then decides about the rate, and the last model is tested."""

    monitor_test: bool = False
    """Score the test sentences after every epoch too; nothing depends on it."""

    shuffle: bool = True
    """Read the sentences of every epoch in another order."""

    embeddings_storage_mode: StorageMode = "cpu"
    """Where vectors that never change are kept: `none` computes them anew, `cpu` maps a file, `gpu` uses its memory."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of training, and of the vectors of train sentences that are kept in a file; `auto` is bf16 where the
    hardware multiplies it natively. Scoring is always fp32."""

    seed: int = 1
    """Of the order of sentences and of dropout."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_words(self, "embeddings_storage_mode", "precision")
        for name in ("mini_batch_size", "mini_batch_chunk_size", "eval_batch_size", "max_epochs"):
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


@dataclass(frozen=True, kw_only=True)
class DownstreamConfig(TaskTrainingConfig):
    """A tagger or classifier on language models that stay as they are, and how it is trained."""

    hidden_size: int = 256
    """Width of each direction of the recurrent layer."""

    use_crf: bool = True
    """A tagger scores sequences of tags as a whole, else each word by itself."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Update rule; adamw needs a learning rate of about 0.002."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_words(self, "optimizer")
        if self.hidden_size < 1:
            raise ConfigError(f"hidden_size must be at least 1, got {self.hidden_size}")

    def training(self) -> JsonObject:
        """The settings of the training itself."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(TaskTrainingConfig)}
