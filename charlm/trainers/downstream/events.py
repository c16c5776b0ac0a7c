"""The events of the training of a tagger or classifier: what each kind holds.

Every event has its kind (`event`), its time (`time`, unix seconds) and the optimizer steps so far (`step`).
"""

from collections.abc import Mapping
from typing import Literal, NotRequired, Protocol, TypedDict

from charlm.evaluation.labels import EvaluationValues
from charlm.trainers.events import Computing


class _Event(TypedDict):
    time: float
    step: int


class StartEvent(_Event, Computing):
    """A training begins: what is trained, with which settings, on what."""

    event: Literal["start"]
    model: str
    label_type: str
    config: dict[str, object]
    optimizer: str
    evaluation_metric: str
    parameters: int
    sentences: dict[str, int]
    num_threads: int


class TrainEvent(_Event):
    """A tenth of an epoch is done."""

    event: Literal["train"]
    epoch: int
    share: float
    train_loss: float


class EpochEvent(_Event):
    """An epoch is done and scored."""

    event: Literal["epoch"]
    epoch: int
    learning_rate: float
    bad_epochs: int
    train_loss: float
    seconds: float
    best: bool
    train: NotRequired[EvaluationValues]
    dev: NotRequired[EvaluationValues]
    test: NotRequired[EvaluationValues]


class WeightsEvent(_Event):
    """Some weights of every parameter after an epoch, by their number."""

    event: Literal["weights"]
    epoch: int
    weights: Mapping[str, Mapping[int, float]]


class TestEvent(_Event, EvaluationValues):
    """The scores of the final model on the test sentences."""

    event: Literal["test"]
    model: Literal["best", "last"]
    table: str


class ResumeEvent(_Event, Computing):
    """The training continues after a checkpoint."""

    event: Literal["resume"]
    reason: str


class NoteEvent(_Event):
    """Something to know about the training, or that it was stopped or has ended."""

    event: Literal["guard", "interrupted", "end"]
    reason: str
    epoch: NotRequired[int]
    seconds: NotRequired[float]


DownstreamEvent = StartEvent | TrainEvent | EpochEvent | WeightsEvent | TestEvent | ResumeEvent | NoteEvent


class DownstreamObserver(Protocol):
    """Receives every event of a training, in order."""

    def on_event(self, event: DownstreamEvent) -> None: ...
