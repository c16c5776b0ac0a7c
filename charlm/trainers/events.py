"""The events of a training: what an engine reports, and what journal, tables, bars and trackers are made from.

Each kind is a TypedDict; its `event` names the kind. A line of journal.jsonl is one event, so the keys are a file
format: they stay. `Event` is any event of a language model's training, `DownstreamEvent` any of a tagger's or
classifier's.

Imports no torch, so that the command line may read journals quickly.
"""

from collections.abc import Mapping
from typing import Literal, NotRequired, TypedDict

from charlm.evaluation.labels import EvaluationValues, LabelValues
from charlm.evaluation.scores import ScoreValues


class Moment(TypedDict):
    """When an event happened."""

    time: float
    """Unix seconds."""

    step: int
    """Optimizer steps done."""


class LMMoment(Moment):
    """When an event of a language model's training happened."""

    characters: int
    """Characters of the text read so far; a byte counts as one."""


class Computing(TypedDict):
    """What a training computes on, and how."""

    device: str
    precision: str
    """`fp32`, `bf16` or, on a GPU, `fp16`: the one that is used."""

    instruction_set: str
    kernel: str
    """What computes an LSTM: a variant of charlm/native, such as `avx512_bf16`, or `torch`."""

    tf32: NotRequired[bool]
    """On a GPU, whether cuDNN may compute fp32 as TF32: it rounds factors to 10 bits."""

    deterministic: NotRequired[bool]
    """On a GPU, whether torch and cuDNN were told to use deterministic kernels only."""


# ---- a language model ----------------------------------------------------------------------------------------------


class StartEvent(LMMoment, Computing):
    """A training begins."""

    event: Literal["start"]
    config: Mapping[str, object]
    """The training configuration as JSON."""

    direction: str
    parameters: int
    train_characters: int
    """Characters of all train shards; a byte counts as one."""

    dictionary_size: int
    num_threads: int
    num_processes: int
    libraries: Mapping[str, str]
    """Versions by package."""


class ResumeEvent(LMMoment, Computing):
    """A training resumes from its checkpoint."""

    event: Literal["resume"]
    reason: str


class TrainEvent(LMMoment):
    """Progress since the last event of this kind."""

    event: Literal["train"]
    progress: float
    """Share of the budget that is spent, in [0, 1]."""

    epoch: int
    split: int
    """Place in the epoch's shard order."""

    loss: float
    """Mean training loss since the last event of this kind, nats per unit."""

    bits_per_character: float
    learning_rate: float
    sequence_length: NotRequired[int]
    """That of the last step, where it follows the budget."""

    characters_per_second: float
    units_per_second: float
    seconds_left: float
    waiting_share: float
    """Share of the time that was not spent in optimizer steps."""


class ValidationEvent(LMMoment):
    """The score of the model on the validation text."""

    event: Literal["validation"]
    epoch: int
    split: int
    """Shards read to their end since the start."""

    learning_rate: float
    train_loss: float
    best: bool
    """True when no earlier validation had a lower loss."""

    sample: str
    """Text that the model generates."""

    loss: float
    perplexity: float
    bits_per_character: float | None
    bits_per_byte: float | None
    unk_rate: float
    held_out_characters: int
    """Characters of the validation text that were scored."""


class TestEvent(LMMoment):
    """The scores of the best model on both held-out texts."""

    event: Literal["test"]
    valid: ScoreValues
    test: ScoreValues
    sample: str


class CheckpointEvent(LMMoment):
    """A checkpoint is about to be written."""

    event: Literal["checkpoint"]


class InterruptedEvent(LMMoment):
    """A training was stopped after a checkpoint."""

    event: Literal["interrupted"]
    reason: str


class GuardEvent(LMMoment):
    """The engine deviates from its settings, for example by a rollback after the loss exploded."""

    event: Literal["guard"]
    reason: str


class EndEvent(LMMoment):
    """A training has finished; the last event."""

    event: Literal["end"]
    state: Literal["finished"]
    reason: str
    seconds: float
    """Seconds of training."""

    characters_per_second: float
    units_per_second: float
    peak_memory_bytes: int
    """Greatest resident memory of all processes."""

    peak_gpu_memory_bytes: NotRequired[int]
    """On a GPU, the most memory that each process has held there."""


class FailedEvent(LMMoment):
    """A training has failed; the last event."""

    event: Literal["end"]
    state: Literal["failed"]
    reason: str


Event = (
    StartEvent
    | ResumeEvent
    | TrainEvent
    | ValidationEvent
    | TestEvent
    | CheckpointEvent
    | InterruptedEvent
    | GuardEvent
    | EndEvent
    | FailedEvent
)


# ---- a tagger or classifier ----------------------------------------------------------------------------------------


class DownstreamStartEvent(Moment, Computing):
    """A training begins."""

    event: Literal["start"]
    model: str
    """Name of the model's class."""

    label_type: str
    config: Mapping[str, object]
    optimizer: str
    evaluation_metric: str
    parameters: int
    """Weights that are trained."""

    sentences: Mapping[str, int]
    """Number of sentences by split."""

    num_threads: int


class DownstreamTrainEvent(Moment):
    """Progress inside an epoch."""

    event: Literal["train"]
    epoch: int
    share: float
    """Share of the epoch's mini-batches that is done, in (0, 1]."""

    train_loss: float


class EpochEvent(Moment):
    """An epoch is over."""

    event: Literal["epoch"]
    epoch: int
    learning_rate: float
    bad_epochs: int
    train_loss: float
    seconds: float
    best: bool
    dev: NotRequired[EvaluationValues]
    test: NotRequired[EvaluationValues]


class WeightsEvent(Moment):
    """Some weights of every parameter, after an epoch."""

    event: Literal["weights"]
    epoch: int
    weights: Mapping[str, Mapping[int, float]]
    """Values by the name of the parameter and the number of the weight in it."""


class DownstreamTestEvent(Moment, LabelValues):
    """The scores of one of the trained models on the test sentences."""

    event: Literal["test"]
    model: str
    """`best` or `final`."""

    table: str
    loss: float | None


class DownstreamResumeEvent(Moment, Computing):
    """A training resumes from its checkpoint."""

    event: Literal["resume"]
    reason: str


class DownstreamReasonEvent(Moment):
    """The trainer deviates from its settings, or was stopped."""

    event: Literal["guard", "interrupted"]
    reason: str


class DownstreamEndEvent(Moment):
    """A training is over; the last event."""

    event: Literal["end"]
    reason: str
    epoch: int
    seconds: float


DownstreamEvent = (
    DownstreamStartEvent
    | DownstreamTrainEvent
    | EpochEvent
    | WeightsEvent
    | DownstreamTestEvent
    | DownstreamResumeEvent
    | DownstreamReasonEvent
    | DownstreamEndEvent
)
