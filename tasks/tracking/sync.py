"""Send the journal of a training run to MLflow: in batches, once, and without disturbing the training.

Reads  runs/RUN/journal.jsonl, run.json, and the tables and pictures beside them
Writes runs/RUN/tracking.json    (the MLflow run, and the last step of each kind of event that it has)

`sync_run` may be called at any time and any number of times: it sends what is missing. MLflow stores a value with equal
name, step and time once, so a process that dies between sending and recording does no harm.
"""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from charlm.artifacts import CorpusFiles, RunFiles, Workspace
from charlm.errors import RegistryError, RunError
from charlm.remote.workspace import push
from charlm.storage.atomic import read_json, write_json
from charlm.storage.user_paths import user_path
from charlm.trainers.events import Event
from charlm.trainers.lm.manifest import RunManifest
from tasks.services.mlflow_compat import start_system_metrics
from tasks.terminal import terminal
from tasks.tracking.client import first_line, mlflow_client, mlflow_error
from tasks.tracking.journal import JournalReader
from tasks.tracking.runs import create_mlflow_run, find_experiment
from tasks.tracking.scores import SCORE_NAMES

if TYPE_CHECKING:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

TrainName = Literal["loss", "bits_per_character", "learning_rate", "characters_per_second", "waiting_share"]
_TRAIN_NAMES: tuple[TrainName, ...] = (
    "loss",
    "bits_per_character",
    "learning_rate",
    "characters_per_second",
    "waiting_share",
)
_MAX_BATCH = 1000  # values that MLflow takes in one call
_SYNC_SECONDS = 5.0
_SECONDS_AFTER_FAILURE = 30.0
_LAST_SYNC_SECONDS = 60.0
_sending = threading.Lock()  # two directions that start at once would both try to create the same rows
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


# ---- one run -------------------------------------------------------------------------------------------------------


def sync_run(workspace: Workspace, run: str) -> str | None:
    """Send to MLflow what it lacks of a run, given by name or folder; the id of its MLflow run.

    None when nothing has happened in the run yet. Raises RunError when there is no such run, RegistryError when MLflow
    does not answer.
    """
    named = workspace.run(run)
    files = named if named.manifest.is_file() else RunFiles(user_path(run).absolute())
    if not files.manifest.is_file():
        raise RunError(f"there is no run {run!r} in {workspace.runs_dir}, and no run folder of that name")
    try:
        sent = _Sender(workspace, files, parent=None).send()
        push(workspace, files.root)
        return sent
    except mlflow_error() as error:
        raise RegistryError(f"MLflow at {os.environ['MLFLOW_TRACKING_URI']}: {first_line(error)}") from error


def mlflow_run_of(run: RunFiles) -> str | None:
    """The id of the MLflow run of a training; none where the present tracking server has none."""
    sent = _Sent.load(run)
    return None if sent is None else sent.run_id


def mlflow_parent_of(run: RunFiles) -> str | None:
    """The id of the MLflow run above that of a training; none where there is none at the present tracking server."""
    sent = _Sent.load(run)
    return None if sent is None else sent.parent


@contextmanager
def live_tracking(workspace: Workspace, run: RunFiles, *, parent: str | None) -> Iterator[None]:
    """Send the journal to MLflow every few seconds for the block, from a thread of its own.

    Whatever MLflow does, the block neither waits for it nor sees its errors. What could not be sent by the end stays
    in the journal, and a line on the terminal names the command that sends it later.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_keep_sending, args=(_Sender(workspace, run, parent), stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_LAST_SYNC_SECONDS)
        if thread.is_alive():
            terminal.print_line(_behind(run, "it takes too long"))


def _keep_sending(sender: "_Sender", stop: threading.Event) -> None:
    seconds = _SYNC_SECONDS
    has_warned = False
    while not stop.wait(seconds):
        try:
            sender.send()
            seconds = _SYNC_SECONDS
        except Exception as error:  # no error of a tracker may reach the training: the journal has everything
            seconds = _SECONDS_AFTER_FAILURE
            if not has_warned:
                terminal.print_line(f"! MLflow does not accept the journal, training continues: {first_line(error)}")
                has_warned = True
    sender.stop_system_metrics()
    try:
        sender.send()
    except Exception as error:
        terminal.print_line(_behind(sender.run, first_line(error)))


def _behind(run: RunFiles, reason: str) -> str:
    return f"! MLflow lacks the end of {run.name} ({reason}); send it with: charlm sync {run.name}"


@dataclass
class _Sent:
    """What MLflow already has of a run: the content of tracking.json."""

    tracking_server: str
    run_id: str
    parent: str | None = None
    """The MLflow run above it."""

    described: bool = False
    """True when it has the parameters and inputs."""

    status: str = "RUNNING"
    last_steps: dict[str, int] = field(default_factory=dict)
    """Step of the last event of each kind."""

    @classmethod
    def load(cls, run: RunFiles) -> "_Sent | None":
        """The record for the present tracking server; none for another one."""
        if not run.tracking.is_file():
            return None
        values = read_json(run.tracking, remedy="delete it, and MLflow gets the run again as a new one", error=RunError)
        return cls(**values) if values["tracking_server"] == _server_name() else None

    def save(self, run: RunFiles) -> None:
        write_json(run.tracking, asdict(self))


def _server_name() -> str:
    """The tracking server; the one inside a workspace has no path here, so that a copied workspace keeps its runs."""
    address = os.environ["MLFLOW_TRACKING_URI"]
    return "workspace" if address.startswith("sqlite:") else address


class _Sender:
    """Sends one run to MLflow as it grows."""

    def __init__(self, workspace: Workspace, run: RunFiles, parent: str | None) -> None:
        self.run = run
        self._workspace = workspace
        self._parent = parent
        self._reader = JournalReader(run.journal)
        self._waiting: list[Event] = []
        self._system_metrics: SystemMetricsMonitor | None = None

    def send(self) -> str | None:
        """Send all new events; what fails to be sent is kept for the next call. The id of the MLflow run."""
        with _sending:
            return self._send()

    def _send(self) -> str | None:
        manifest = RunManifest.load(self.run)
        self._waiting += self._reader.new_events()
        sent = _Sent.load(self.run)
        if sent is None:
            if not self._waiting:
                return None
            sent = self._start(manifest)
        if self._parent not in (None, sent.parent):
            _end_lost_run(sent.parent, sent.run_id)
            if sent.status != "FINISHED":  # a run that did not end under its older parent moves to the newer one
                mlflow_client().set_tag(sent.run_id, "mlflow.parentRunId", self._parent)
                sent.parent = self._parent
                sent.save(self.run)
        if not sent.described:
            self._describe(sent.run_id, manifest)
            sent.described = True
            sent.save(self.run)
        if manifest.state == "running" and self._system_metrics is None:
            self._start_system_metrics(sent)
        fresh = [event for event in self._waiting if event["step"] > sent.last_steps.get(event["event"], -1)]
        if fresh:
            _send_metrics(sent.run_id, fresh)
            _send_samples(sent.run_id, fresh)
            for event in fresh:
                sent.last_steps[event["event"]] = event["step"]
            sent.save(self.run)
        self._waiting = []
        status = _STATUS.get(manifest.state, "RUNNING")
        if status != sent.status:
            self._send_files(sent.run_id)
            if status == "RUNNING":
                mlflow_client().update_run(sent.run_id, status=status)
            else:
                mlflow_client().set_terminated(sent.run_id, status)
            sent.status = status
            sent.save(self.run)
        return sent.run_id

    def _start(self, manifest: RunManifest) -> _Sent:
        config = manifest.resolved_config(self.run)
        tags = {
            "direction": config.direction,
            "recipe": config.training.recipe,
            "charlm.run": self.run.name,
            "corpus.revision": str(manifest.corpus["revision"]),
            "corpus.fingerprint": manifest.corpus["fingerprint"],
            "dictionary.fingerprint": manifest.dictionary["fingerprint"],
        }
        experiment_id = find_experiment(self._workspace, manifest.corpus["name"])
        name = f"{config.training.recipe} {config.direction}"
        tags["mlflow.note.content"] = (
            f"The {config.direction} language model of {manifest.corpus['name']}, recipe `{config.training.recipe}`."
            f" Its folder is `runs/{self.run.name}` of the workspace."
        )
        run_id = create_mlflow_run(experiment_id, name, parent=self._parent, tags=tags)
        sent = _Sent(_server_name(), run_id, parent=self._parent)
        sent.save(self.run)
        return sent

    def _describe(self, run_id: str, manifest: RunManifest) -> None:
        """Send the parameters, and the corpus and the dictionary as inputs with their digests."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param

        config = manifest.resolved_config(self.run)
        corpus = CorpusFiles(self._workspace.corpus(manifest.corpus["name"], train_text=False).root)
        parameters = {**config.training.to_json(), "direction": config.direction, "num_threads": config.num_threads}
        client = mlflow_client()
        client.log_batch(run_id, params=[Param(name, str(value)) for name, value in parameters.items()])
        inputs = (
            ("corpus", f"{corpus.name} revision {manifest.corpus['revision']}", manifest.corpus, corpus.root),
            ("dictionary", f"{corpus.name} dictionary", manifest.dictionary, corpus.dictionary),
        )
        client.log_inputs(
            run_id,
            [
                DatasetInput(
                    Dataset(
                        name, facts["fingerprint"], "local", json.dumps({"uri": str(path)}), profile=json.dumps(facts)
                    ),
                    [InputTag("mlflow.data.context", context)],
                )
                for context, name, facts, path in inputs
            ],
        )
        for path in (corpus.characters_tsv, corpus.words_tsv, corpus.coverage_plot):
            if path.is_file():
                client.log_artifact(run_id, str(path), "dictionary")

    def _start_system_metrics(self, sent: _Sent) -> None:
        self._system_metrics = start_system_metrics(sent.run_id, resumed=bool(sent.last_steps))

    def stop_system_metrics(self) -> None:
        if self._system_metrics is not None:
            self._system_metrics.finish()  # type: ignore[no-untyped-call]

    def _send_files(self, run_id: str) -> None:
        """The tables and pictures that the run has by now."""
        client = mlflow_client()
        for path in (self.run.training_curve, self.run.loss_tsv, self.run.training_log):
            if path.is_file():
                client.log_artifact(run_id, str(path))


def _end_lost_run(lost: str | None, child: str) -> None:
    """Mark the parent run `lost` of `child` as killed, if it is still running in MLflow."""
    if lost is None:
        return
    client = mlflow_client()
    experiment = client.get_run(child).info.experiment_id
    for run in client.search_runs([experiment], f"attributes.run_id = '{lost}' AND attributes.status = 'RUNNING'"):
        client.set_terminated(run.info.run_id, "KILLED")


def _send_metrics(run_id: str, events: list[Event]) -> None:
    from mlflow.entities import Metric

    metrics = [
        Metric(name, value, int(event["time"] * 1000), event["step"])
        for event in events
        for name, value in _metrics_of(event).items()
    ]
    for start in range(0, len(metrics), _MAX_BATCH):
        mlflow_client().log_batch(run_id, metrics=metrics[start : start + _MAX_BATCH])


def _metrics_of(event: Event) -> dict[str, float]:
    """The metrics in an event: `loss` while training, `valid.loss` at validations, `test.loss` at the end."""
    if event["event"] == "train":
        return {name: event[name] for name in _TRAIN_NAMES}
    if event["event"] == "validation":
        return {f"valid.{name}": value for name in SCORE_NAMES if (value := event[name]) is not None}
    if event["event"] == "test":
        return {f"test.{name}": value for name in SCORE_NAMES if (value := event["test"][name]) is not None}
    return {}


def _send_samples(run_id: str, events: list[Event]) -> None:
    for event in events:
        if (event["event"] == "validation" or event["event"] == "test") and event["sample"]:
            mlflow_client().log_text(run_id, event["sample"], f"samples/{event['event']}-{event['step']:08d}.txt")
