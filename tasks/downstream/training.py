"""Train a tagger or classifier on registered language models, track it, and register it with its lineage.

Reads  labelled data, the bundles or files of language models
Writes runs/NAME-TASK-FINGERPRINT/   (the training, its pictures, and task.json: its settings and its result)

The fingerprint stands for data, language models and settings: the same request finds its finished training again.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from charlm.artifacts import DownstreamRunFiles, Workspace, check_name
from charlm.config import DownstreamConfig
from charlm.errors import ConfigError, RunError, decoration
from charlm.remote.workspace import alone, push
from charlm.storage.atomic import read_json, write_json, write_text
from charlm.storage.fingerprints import fingerprint
from tasks.downstream.manifest import FORMAT, TrainingFacts, TrainingOutcome
from tasks.downstream.registry import check_downstream_name, register_downstream_model
from tasks.downstream.report import write_downstream_report
from tasks.downstream.tracking import EpochMetrics, describe_downstream_run, log_downstream_files
from tasks.inference.texts import pinned_model
from tasks.registry.download import resolve_model
from tasks.registry.versions import RegisteredVersion
from tasks.services.pushing import pushing
from tasks.terminal import Bar, terminal
from tasks.tracking.runs import group_run
from tasks.training.child import gpu_turn

if TYPE_CHECKING:
    from charlm.data.corpus import Corpus
    from charlm.embeddings.stacked import StackedEmbeddings
    from charlm.evaluation.labels import LabelValues
    from charlm.tokenization import TokenizerIdentity
    from charlm.trainers.downstream.events import DownstreamEvent


@dataclass(frozen=True, kw_only=True)
class DownstreamRequest:
    """What to train, on what."""

    task: Literal["tagger", "classifier"]
    name: str
    """Name of the registered model."""

    data: tuple[str, ...]
    """Folders with labelled sentences, or names of prepared corpora; several are read as one."""

    models: tuple[str, ...] = ()
    """Language models: files, runs, bundles or registry addresses."""

    vectors: tuple[str, ...] = ()
    """Files of word vectors, or their names in CHARLM_CACHE."""

    label_type: str | None = None
    columns: str | None = None
    encoding: str = "utf-8"
    """Encoding of the labelled files."""

    header: bool | None = None
    """Whether their first row names the columns; None looks at it."""

    tokenizer: str | None = None
    """Name of what cuts texts into words; the rules of `Sentence` by default."""

    config: DownstreamConfig = field(default_factory=DownstreamConfig)

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.task not in ("tagger", "classifier"):
            raise ConfigError(f"task is tagger or classifier, got {self.task!r}")
        if not self.models and not self.vectors:
            raise ConfigError("a tagger or classifier needs embeddings: name a language model, or word vectors")


@dataclass(frozen=True, kw_only=True)
class TrainedDownstreamModel:
    """A finished training of a tagger or classifier."""

    run_dir: Path
    label_type: str
    language_models: list[str]
    """Addresses with their versions, or paths."""

    test: "LabelValues | None"
    """Scores on the test sentences; None without test sentences."""

    epochs: int
    best_epoch: int
    seconds: float
    version: RegisteredVersion | None = None

    @property
    def files(self) -> DownstreamRunFiles:
        return DownstreamRunFiles(self.run_dir)

    def summary(self) -> str:
        """What became of it, in one sentence."""
        place = str(self.run_dir) if self.version is None else self.version.address
        return f"{place} learned {self.label_type} in {self.epochs} epochs"

    def to_json(self) -> dict[str, object]:
        return {
            "run_dir": str(self.run_dir),
            "file": str(self.files.model),
            "label_type": self.label_type,
            "language_models": self.language_models,
            "test": self.test,
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "seconds": self.seconds,
            "model": self.version and self.version.address,
        }


def train_downstream(
    workspace: Workspace,
    request: DownstreamRequest,
    *,
    resume: bool = False,
    register: bool = True,
    gpu_slot: AbstractContextManager[None] | None = None,
) -> TrainedDownstreamModel:
    """Train and register what `request` describes; with `resume`, continue where the same training was stopped.

    `gpu_slot` is held during the training, where several processes share GPUs.
    Raises DatasetError, ModelFileError, RegistryError or ConfigError when something is missing or makes no sense.
    """
    if register:
        check_downstream_name(request.name)
    from charlm.datasets.lines import ReadingRules
    from charlm.datasets.opening import open_data
    from charlm.datasets.summary import check_corpus, summarize
    from charlm.tokenization import TokenizerIdentity

    with terminal.step("read labelled data") as bar:
        tokenizer = TokenizerIdentity.of(request.tokenizer or "rules")
        rules = ReadingRules(encoding=request.encoding, header=request.header, tokenizer=request.tokenizer or True)
        data = open_data(request.data, request.label_type, request.columns, rules)
        corpus, label_type = data.corpus, data.label_type
        summary = summarize(corpus, label_type)
        bar.finish(str(corpus).partition("\n")[0].removeprefix("Corpus: "))
    for line in summary.lines():
        terminal.print_line(line)
    check_corpus(corpus, label_type, request.task, summary, data.sampled)
    models = [pinned_model(model) for model in request.models]
    embeddings = _embeddings(workspace, models, request.vectors)
    facts = _facts(request, models, corpus, label_type, embeddings)
    with _turn(workspace, request, run_name := f"{request.name}-{request.task}-{fingerprint(facts)}"):
        files = workspace.downstream_run(run_name)
        known = (
            read_json(files.manifest, remedy="delete it and train again", error=RunError)
            if resume and files.manifest.is_file()
            else None
        )
        if known is not None:
            terminal.print_line(f"= train {request.task}: {files.root.name} is finished")
            result, run_id = known["result"], known["mlflow_run"]
        else:
            with group_run(workspace, request.name, request.task, tags={"charlm.task": request.task}) as run_id:
                describe_downstream_run(run_id, facts, files)
                with decoration("the summary of the data"):
                    files.root.mkdir(parents=True, exist_ok=True)
                    write_json(files.data_summary, summary.to_json())
                with pushing(workspace, files), gpu_turn(workspace, gpu_slot, anywhere=False):
                    result = _train(request, corpus, facts, embeddings, files, run_id, tokenizer, resume=resume)
                write_json(files.manifest, {**facts, "result": result, "mlflow_run": run_id})
                files.checkpoint.unlink(missing_ok=True)  # nothing is left to resume
                log_downstream_files(run_id, files, result["test"])
        push(workspace, files.root)
        version = register_downstream_model(request.name, files, facts, result["test"], run_id) if register else None
    return TrainedDownstreamModel(
        run_dir=files.root, label_type=label_type, language_models=models, version=version, **result
    )


def _turn(workspace: Workspace, request: DownstreamRequest, run_name: str) -> AbstractContextManager[bool]:
    """For the block, no other process trains the same, on this machine or another one of the workspace."""

    def report(holder: str) -> None:
        terminal.print_line(f"= train {request.task}: {holder} trains the same; waiting for it")

    return alone(workspace, workspace.lock_of(f"{run_name}.training"), on_wait=report)


def _embeddings(workspace: Workspace, models: Sequence[str], vectors: Sequence[str]) -> "StackedEmbeddings":
    from charlm.language_models.language_model import load_language_models
    from charlm.trainers.downstream.build import stack_embeddings

    paths = [resolve_model(model, workspace) for model in models]
    return stack_embeddings([lm for path in paths for lm in load_language_models(path).values()], vectors)


def _facts(
    request: DownstreamRequest, models: list[str], corpus: "Corpus", label_type: str, embeddings: "StackedEmbeddings"
) -> TrainingFacts:
    """What identifies a training: equal facts give an equal model."""
    from charlm.embeddings.store import embeddings_fingerprint
    from charlm.tokenization import tokenizer_name
    from charlm.trainers.downstream.build import corpus_fingerprint

    return {
        "format": FORMAT,
        "task": request.task,
        "data": list(request.data),
        "sentences": {"train": len(corpus.train), "dev": len(corpus.dev), "test": len(corpus.test)},
        "corpus_fingerprint": corpus_fingerprint(corpus, label_type),
        "label_type": label_type,
        "language_models": models,
        "vectors": list(request.vectors),
        "embeddings_fingerprints": [embeddings_fingerprint(part) for part in embeddings.frozen_parts()],
        "config": request.config.to_json(),
        **({} if request.tokenizer is None else {"tokenizer": tokenizer_name(request.tokenizer)}),  # type: ignore[typeddict-item]
    }


def _train(
    request: DownstreamRequest,
    corpus: "Corpus",
    facts: TrainingFacts,
    embeddings: "StackedEmbeddings",
    files: DownstreamRunFiles,
    run_id: str | None,
    tokenizer: "TokenizerIdentity",
    *,
    resume: bool,
) -> TrainingOutcome:
    """Train the model and draw its pictures."""
    from charlm.evaluation.collapse import collapse_of
    from charlm.trainers.downstream.build import train_downstream_model
    from charlm.visual.confusion_matrix import draw_confusion_matrix
    from charlm.visual.training_curves import Plotter

    checkpoint = files.checkpoint if resume and files.checkpoint.is_file() else None
    if resume:
        how = f"continuing {files.root.name}" if checkpoint else "nothing to resume, starting anew"
        terminal.print_line(f"= train {request.task}: {how}")
    files.manifest.unlink(missing_ok=True)
    with terminal.step(f"train {request.task}") as bar, EpochMetrics(run_id) as metrics:
        _, trained = train_downstream_model(
            request.task,
            corpus,
            facts["label_type"],
            embeddings,
            request.config,
            files.root,
            tokenizer=tokenizer,
            checkpoint=checkpoint,
            observers=[_BarObserver(bar, request.config.max_epochs), metrics],
        )
        bar.finish(f"{trained.epochs} epochs" + (f", test micro F1 {trained.test_score:.4f}" if trained.test else ""))
    with decoration("the plot of the training"):
        Plotter().plot_training_curves(files.loss_tsv)
    with decoration("the plot of the weights"):
        Plotter().plot_weights(files.weights)
    if trained.test is not None:
        collapse = collapse_of(trained.test.scores)
        if collapse is not None:
            terminal.print_line(f"! {collapse}")
        with decoration(files.labels_table.name):
            table = trained.test.scores.table() + (f"\n{collapse}" if collapse else "")
            write_text(files.labels_table, table + "\n")
        with decoration(files.confusion_matrix.name):
            draw_confusion_matrix(trained.test.scores, files.confusion_matrix)
    write_downstream_report(request.name, facts, files, None if trained.test is None else trained.test.scores)
    return {
        "test": None if trained.test is None else trained.test.scores.to_json(),
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "seconds": trained.seconds,
    }


class _BarObserver:
    """Shows the events of a training on its bar."""

    def __init__(self, bar: Bar, max_epochs: int) -> None:
        self._bar = bar
        self._max_epochs = max_epochs
        self._notes: list[str] = []

    def on_event(self, event: "DownstreamEvent") -> None:
        if event["event"] == "train":
            self._bar.update((event["epoch"] - 1 + event["share"]) / self._max_epochs, *self._notes)
        elif event["event"] == "epoch":
            score = [f"dev micro F1 {event['dev']['micro_f1']:.4f}"] if "dev" in event else []
            self._notes = [f"epoch {event['epoch']}", *score, f"loss {event['train_loss']:.4f}"]
