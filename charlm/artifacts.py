"""The names of all files that charlm writes. No other module spells a file name of the workspace."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from charlm.errors import ConfigError, CorpusError, known_names

SPLITS = ("train", "valid", "test")
DIRECTIONS = ("forward", "backward")
_LONGEST_OUTPUT_NAME = 248  # bytes, of the 255 that file systems allow
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class _HasRoot(Protocol):
    @property
    def root(self) -> Path: ...


class _Inside:
    """A file or folder directly below the root of what it belongs to."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, files: _HasRoot, kind: type) -> Path:
        return files.root / self._name


@dataclass(frozen=True)
class CorpusFiles:
    """Where the parts of one prepared corpus lie."""

    root: Path

    @property
    def name(self) -> str:
        return self.root.name

    manifest = _Inside("corpus.json")
    train_dir = _Inside("train")
    valid = _Inside("valid.txt")
    test = _Inside("test.txt")

    def shard(self, number: int) -> Path:
        """The train split file `number`, counted from 1."""
        return self.train_dir / f"train_split_{number:04d}"

    def shards(self) -> list[Path]:
        """All train split files, in the order of their numbers."""
        return sorted(self.train_dir.glob("train_split_*"), key=lambda path: (len(path.name), path.name))

    def document_keys(self, revision: int) -> Path:
        """The hashes of the documents that a revision brought, so that later text can be compared with them."""
        return self.root / "documents" / f"revision_{revision:04d}.keys"

    def near_keys(self, revision: int) -> Path:
        """The band keys of these documents, where near-duplicates were left out."""
        return self.root / "documents" / f"revision_{revision:04d}.near"

    def left_out(self, revision: int) -> Path:
        """The documents that a filter kept out of a revision, with their bits per byte, as JSON lines."""
        return self.root / "left-out" / f"revision_{revision:04d}.jsonl"

    staging_dir = _Inside(".staging")
    """What a revision writes before it is whole; a run that was killed continues from here."""

    groups_dir = _Inside(".groups")
    """Documents that other processes have read for a revision, until they are taken into it."""

    counts_dir = _Inside("counts")

    def counts(self, shard_name: str) -> Path:
        return self.counts_dir / f"{shard_name}.parquet"

    @property
    def total_counts(self) -> Path:
        return self.counts_dir / "total.parquet"

    dictionary_dir = _Inside("dictionary")

    @property
    def dictionary(self) -> Path:
        return self.dictionary_dir / "dictionary.json"

    @property
    def char_mappings(self) -> Path:
        return self.dictionary_dir / "char_mappings"

    @property
    def characters_tsv(self) -> Path:
        return self.dictionary_dir / "characters.tsv"

    @property
    def words_tsv(self) -> Path:
        return self.dictionary_dir / "words.tsv"

    @property
    def coverage_plot(self) -> Path:
        return self.dictionary_dir / "coverage.svg"

    encoded_root = _Inside("encoded")

    def encoded(self, fingerprint: str, split_name: str) -> Path:
        """The encoded form of `train_split_0001`, `valid` or `test` under one dictionary fingerprint."""
        return self.encoded_root / fingerprint / f"{split_name}.arrow"

    baseline_dir = _Inside("baseline")

    def ngrams(self, order: int, direction: str) -> Path:
        """The n-gram model of one order and direction."""
        return self.baseline_dir / f"order-{order}-{direction}.safetensors"

    def baseline(self, order: int) -> Path:
        """The scores of the forward n-gram model of one order."""
        return self.baseline_dir / f"order-{order}.json"

    held_out_scores_dir = _Inside("held-out-scores")

    def held_out_scores(self, fingerprint: str) -> Path:
        """The bits per byte of held-out documents under the models of one fingerprint."""
        return self.held_out_scores_dir / f"{fingerprint}.parquet"

    def shared_folders(self) -> list[Path]:
        """The folders written without the lock: trainings encode, and runs of one corpus count at the same time."""
        own = [self.root, self.counts_dir, self.baseline_dir, self.held_out_scores_dir]
        return [*own, *self.encoded_root.glob("*")]

    lock = _Inside(".lock")


@dataclass(frozen=True)
class TrainingFiles:
    """What every training leaves in its folder."""

    root: Path

    checkpoint = _Inside("checkpoint.pt")
    loss_tsv = _Inside("loss.tsv")
    report = _Inside("report.html")
    """One picture of what was trained; of a registered pair it lies in `Workspace.report`."""

    training_log = _Inside("training.log")
    journal = _Inside("journal.jsonl")
    lock = _Inside(".lock")


@dataclass(frozen=True)
class RunFiles(TrainingFiles):
    """Where the parts of one training run of a language model lie."""

    @property
    def name(self) -> str:
        return self.root.name

    manifest = _Inside("run.json")
    best_lm = _Inside("best-lm.pt")
    initial_lm = _Inside("initial-lm.pt")
    """The model that a fine-tuning started from, with its dictionary extended if configured."""

    training_curve = _Inside("training-curve.png")
    tracking = _Inside("tracking.json")
    """How much of this run's journal MLflow has."""


@dataclass(frozen=True)
class DownstreamRunFiles(TrainingFiles):
    """Where the parts of the training of one tagger or classifier lie. The names are Flair's where it has them."""

    best_model = _Inside("best-model.pt")
    final_model = _Inside("final-model.pt")
    weights = _Inside("weights.txt")
    """Some weights of every parameter over time."""

    @property
    def model(self) -> Path:
        """The model to use: the best one, or the last one where there were no dev sentences to choose by."""
        return self.best_model if self.best_model.is_file() else self.final_model

    manifest = _Inside("task.json")
    """What a flow trained here, and its scores; a training by `ModelTrainer` alone has no such file."""

    def epoch_model(self, epoch: int) -> Path:
        """The model as it was after an epoch."""
        return self.root / f"model_epoch_{epoch}.pt"

    data_summary = _Inside("data.json")
    """What was read: sentences, tokens, labels and examples of each split."""

    labels_table = _Inside("labels.txt")
    """Scores of every label on the test sentences."""

    confusion_matrix = _Inside("confusion-matrix.png")

    def predictions(self, split: str) -> Path:
        """What the model predicts for the sentences of `dev` or `test`, beside the gold labels."""
        return self.root / f"{split}.tsv"


@dataclass(frozen=True)
class BundleFiles:
    """Where the parts of a bundle lie: what the registry holds, both directions or the one that was trained."""

    root: Path

    manifest = _Inside("bundle.json")
    dictionary = _Inside("dictionary.json")
    card = _Inside("README.md")

    def direction_dir(self, direction: str) -> Path:
        return self.root / direction

    def model(self, direction: str) -> Path:
        return self.root / direction / "model.safetensors"

    def config(self, direction: str) -> Path:
        return self.root / direction / "config.json"

    def best_lm(self, direction: str) -> Path:
        return self.root / direction / "best-lm.pt"

    def directions(self) -> list[str]:
        return [direction for direction in DIRECTIONS if self.config(direction).is_file()]


@dataclass(frozen=True)
class OnnxFiles:
    """Where the parts of a model lie that is read without torch; charlm/runtime knows the first name too."""

    root: Path

    settings = _Inside("model.json")
    dictionary = _Inside("dictionary.json")
    card = _Inside("README.md")
    reader = _Inside("charlm_runtime.py")

    def graph(self, direction: str) -> Path:
        return self.root / f"{direction}.onnx"


@dataclass(frozen=True)
class OutputFiles:
    """Where a file of embeddings or scores lies, and its finished parts until it is whole."""

    output: Path

    @property
    def parts_dir(self) -> Path:
        name, encoded = self.output.name, os.fsencode(self.output.name)
        if len(encoded) > _LONGEST_OUTPUT_NAME:  # a name of the full length leaves no room for more
            start = encoded[: _LONGEST_OUTPUT_NAME - 13].decode(errors="ignore")
            name = f"{start}-{hashlib.sha256(encoded).hexdigest()[:12]}"
        return self.output.with_name(f".{name}.parts")

    def part(self, number: int) -> Path:
        """The part `number`, counted from 0."""
        return self.parts_dir / f"part_{number:06d}.parquet"

    def parts(self) -> list[Path]:
        return sorted(self.parts_dir.glob("part_*.parquet"))

    @property
    def lock(self) -> Path:
        return self.parts_dir / ".lock"


@dataclass(frozen=True)
class ServiceFiles:
    """Logs and process ids of the programs of `make up`."""

    root: Path

    def log(self, name: str) -> Path:
        return self.root / f"{name}.log"

    def note(self, name: str) -> Path:
        """The process of a program, and how it was started."""
        return self.root / f"{name}.process.json"

    def names(self) -> list[str]:
        """The programs that have been started and not been stopped."""
        return sorted(path.name.removesuffix(".process.json") for path in self.root.glob("*.process.json"))

    lock = _Inside(".lock")
    addresses = _Inside("addresses.json")
    """Where both servers listen, for the commands that work in the workspace; while the service runs."""

    notifications = _Inside("notifications.json")
    """Messages that wait for their receiver, and what was sent already."""

    deployments = _Inside("prefect.yaml")
    """The deployments as they were given to the Prefect server."""

    deployed = _Inside("deployed.json")
    """The fingerprint of what was deployed."""

    mlflow_users = _Inside("mlflow-users.db")
    """MLflow's database of users, where it needs a password."""

    mlflow_access = _Inside("mlflow-access.ini")
    """The settings of MLflow's password check."""


@dataclass(frozen=True)
class Workspace:
    """The folder that holds everything that charlm writes."""

    root: Path

    def corpus(self, name: str, *, train_text: bool = True) -> CorpusFiles:
        """The corpus `name`, prepared or not; without `train_text` for what reads that in its encoded form alone."""
        return CorpusFiles(self.root / "corpora" / check_name(name))

    def corpus_names(self) -> list[str]:
        """The prepared corpora."""
        return sorted(path.parent.name for path in (self.root / "corpora").glob("*/corpus.json"))

    def prepared_corpus(self, name: str, *, train_text: bool = True) -> CorpusFiles:
        """The same; raises CorpusError when it has not been prepared."""
        corpus = self.corpus(name, train_text=train_text)
        if not corpus.manifest.is_file():
            known = self.corpus_names()
            hint = known_names(name, known) if known else f"run `charlm prepare RAW --name {name}` first"
            raise CorpusError(f"no corpus named {name!r} in {self.root}; {hint}")
        return corpus

    runs_dir = _Inside("runs")

    @property
    def place(self) -> Path:
        """What leads to it: its folder, or the address of one in an object store."""
        return self.root

    def run(self, name: str) -> RunFiles:
        return RunFiles(self.runs_dir / name)

    def run_manifests(self) -> list[Path]:
        return sorted(self.runs_dir.glob("*/run.json"))

    def downstream_run(self, name: str) -> DownstreamRunFiles:
        return DownstreamRunFiles(self.runs_dir / name)

    def retrain_lock(self, name: str) -> Path:
        """Held while the corpus `name` gets new text and its model is trained again."""
        return self.root / ".locks" / f"{check_name(name)}.retrain"

    def lock_of(self, work: str) -> Path:
        """Held by the process that does some work for all that wait for it, such as `NAME.prepare` or `mlflow`."""
        return self.root / ".locks" / work

    def gate_lock(self, name: str) -> Path:
        """Held while the champion of the model `name` is decided on."""
        return self.root / ".locks" / f"{check_name(name)}.gate"

    @property
    def service(self) -> ServiceFiles:
        return ServiceFiles(self.root / "service")

    inbox_dir = _Inside("inbox")
    """New text is dropped into its folders, one for each corpus."""

    inbox_memory = _Inside("inbox.json")
    """What an inbox has held, so that no text is reported twice."""

    def texts_dir(self, name: str) -> Path:
        """Texts that every champion of the model `name` embeds."""
        return self.root / "to-embed" / check_name(name)

    def embeddings_dir(self, name: str, version: int) -> Path:
        """The embeddings that one version of a model gave to texts."""
        return self.root / "embeddings" / check_name(name) / f"version-{version}"

    def report(self, name: str, version: int) -> Path:
        """The page that shows everything about one version of a model."""
        return self.root / "reports" / check_name(name) / f"version-{version}" / "report.html"

    @property
    def inbox_lock(self) -> Path:
        """Held while new text in an inbox is reported."""
        return self.root / ".locks" / "inbox"

    @property
    def demo_text(self) -> Path:
        """The interpreter's documentation, which the demo trains on."""
        return self.root / "demo" / "python-docs.jsonl"

    mlflow_db = _Inside("mlflow.db")
    mlflow_artifacts_dir = _Inside("mlartifacts")
    prefect_home = _Inside(".prefect")


def check_name(name: str) -> str:
    """`name` when it can be a folder and a registered model; raises ConfigError otherwise."""
    if not _NAME.fullmatch(name) or len(name) > 100:
        raise ConfigError(f"a corpus name is up to 100 of the characters A-Z a-z 0-9 . _ -, got {name!r}")
    return name
