"""task.json: what a tagger or classifier was trained on and how, and what came out."""

from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from charlm.evaluation.labels import LabelValues

FORMAT = "charlm.task-run/1"


class TrainingFacts(TypedDict):
    """What identifies a training: equal facts give an equal model."""

    format: str
    task: Literal["tagger", "classifier"]
    data: list[str]
    sentences: dict[str, int]
    corpus_fingerprint: str
    label_type: str
    language_models: list[str]
    vectors: list[str]
    embeddings_fingerprints: list[str]
    config: dict[str, object]
    tokenizer: NotRequired[str]
    """Name and version of what cut the texts into words, where it was chosen."""


class TrainingOutcome(TypedDict):
    """The result of a finished training."""

    test: "LabelValues | None"
    """Scores on the test sentences; None without test sentences."""

    epochs: int
    best_epoch: int
    seconds: float


class TrainingManifest(TrainingFacts):
    """The content of task.json."""

    result: NotRequired[TrainingOutcome]
    mlflow_run: NotRequired[str | None]
