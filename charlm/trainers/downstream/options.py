"""What programs written for Flair pass to `ModelTrainer.train` beside the settings of DownstreamTrainingConfig.

They are kept apart from the configuration because they are not part of what identifies a training (tasks/downstream).
"""

import inspect
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol, Self

import torch

from charlm.config import DownstreamTrainingConfig
from charlm.data.sentence import Sentence
from charlm.errors import ConfigError
from charlm.evaluation.labels import EvaluationMetric
from charlm.models.evaluation import Metric

_REFUSED = {
    "plugins": "observers=[...] receive every event instead",
    "multi_gpu": "a tagger or classifier is trained on one device",
    "decoder_learning_rate": "all weights share one learning rate",
    "reduce_transformer_vocab": "the vocabulary of a transformer stays whole",
    "gold_label_dictionary_for_eval": "labels that the model does not know count as missed",
}


class Sampler(Protocol):
    """Draws the sentences of an epoch, as Flair's samplers and those of torch do."""

    def set_dataset(self, data_source: Sequence[Sentence]) -> None: ...

    def __iter__(self) -> Iterator[int]: ...


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a training differs from the plain one: Flair's arguments, under its names."""

    metric: Metric = EvaluationMetric.MICRO_F1_SCORE
    """The score that decides which epoch is best."""

    checkpoint: bool = False
    """Write checkpoint.pt after every epoch."""

    save_final_model: bool = True
    """Write final-model.pt at the end."""

    warmup_fraction: float | None = None
    """Share of the steps in which the rate rises to `learning_rate`, to fall linearly to 0; None anneals instead."""

    use_final_model_for_eval: bool = False
    """Score the last model on the test sentences; no best-model.pt is written."""

    anneal_with_restarts: bool = False
    """Continue with the weights of the best epoch when the rate is lowered."""

    train_with_test: bool = False
    """Train on the test sentences too; nothing is scored on them then."""

    monitor_train_sample: float = 0.0
    """Share (below 1) or number of the train sentences that are scored after every epoch."""

    exclude_labels: Collection[str] = ()
    """Labels that are left out of the scores."""

    save_model_each_k_epochs: int = 0
    """Write model_epoch_N.pt after every so many epochs; 0 for never."""

    layer_decay: float = 1.0
    """Factor by which the rate of each layer of the embeddings is lower than that of the layer above; 2.6 in Howard
    and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification"."""

    gradual_unfreezing: bool = False
    """In epoch n only the n topmost layers learn, of which the first is all that is not in the embeddings."""

    write_weights: bool = True
    """Write weights.txt."""

    create_file_logs: bool = True
    """Write training.log."""

    create_loss_file: bool = True
    """Write loss.tsv."""

    sampler: Sampler | type[Sampler] | None = None
    """Draws the sentences of every epoch; by default all of them, shuffled."""

    optimizer_settings: Mapping[str, object] = field(default_factory=dict)
    """What the optimizer receives beside the rate, such as `momentum` or `weight_decay`."""

    def __post_init__(self) -> None:
        if self.warmup_fraction is not None and not 0 <= self.warmup_fraction < 1:
            raise ConfigError(f"warmup_fraction must be in [0, 1), got {self.warmup_fraction}")
        if not 1 <= self.layer_decay < math.inf:
            raise ConfigError(f"layer_decay must be at least 1, got {self.layer_decay}")
        if self.monitor_train_sample < 0 or self.save_model_each_k_epochs < 0:
            raise ConfigError("monitor_train_sample and save_model_each_k_epochs must be 0 or more")

    @classmethod
    def take(cls, arguments: dict[str, object], optimizer: type[torch.optim.Optimizer]) -> Self:
        """Take the options, and the settings of the optimizer, out of `arguments`; the rest is for the configuration.

        Raises ConfigError for what is not supported.
        """
        for name, instead in _REFUSED.items():
            if arguments.pop(name, None):
                raise ConfigError(f"{name} is not supported: {instead}")
        metric = arguments.pop("main_evaluation_metric", None)
        if metric is not None:
            arguments["metric"] = metric if isinstance(metric, EvaluationMetric) else tuple(metric)  # type: ignore[arg-type]
        if arguments.pop("use_amp", False):
            arguments["precision"] = "bf16"
        if arguments.pop("save_optimizer_state", False):
            arguments["checkpoint"] = True
        options = {field.name: arguments.pop(field.name) for field in fields(cls) if field.name in arguments}
        if options.get("exclude_labels") is None:
            options.pop("exclude_labels", None)
        configured = {field.name for field in fields(DownstreamTrainingConfig)}
        for_optimizer = set(inspect.signature(optimizer).parameters) - {"params", "lr", "fused"} - configured
        settings = {name: arguments.pop(name) for name in list(arguments) if name in for_optimizer}
        return cls(**options, optimizer_settings=settings)  # type: ignore[arg-type]
