"""The settings of every step, as frozen dataclasses that turn into plain JSON and back unchanged.

`__post_init__` checks what a user can get wrong. Named sets of training settings stand in recipes.py.
"""

import dataclasses
import math
import os
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

from charlm.artifacts import DIRECTIONS
from charlm.errors import ConfigError

Unit = Literal["char", "byte"]
DocumentMode = Literal["auto", "line", "paragraph", "file"]
BadBytes = Literal["strict", "replace", "skip"]

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kMG]?)B?\s*", re.IGNORECASE)
_SIZE_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_C = TypeVar("_C", bound="JsonConfig")


def parse_size(text: str | int) -> int:
    """A size in bytes from decimal units: `"50MB"` -> 50000000, `"100KB"` -> 100000."""
    match = _SIZE.fullmatch(str(text))
    size = int(float(match[1]) * _SIZE_FACTORS[match[2].lower()]) if match else 0
    if size < 1:
        raise ConfigError(f"a size is a number with kB, MB or GB (as 50MB), got {text!r}")
    return size


@dataclass(frozen=True, kw_only=True)
class JsonConfig:
    """A configuration that is plain JSON outside the program."""

    __pydantic_config__: ClassVar[dict[str, bool]] = {"use_attribute_docstrings": True}
    """Forms made from a configuration, as in the Prefect UI, show the line under each field."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The configuration with these fields; raises ConfigError for a field that does not exist."""
        names = {field.name for field in dataclasses.fields(cls)}
        for name in values:
            if name not in names:
                raise ConfigError(f"{cls.__name__} has no field {name!r}; it has {', '.join(sorted(names))}")
        return cls(**values)


def with_settings(config: _C, settings: list[str]) -> _C:
    """`config` with every `field=value` of `settings` applied; the value is read by the field's type."""
    hints = typing.get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip()
        if not equals:
            raise ConfigError(f"--set takes field=value, got {setting!r}")
        if name not in hints:
            raise ConfigError(f"there is no field {name!r} to set; there are {', '.join(sorted(hints))}")
        changes[name] = _parse_value(name, text.strip(), hints[name])
    return dataclasses.replace(config, **changes)


def _parse_value(name: str, text: str, hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if type(None) in options and text.lower() in ("none", "null", ""):
            return None
        hint = next(option for option in options if option is not type(None))
    if typing.get_origin(hint) is Literal:
        return text  # __post_init__ names the allowed words
    if hint is bool:
        if text.lower() in ("true", "yes", "1"):
            return True
        if text.lower() in ("false", "no", "0"):
            return False
        raise ConfigError(f"{name} is true or false, got {text!r}")
    if hint is int:
        try:
            number = float(text)
        except ValueError:
            number = 0.5
        if not number.is_integer():
            raise ConfigError(f"{name} is a whole number, got {text!r}")
        return int(number)
    if hint is float:
        try:
            return float(text)
        except ValueError:
            raise ConfigError(f"{name} is a number, got {text!r}") from None
    return text


def _check_words(config: Any, *names: str) -> None:
    """Raise ConfigError where a field with a fixed set of words holds another one."""
    hints = typing.get_type_hints(type(config))
    for name in names:
        words = typing.get_args(hints[name])
        if getattr(config, name) not in words:
            raise ConfigError(f"{name} is one of {', '.join(words)}; got {getattr(config, name)!r}")


def _check_share(name: str, value: float, *, zero: bool = True, one: bool = False) -> None:
    if not (0 <= value <= 1) or (value == 0 and not zero) or (value == 1 and not one):
        raise ConfigError(f"{name} must be in {'[' if zero else '('}0, 1{']' if one else ')'}, got {value}")


@dataclass(frozen=True, kw_only=True)
class SplitConfig(JsonConfig):
    """How raw text becomes documents, and documents become splits. Frozen in corpus.json at revision 1."""

    document: DocumentMode = "auto"
    """What a document is; `auto` decides per source: paragraphs where it has blank lines, lines otherwise."""

    unit: Unit = "char"
    """What the language model predicts one of: a character (code point) or a byte of UTF-8."""

    shard_size: int = 50_000_000
    """A train shard is closed when it reaches this many bytes."""

    valid_share: float = 0.02
    """Share of the documents held out for validation."""

    test_share: float = 0.02
    """Share of the documents held out for the test scores."""

    open_shards: int = 8
    """Shards that are filled at once; a document's hash chooses among them."""

    normalize_newlines: bool = True
    r"""Turn `\r\n` into `\n`."""

    normalization: Literal["none", "NFC", "NFKC"] = "none"
    """Unicode normalisation form."""

    deduplicate: bool = False
    """Drop a document that the corpus already holds."""

    def __post_init__(self) -> None:
        _check_words(self, "document", "unit", "normalization")
        _check_share("valid_share", self.valid_share)
        _check_share("test_share", self.test_share)
        if self.valid_share + self.test_share >= 1:
            raise ConfigError(
                f"valid_share + test_share must leave text to train on, got {self.valid_share} + {self.test_share}"
            )
        if self.shard_size < 1:
            raise ConfigError(f"shard_size must be at least 1 byte, got {self.shard_size}")
        if self.open_shards < 1:
            raise ConfigError(f"open_shards must be at least 1, got {self.open_shards}")


@dataclass(frozen=True, kw_only=True)
class DictionaryConfig(JsonConfig):
    """Which characters get an id of their own."""

    coverage: float = 0.9999
    """Share of all train characters the kept characters must cover, in (0, 1]."""

    max_size: int | None = None
    """Most ids, `<unk>` included."""

    min_count: int = 1
    """Fewest occurrences of a kept character."""

    def __post_init__(self) -> None:
        _check_share("coverage", self.coverage, zero=False, one=True)
        if self.max_size is not None and self.max_size < 3:
            raise ConfigError(f"max_size must leave room for <unk>, newline and space, got {self.max_size}")
        if self.min_count < 1:
            raise ConfigError(f"min_count must be at least 1, got {self.min_count}")


@dataclass(frozen=True, kw_only=True)
class ReadConfig(JsonConfig):
    """How raw text is read; every revision may have its own."""

    bad_bytes: BadBytes = "strict"
    """What to do about bytes that are not UTF-8."""

    text_column: str | None = None
    """Field of JSON lines, or column of a table, that holds the text; `text` by default."""

    max_document_bytes: int = 32_000_000
    """Most bytes of a document or line, which is held in memory whole."""

    max_ratio: float = 200.0
    """Most bytes of text per compressed byte; more is taken for a decompression bomb."""

    max_unpacked_bytes: int = 10**13
    """Most bytes of text that one compressed file may unpack to."""

    def __post_init__(self) -> None:
        _check_words(self, "bad_bytes")
        if self.max_document_bytes < 1:
            raise ConfigError(f"max_document_bytes must be at least 1, got {self.max_document_bytes}")
        if not self.max_ratio > 1:
            raise ConfigError(f"max_ratio must be greater than 1, got {self.max_ratio}")
        if self.max_unpacked_bytes < 1:
            raise ConfigError(f"max_unpacked_bytes must be at least 1, got {self.max_unpacked_bytes}")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(JsonConfig):
    """Everything that shapes the weights: architecture, optimisation and budget."""

    recipe: str = "custom"
    """Name of the recipe it came from."""

    hidden_size: int = 256
    """Width of each recurrent layer."""

    nlayers: int = 1
    """Number of recurrent layers."""

    nout: int | None = None
    """Width of a projection after the last layer; none by default."""

    embedding_size: int = 100
    """Width of the character embedding."""

    dropout: float = 0.0
    """Share of the embedded and of the output values dropped while training."""

    initialization: Literal["gatewise", "flair"] = "gatewise"
    """`gatewise`: normal embedding, Xavier input and orthogonal recurrent weights per gate; `flair`: Flair's."""

    sequence_length: int = 100
    """Characters of each stream between two optimizer steps (truncated BPTT)."""

    grow_to_sequence_length: int | None = None
    """Grow `sequence_length` by one a split until this length, as Flair can; none by default."""

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
    """Stop early after so many characters without improvement; none: never."""

    old_share: float | None = None
    """Share of the text of earlier revisions that is read beside the newest; none: all of it."""

    shuffle_lines: bool = True
    """Shuffle the lines of a shard each time it is read."""

    random_case_flip: bool = True
    """Lower-case 1 % and upper-case 1 % of the training lines."""

    validations: int | None = 10
    """Validations spread evenly over the budget; none: one after each split."""

    validation_characters: int | None = 200_000
    """Most characters that a validation reads, spread over the text; the final scores read all. None: no limit."""

    max_epochs: float | None = None
    """Budget in passes over the train shards."""

    max_characters: int | None = None
    """Budget in characters read."""

    max_minutes: float | None = None
    """Budget in minutes of training; the schedule is planned to end there."""

    checkpoint_minutes: float = 5.0
    """Minutes between two checkpoints inside a shard."""

    seed: int = 1
    """Seed of all randomness: weights, shard order, line order, case flips, dropout."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 autocast where the hardware has it, fp32 elsewhere."""

    def __post_init__(self) -> None:
        _check_words(self, "initialization", "optimizer", "schedule", "precision")
        for name in (
            "hidden_size", "nlayers", "embedding_size", "sequence_length", "mini_batch_size", "gradient_accumulation",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in (
            "nout", "grow_to_sequence_length", "patience_characters", "stop_characters", "validations",
            "validation_characters", "max_epochs", "max_characters", "max_minutes",
        ):  # fmt: skip
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be greater than 0, got {getattr(self, name)}")
        for name in ("learning_rate", "clip", "checkpoint_minutes"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be greater than 0, got {getattr(self, name)}")
        _check_share("dropout", self.dropout)
        _check_share("warmup_share", self.warmup_share)
        _check_share("anneal_factor", self.anneal_factor, zero=False)
        if self.old_share is not None:
            _check_share("old_share", self.old_share, one=True)
        if self.max_epochs is None and self.max_characters is None and self.max_minutes is None:
            raise ConfigError("a training needs a budget: set max_epochs, max_characters or max_minutes")
        if self.schedule == "plateau" and self.validations is not None:
            raise ConfigError("schedule=plateau validates after each split; set validations=none with it")

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
        if self.direction not in DIRECTIONS:
            raise ConfigError(f"direction is forward or backward, got {self.direction!r}")
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


@dataclass(frozen=True, kw_only=True)
class GateConfig(JsonConfig):
    """What the promotion gate asks of a challenger. Differences are in bits per byte, lower scores are better."""

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

    max_unk_rate: float = 0.01
    """Largest share of `<unk>` in the held-out text of any domain."""

    probe: str | None = None
    """Folder of a labelled corpus, or the name of a prepared one: small taggers of it try out both models."""

    probe_tolerance: float = 0.01
    """Most that the score of these taggers may fall."""

    bootstrap_rounds: int = 2_000
    """Samples of documents that an interval is made of."""

    seed: int = 1
    """Seed of those samples."""

    def __post_init__(self) -> None:
        for name in ("margin", "tolerance", "probe_tolerance"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 1 <= self.max_direction_ratio < math.inf:
            raise ConfigError(f"max_direction_ratio must be at least 1, got {self.max_direction_ratio}")
        if not 0 <= self.max_unk_rate <= 1:
            raise ConfigError(f"max_unk_rate must be in [0, 1], got {self.max_unk_rate}")
        _check_bootstrap(self)


@dataclass(frozen=True, kw_only=True)
class DriftConfig(JsonConfig):
    """From when on new text asks for a new model."""

    tolerance: float = 0.02
    """Bits per byte that new text may cost more than the reference before the champion is fine-tuned."""

    max_unk_rate: float = 0.001
    """Share of `<unk>` in new text from which its characters get an id."""

    foreign_bits: float = 2.0
    """Bits per byte more than the reference from which nothing of the champion is worth keeping."""

    foreign_unk_rate: float = 0.25
    """Share of `<unk>` from which the same is true."""

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
        if not 0 <= self.tolerance <= self.foreign_bits < math.inf:
            raise ConfigError(
                f"tolerance must be 0 or more and at most foreign_bits, got {self.tolerance} and {self.foreign_bits}"
            )
        if not 0 <= self.max_unk_rate <= self.foreign_unk_rate <= 1:
            raise ConfigError(
                f"max_unk_rate must be in [0, 1] and at most foreign_unk_rate, got {self.max_unk_rate} and"
                f" {self.foreign_unk_rate}"
            )
        if not self.growth > 1:
            raise ConfigError(f"growth must be greater than 1, got {self.growth}")
        _check_bootstrap(self)


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
    """Epochs without improvement that are borne; the one after them lowers the rate."""

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
        _check_words(self, "embeddings_storage_mode", "precision")
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
    """Update rule; adamw wants a learning rate of about 0.002."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_words(self, "optimizer")
        if self.hidden_size < 1:
            raise ConfigError(f"hidden_size must be at least 1, got {self.hidden_size}")

    def training(self) -> dict[str, Any]:
        """The fields that say how it is trained."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(TaskTrainingConfig)}


def _check_bootstrap(config: GateConfig | DriftConfig) -> None:
    if not 0 < config.confidence < 1:
        raise ConfigError(f"confidence must be in (0, 1), got {config.confidence}")
    if config.min_documents < 1:
        raise ConfigError(f"min_documents must be at least 1, got {config.min_documents}")
    if config.bootstrap_rounds < 100:
        raise ConfigError(f"bootstrap_rounds must be at least 100, got {config.bootstrap_rounds}")


def _absolute(path: str, folder: Path) -> str:
    return os.path.normpath(folder / path)


def parse_directions(text: str) -> tuple[str, ...]:
    """`"both"` -> `("forward", "backward")`; one direction alone otherwise."""
    if text == "both":
        return DIRECTIONS
    if text in DIRECTIONS:
        return (text,)
    raise ConfigError(f"direction is forward, backward or both; got {text!r}")
