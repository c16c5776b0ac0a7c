"""The training of a tagger or classifier in MLflow: its facts, a metric an epoch, and its files.

No fault of MLflow reaches the training: everything lies in the run folder too.
"""

import math
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from charlm.artifacts import DownstreamRunFiles
from charlm.serialization.markdown import code
from tasks.downstream.manifest import TrainingFacts
from tasks.registry.logged_models import DataSplit, log_data
from tasks.registry.versions import RegisteredVersion
from tasks.terminal import terminal
from tasks.tracking.client import first_line, mlflow_client

if TYPE_CHECKING:
    from mlflow.entities import Metric

    from charlm.evaluation.labels import LabelValues
    from charlm.trainers.downstream.events import DownstreamEvent, EpochEvent

_LAST_SECONDS = 60.0
_LONGEST_NAME = 240  # of a dataset, with the split behind it
SCORES: tuple[Literal["accuracy", "micro_f1", "macro_f1"], ...] = ("accuracy", "micro_f1", "macro_f1")


class EpochMetrics:
    """Sends the numbers of every epoch to an MLflow run, from a thread of its own; what fails goes with the next."""

    def __init__(self, run_id: str | None) -> None:
        self._run_id = run_id
        self._waiting: list[Metric] = []
        self._sender = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._last is not None:
            self._submit([])  # what an earlier failure has left
            try:
                self._last.result(_LAST_SECONDS)
            except Exception as fault:  # no fault of a tracker may reach the training
                terminal.print_line(f"! MLflow lacks epochs of this training, its folder has them: {first_line(fault)}")
        self._sender.shutdown(wait=False, cancel_futures=True)

    def on_event(self, event: "DownstreamEvent") -> None:
        if self._run_id is None or event["event"] != "epoch":
            return
        from mlflow.entities import Metric

        time = int(event["time"] * 1000)
        self._submit([Metric(name, value, time, event["epoch"]) for name, value in epoch_metrics(event).items()])

    def _submit(self, metrics: "list[Metric]") -> None:
        self._last = self._sender.submit(self._send, metrics)

    def _send(self, metrics: "list[Metric]") -> None:
        self._waiting += metrics
        if self._waiting and self._run_id is not None:
            mlflow_client().log_batch(self._run_id, metrics=self._waiting)
            self._waiting = []


def epoch_metrics(event: "EpochEvent") -> dict[str, float]:
    """The metrics of an epoch: `train.loss`, `dev.micro_f1` and so on; a number that is none is left out."""
    metrics: dict[str, float | None] = {"train.loss": event["train_loss"], "learning_rate": event["learning_rate"]}
    for split, scores in (("dev", event.get("dev")), ("test", event.get("test"))):
        if scores is not None:
            metrics |= {f"{split}.loss": scores["loss"]} | {f"{split}.{name}": scores[name] for name in SCORES}
    return {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}


def describe_downstream_run(run_id: str | None, facts: TrainingFacts, files: DownstreamRunFiles) -> None:
    """Send the settings, and labelled data and language models as inputs."""
    if run_id is None:
        return
    from mlflow.entities import Param

    parameters = {
        **facts["config"],
        **{name: facts[name] for name in ("task", "label_type", "data", "language_models", "vectors")},
    }
    client = mlflow_client()
    try:
        client.log_batch(run_id, params=[Param(name, str(value)[:500]) for name, value in parameters.items()])
        train = [one for one in labelled_data(facts) if one.split == "train"]
        log_data(run_id, train, source=", ".join(facts["data"]), profile=facts["sentences"])
        client.set_tag(
            run_id,
            "mlflow.note.content",
            f"A {facts['task']} of {code(facts['label_type'])}."
            f" Its folder is `runs/{files.root.name}` of the workspace.",
        )
        experiment = client.get_run(run_id).info.experiment_id
        client.set_experiment_tag(experiment, "mlflow.note.content", "Taggers and classifiers on language models.")
    except Exception as error:  # no fault of a tracker may reach the training
        terminal.print_line(f"! MLflow does not take the settings: {first_line(error)}")


def labelled_data(facts: TrainingFacts) -> list[DataSplit]:
    """The labelled data of a training, split by split."""
    name = ", ".join(facts["data"])[-_LONGEST_NAME:]
    return [
        DataSplit(name if split == "train" else f"{name} {split}", facts["corpus_fingerprint"], split)
        for split in facts["sentences"]
    ]


def registered_models(facts: TrainingFacts) -> list[RegisteredVersion]:
    """The registered language models that a training embeds with; those given as files are left out."""
    addresses = [model.removeprefix("models:/") for model in facts["language_models"] if model.startswith("models:/")]
    return [RegisteredVersion(name, int(number)) for name, _, number in (one.partition("/") for one in addresses)]


def log_downstream_files(run_id: str | None, files: DownstreamRunFiles, test: "LabelValues | None") -> None:
    """Send the final scores, and the tables, predictions and pictures of the run folder."""
    if run_id is None:
        return
    client = mlflow_client()
    try:
        if test is not None:
            for name in SCORES:
                client.log_metric(run_id, f"final.test.{name}", test[name])
        for path in sorted(files.root.iterdir()):
            if path.suffix in (".html", ".png", ".tsv", ".txt", ".log", ".json"):
                client.log_artifact(run_id, str(path))
    except Exception as error:  # nor one of its files
        terminal.print_line(f"! MLflow lacks files of this training, its folder has them: {first_line(error)}")
