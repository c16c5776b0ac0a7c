"""The training of a tagger or classifier in MLflow: its facts, a metric an epoch, and its files.

No fault of MLflow reaches the training: everything lies in the run folder too.
"""

import json
import math
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from charlm.artifacts import TaskRunFiles
from tasks.terminal import terminal
from tasks.tracking.client import first_line, mlflow_client, mlflow_error

if TYPE_CHECKING:
    from charlm.trainers.observer import Event

_LAST_SECONDS = 60.0
_SCORES = ("accuracy", "micro_f1", "macro_f1")


class EpochMetrics:
    """Sends the numbers of every epoch to an MLflow run, from a thread of its own; what fails goes with the next."""

    def __init__(self, run_id: str | None) -> None:
        self._run_id = run_id
        self._waiting: list[Any] = []
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

    def on_event(self, event: "Event") -> None:
        if self._run_id is None or event["event"] != "epoch":
            return
        from mlflow.entities import Metric

        time = int(event["time"] * 1000)
        self._submit([Metric(name, value, time, event["epoch"]) for name, value in epoch_metrics(event).items()])

    def _submit(self, metrics: list[Any]) -> None:
        self._last = self._sender.submit(self._send, metrics)

    def _send(self, metrics: list[Any]) -> None:
        self._waiting += metrics
        if self._waiting and self._run_id is not None:
            mlflow_client().log_batch(self._run_id, metrics=self._waiting)
            self._waiting = []


def epoch_metrics(event: "Event") -> dict[str, float]:
    """The metrics of an epoch: `train.loss`, `dev.micro_f1` and so on; a number that is none is left out."""
    metrics = {"train.loss": event["train_loss"], "learning_rate": event["learning_rate"]}
    for split in ("dev", "test"):
        if split in event:
            metrics |= {f"{split}.{name}": event[split][name] for name in ("loss", *_SCORES)}
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def describe_task_run(run_id: str | None, facts: dict[str, Any], files: TaskRunFiles) -> None:
    """Send the settings, and labelled data and language models as inputs."""
    if run_id is None:
        return
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param

    parameters = {
        **facts["config"],
        **{name: facts[name] for name in ("task", "label_type", "data", "language_models", "vectors")},
    }
    profile = json.dumps(facts["sentences"])
    source = json.dumps({"uri": ", ".join(facts["data"])})
    dataset = Dataset(", ".join(facts["data"])[-250:], facts["corpus_fingerprint"], "local", source, profile=profile)
    client = mlflow_client()
    try:
        client.log_batch(run_id, params=[Param(name, str(value)[:500]) for name, value in parameters.items()])
        client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
        client.set_tag(
            run_id,
            "mlflow.note.content",
            f"A {facts['task']} of `{facts['label_type']}`. Its folder is `runs/{files.root.name}` of the workspace.",
        )
        experiment = client.get_run(run_id).info.experiment_id
        client.set_experiment_tag(experiment, "mlflow.note.content", "Taggers and classifiers on language models.")
    except mlflow_error() as error:
        terminal.print_line(f"! MLflow does not take the settings: {first_line(error)}")


def log_task_files(run_id: str | None, files: TaskRunFiles, test: dict[str, Any] | None) -> None:
    """Send the final scores, and the tables, predictions and pictures of the run folder."""
    if run_id is None:
        return
    client = mlflow_client()
    try:
        if test is not None:
            for name in _SCORES:
                client.log_metric(run_id, f"final.test.{name}", test[name])
        for path in sorted(files.root.iterdir()):
            if path.suffix in (".png", ".tsv", ".txt", ".log", ".json"):
                client.log_artifact(run_id, str(path))
    except mlflow_error() as error:
        terminal.print_line(f"! MLflow lacks files of this training, its folder has them: {first_line(error)}")
