"""How a language model is trained: the recipe, and one run of it."""

import dataclasses
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from charlm.artifacts import DIRECTIONS
from charlm.config.extensions import EXTENSIONS, Extensions, layer_sizes
from charlm.config.json_config import JsonConfig, check_share, check_words
from charlm.errors import ConfigError

ARCHITECTURE = ("hidden_size", "nlayers", "nout", "embedding_size", "dropout", *EXTENSIONS)
"""Fields that are the model's own: one that is continued keeps them."""

BUDGETS = ("max_epochs", "max_characters", "max_words", "max_minutes")
"""Fields of which a training ends at the first that is reached."""

_ADDED_LATER = (
    "softmax", "l2", "random_sequence_length", "activation_penalty", "slowness_penalty", "averaging_patience",
    "max_words", "min_steps",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Extensions):
    """Everything that shapes the weights: architecture, optimisation and budget."""

    OMITTED_AT_DEFAULT: ClassVar[frozenset[str]] = frozenset({*EXTENSIONS, *_ADDED_LATER})

    recipe: str = "custom"
    """Name of the recipe it came from."""

    hidden_size: int = 256
    """Width of each recurrent layer."""

    nlayers: int = 1
    """Number of recurrent layers."""

    nout: int | None = None
    """Width of a projection after the last layer; none by default."""

    embedding_size: int = 100
    """Width of the embedding."""

    dropout: float = 0.0
    """Share of the embedded and of the output values dropped while training."""

    initialization: Literal["gatewise", "flair"] = "gatewise"
    """`gatewise`: normal embedding, Xavier input and orthogonal recurrent weights per gate; `flair`: Flair's."""

    softmax: Literal["exact", "clustered"] = "exact"
    """`clustered`: first one of the frequent words or a cluster, then the word in the cluster (with `tie_weights`)."""

    sequence_length: int = 100
    """Units of each stream between two optimizer steps (truncated BPTT)."""

    grow_to_sequence_length: int | None = None
    """Grow `sequence_length` by one a split until this length, as Flair can; none by default."""

    min_steps: int | None = None
    """Shorten the sequences, to a quarter at most, where the budget allows fewer optimizer steps than this; none:
    never."""

    random_sequence_length: bool = False
    """Draw each sequence's length around `sequence_length`, or in 1 of 20 cases around half of it, with a standard
    deviation of 5; the learning rate is in proportion to it."""

    mini_batch_size: int = 16
    """Number of parallel streams."""

    gradient_accumulation: int = 1
    """Sequences whose gradients are averaged before a step."""

    optimizer: Literal["adamw", "sgd"] = "adamw"
    """Update rule."""

    learning_rate: float = 8e-3
    """Highest learning rate."""

    beta1: float = 0.9
    """AdamW's decay of the gradient's mean."""

    beta2: float = 0.99
    """AdamW's decay of the gradient's square."""

    weight_decay: float = 0.01
    """AdamW's decoupled weight decay."""

    l2: float = 0.0
    """SGD's weight decay, which is a part of its gradient."""

    activation_penalty: float = 0.0
    """Factor on the mean square of the outputs, after dropout, in what is minimised (AR)."""

    slowness_penalty: float = 0.0
    """Factor on the mean square of what outputs change from one time to the next (TAR)."""

    clip: float = 1.0
    """Largest norm of the gradient."""

    schedule: Literal["linear", "plateau"] = "linear"
    """`linear`: warm up, then fall linearly to zero at the end of the budget; `plateau`: anneal when stuck."""

    warmup_share: float = 0.05
    """Share of the budget spent warming up (`linear`)."""

    anneal_factor: float = 0.25
    """Factor on the learning rate when validation has not improved for `patience` splits (`plateau`)."""

    patience: int = 10
    """Validations without improvement before annealing (`plateau`)."""

    patience_characters: int | None = None
    """The same in characters read, instead of `patience`."""

    stop_characters: int | None = None
    """Stop early after so many characters read without improvement; none: never."""

    averaging_patience: int | None = None
    """Average the weights of all steps once a validation is worse than the best of those before the last so many ones
    (NT-ASGD); the average is what is validated and kept. None: no average."""

    old_share: float | None = None
    """Share of the text of earlier revisions that is read beside the newest; none: all of it."""

    shuffle_lines: bool = True
    """Shuffle the lines of a shard each time it is read."""

    random_case_flip: bool = True
    """Lower-case 1 % and upper-case 1 % of the training lines."""

    validations: int | None = 10
    """Validations spread evenly over the budget, fewer in few minutes; none: one after each split."""

    validation_characters: int | None = 200_000
    """Most characters that a validation reads, spread over the text; the final scores read all. None: no limit."""

    max_epochs: float | None = None
    """Budget in passes over the train shards."""

    max_characters: int | None = None
    """Budget in characters of the text read; a byte counts as one."""

    max_words: int | None = None
    """Budget in words read, for a model of words: in units, whatever the unit is."""

    max_minutes: float | None = None
    """Budget in minutes of training; the schedule is planned to end there."""

    checkpoint_minutes: float = 5.0
    """Minutes between two checkpoints inside a shard."""

    seed: int = 1
    """Seed of all randomness: weights, shard order, line order, case flips, dropout."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 autocast where the hardware has it, fp32 elsewhere."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_words(self, "initialization", "softmax", "optimizer", "schedule", "precision")
        for name in (
            "hidden_size", "nlayers", "embedding_size", "sequence_length", "mini_batch_size", "gradient_accumulation",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in (
            "nout", "grow_to_sequence_length", "patience_characters", "stop_characters", "validations",
            "validation_characters", "max_epochs", "max_characters", "max_words", "max_minutes", "averaging_patience",
            "min_steps",
        ):  # fmt: skip
            if getattr(self, name) is not None and not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be a number greater than 0, got {getattr(self, name)}")
        for name in ("learning_rate", "clip", "checkpoint_minutes"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be greater than 0, got {getattr(self, name)}")
        for name in ("weight_decay", "l2", "activation_penalty", "slowness_penalty"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be 0 or more, got {getattr(self, name)}")
        check_share("beta1", self.beta1)
        check_share("beta2", self.beta2)
        check_share("dropout", self.dropout)
        check_share("warmup_share", self.warmup_share)
        check_share("anneal_factor", self.anneal_factor, zero=False)
        if self.old_share is not None:
            check_share("old_share", self.old_share, one=True)
        if all(getattr(self, name) is None for name in BUDGETS):
            raise ConfigError(f"a training needs a budget: set {', '.join(BUDGETS[:-1])} or {BUDGETS[-1]}")
        self._check_architecture()
        if self.min_steps is not None and (self.random_sequence_length or self.grow_to_sequence_length is not None):
            raise ConfigError(
                "min_steps changes the length of sequences, as grow_to_ and random_sequence_length do; set one of them"
            )
        if self.schedule == "plateau" and self.validations is not None:
            raise ConfigError("schedule=plateau validates after each split; set validations=none with it")

    def _check_architecture(self) -> None:
        layer_sizes(
            self,
            hidden_size=self.hidden_size,
            nlayers=self.nlayers,
            embedding_size=self.embedding_size,
            nout=self.nout,
        )
        if self.softmax == "clustered" and not self.tie_weights:
            raise ConfigError("softmax=clustered shares the rows of the embedding: set tie_weights=true with it")
        if self.projection is not None and self.projection >= self.hidden_size:
            raise ConfigError(f"projection={self.projection} must be smaller than hidden_size={self.hidden_size}")

    def check_divisible(self, num_processes: int) -> None:
        """Raise ConfigError unless the streams can be divided among so many processes."""
        if num_processes < 1:
            raise ConfigError(f"num_processes must be at least 1, got {num_processes}")
        if self.mini_batch_size % num_processes:
            raise ConfigError(
                f"mini_batch_size={self.mini_batch_size} streams cannot be divided among "
                f"num_processes={num_processes}; choose a multiple of it"
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig(JsonConfig):
    """One training run: what to train on, in which direction, from where, and how.

    Paths may be relative to the folder of the file that the configuration is stored in.
    """

    run_dir: str
    """Folder that takes everything the run leaves."""

    corpus_dir: str
    """Folder of the prepared corpus."""

    direction: Literal["forward", "backward"]
    """Reading direction of the language model."""

    training: TrainingConfig
    """The recipe, with the user's changes."""

    initial_model: str | None = None
    """Model file to continue from; none to start from random weights."""

    known_revision: int | None = None
    """Revision up to which text is old for `old_share`; all but the newest one by default."""

    num_threads: int = 0
    """CPU threads of all processes; 0 for all cores. The result of a run is exact only for an equal number."""

    num_processes: int = 1
    """Processes that share the streams of the mini-batch, one per GPU where there are GPUs."""

    device: str = "auto"
    """`auto`, `cpu` or `cuda:0` …"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction not in DIRECTIONS:
            raise ConfigError(f"direction is forward or backward, got {self.direction!r}")
        check_device_name(self.device)
        if isinstance(self.training, Mapping):  # from JSON
            object.__setattr__(self, "training", TrainingConfig.from_json(self.training))
        self.training.check_divisible(self.num_processes)

    def resolved(self, folder: Path) -> Self:
        """The same configuration with absolute paths, where `folder` holds the file it was read from."""
        return dataclasses.replace(
            self,
            run_dir=_absolute(self.run_dir, folder),
            corpus_dir=_absolute(self.corpus_dir, folder),
            initial_model=None if self.initial_model is None else _absolute(self.initial_model, folder),
        )

    def relocatable(self, folder: Path) -> Self:
        """The same configuration with paths relative to `folder`, so that a copied workspace still works."""
        return dataclasses.replace(
            self,
            run_dir=os.path.relpath(self.run_dir, folder),
            corpus_dir=os.path.relpath(self.corpus_dir, folder),
            initial_model=None if self.initial_model is None else os.path.relpath(self.initial_model, folder),
        )


def _absolute(path: str, folder: Path) -> str:
    return os.path.normpath(folder / path)


DEVICE_VARIABLE = "CHARLM_DEVICE"
"""Names the device of all processes that are not told another one."""


HELD_OUT_VARIABLE = "CHARLM_HELD_OUT_LIMIT"
"""Names how many characters of held-out text a score reads at most."""


def check_held_out_limit(text: str, source: str) -> int | None:
    """A number of characters, or `none` for no limit; raises ConfigError for anything else."""
    if text == "none":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{source} is a number of characters, such as 20000000, or none; got {text!r}")
    return int(text)


def check_device_name(name: str, source: str = "device") -> None:
    """Raise ConfigError unless `name` is `auto`, `cpu`, `cuda` or `cuda:N`; it may not be there."""
    if re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", name) is None:
        raise ConfigError(f"{source} is auto, cpu, cuda or cuda:0, got {name!r}")


def parse_directions(text: str) -> tuple[str, ...]:
    """`"both"` -> `("forward", "backward")`; one direction alone otherwise."""
    if text == "both":
        return DIRECTIONS
    if text in DIRECTIONS:
        return (text,)
    raise ConfigError(f"direction is forward, backward or both; got {text!r}")
