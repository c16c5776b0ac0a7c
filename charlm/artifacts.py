"""The names of all files that charlm writes. No other module spells a file name of the workspace."""

import re
from dataclasses import dataclass
from pathlib import Path

from charlm.errors import ConfigError, CorpusError

SPLITS = ("train", "valid", "test")
DIRECTIONS = ("forward", "backward")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class CorpusFiles:
    """Where the parts of one prepared corpus lie."""

    root: Path

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def manifest(self) -> Path:
        return self.root / "corpus.json"

    @property
    def train_dir(self) -> Path:
        return self.root / "train"

    @property
    def valid(self) -> Path:
        return self.root / "valid.txt"

    @property
    def test(self) -> Path:
        return self.root / "test.txt"

    def shard(self, number: int) -> Path:
        """The train split file `number`, counted from 1."""
        return self.train_dir / f"train_split_{number:04d}"

    def shards(self) -> list[Path]:
        """All train split files, in the order of their numbers."""
        return sorted(self.train_dir.glob("train_split_*"), key=lambda path: (len(path.name), path.name))

    def document_keys(self, revision: int) -> Path:
        """The hashes of the documents that a revision brought, so that later text can be compared with them."""
        return self.root / "documents" / f"revision_{revision:04d}.keys"

    @property
    def staging_dir(self) -> Path:
        """What a revision writes before it is whole; a run that was killed continues from here."""
        return self.root / ".staging"

    @property
    def counts_dir(self) -> Path:
        return self.root / "counts"

    def counts(self, shard_name: str) -> Path:
        return self.counts_dir / f"{shard_name}.parquet"

    @property
    def total_counts(self) -> Path:
        return self.counts_dir / "total.parquet"

    @property
    def dictionary_dir(self) -> Path:
        return self.root / "dictionary"

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
    def coverage_plot(self) -> Path:
        return self.dictionary_dir / "coverage.svg"

    @property
    def encoded_root(self) -> Path:
        return self.root / "encoded"

    def encoded(self, fingerprint: str, split_name: str) -> Path:
        """The encoded form of `train_split_0001`, `valid` or `test` under one dictionary fingerprint."""
        return self.encoded_root / fingerprint / f"{split_name}.arrow"

    def shared_folders(self) -> list[Path]:
        """The folders written without the lock: trainings encode, and runs of one corpus count at the same time."""
        return [self.root, self.counts_dir, *self.encoded_root.glob("*")]

    @property
    def lock(self) -> Path:
        return self.root / ".lock"


@dataclass(frozen=True)
class TrainingFiles:
    """What every training leaves in its folder."""

    root: Path

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint.pt"

    @property
    def loss_tsv(self) -> Path:
        return self.root / "loss.tsv"

    @property
    def training_log(self) -> Path:
        return self.root / "training.log"

    @property
    def journal(self) -> Path:
        return self.root / "journal.jsonl"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"


@dataclass(frozen=True)
class RunFiles(TrainingFiles):
    """Where the parts of one training run of a language model lie."""

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def manifest(self) -> Path:
        return self.root / "run.json"

    @property
    def best_lm(self) -> Path:
        return self.root / "best-lm.pt"

    @property
    def initial_lm(self) -> Path:
        """The model that a fine-tuning started from, with its dictionary extended if configured."""
        return self.root / "initial-lm.pt"

    @property
    def training_curve(self) -> Path:
        return self.root / "training-curve.png"

    @property
    def tracking(self) -> Path:
        """How much of this run's journal MLflow has."""
        return self.root / "tracking.json"


@dataclass(frozen=True)
class DownstreamRunFiles(TrainingFiles):
    """Where the parts of the training of one tagger or classifier lie. The names are Flair's where it has them."""

    @property
    def best_model(self) -> Path:
        return self.root / "best-model.pt"

    @property
    def final_model(self) -> Path:
        return self.root / "final-model.pt"

    @property
    def weights(self) -> Path:
        """Some weights of every parameter over time."""
        return self.root / "weights.txt"

    @property
    def model(self) -> Path:
        """The model to use: the best one, or the last one where there were no dev sentences to choose by."""
        return self.best_model if self.best_model.is_file() else self.final_model

    @property
    def manifest(self) -> Path:
        """What a flow trained here, and its scores; a training by `ModelTrainer` alone has no such file."""
        return self.root / "task.json"

    def epoch_model(self, epoch: int) -> Path:
        """The model as it was after an epoch."""
        return self.root / f"model_epoch_{epoch}.pt"

    @property
    def data_summary(self) -> Path:
        """What was read: sentences, tokens, labels and examples of each split."""
        return self.root / "data.json"

    @property
    def labels_table(self) -> Path:
        """Scores of every label on the test sentences."""
        return self.root / "labels.txt"

    @property
    def confusion_matrix(self) -> Path:
        return self.root / "confusion-matrix.png"

    def predictions(self, split: str) -> Path:
        """What the model predicts for the sentences of `dev` or `test`, beside the gold labels."""
        return self.root / f"{split}.tsv"


@dataclass(frozen=True)
class BundleFiles:
    """Where the parts of a bundle lie: what the registry holds, both directions or the one that was trained."""

    root: Path

    @property
    def manifest(self) -> Path:
        return self.root / "bundle.json"

    @property
    def dictionary(self) -> Path:
        return self.root / "dictionary.json"

    @property
    def card(self) -> Path:
        return self.root / "README.md"

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
class EmbeddingFiles:
    """Where a file of embeddings lies, and its finished parts until it is whole."""

    output: Path

    @property
    def parts_dir(self) -> Path:
        return self.output.with_name(f".{self.output.name}.parts")

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

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    @property
    def deployments(self) -> Path:
        """The deployments as they were given to the Prefect server."""
        return self.root / "prefect.yaml"

    @property
    def deployed(self) -> Path:
        """The fingerprint of what was deployed."""
        return self.root / "deployed.json"

    @property
    def mlflow_users(self) -> Path:
        """MLflow's database of users, where it needs a password."""
        return self.root / "mlflow-users.db"

    @property
    def mlflow_access(self) -> Path:
        """The settings of MLflow's password check."""
        return self.root / "mlflow-access.ini"


@dataclass(frozen=True)
class Workspace:
    """The folder that holds everything that charlm writes."""

    root: Path

    def corpus(self, name: str) -> CorpusFiles:
        return CorpusFiles(self.root / "corpora" / check_name(name))

    def corpus_names(self) -> list[str]:
        """The prepared corpora."""
        return sorted(path.parent.name for path in (self.root / "corpora").glob("*/corpus.json"))

    def prepared_corpus(self, name: str) -> CorpusFiles:
        """The corpus `name`; raises CorpusError when it has not been prepared."""
        corpus = self.corpus(name)
        if not corpus.manifest.is_file():
            known = self.corpus_names()
            hint = f"prepared ones: {', '.join(known)}" if known else f"run `charlm prepare RAW --name {name}` first"
            raise CorpusError(f"no corpus named {name!r} in {self.root}; {hint}")
        return corpus

    @property
    def runs_dir(self) -> Path:
        return self.root / "runs"

    def run(self, name: str) -> RunFiles:
        return RunFiles(self.runs_dir / name)

    def retrain_lock(self, name: str) -> Path:
        """Held while the corpus `name` gets new text and its model is trained again."""
        return self.root / ".locks" / f"{check_name(name)}.retrain"

    def prepare_lock(self, name: str) -> Path:
        """Held while the corpus `name` is prepared, from its split to its encoded shards."""
        return self.root / ".locks" / f"{check_name(name)}.prepare"

    def training_lock(self, fingerprint: str) -> Path:
        """Held while a training that others may reuse is looked for, or trained."""
        return self.root / ".locks" / f"{fingerprint}.training"

    def registration_lock(self, name: str) -> Path:
        """Held while a version of the model `name` is registered."""
        return self.root / ".locks" / f"{check_name(name)}.registration"

    @property
    def mlflow_lock(self) -> Path:
        """Held while the tables of MLflow's database are made."""
        return self.root / ".locks" / "mlflow"

    @property
    def prefect_lock(self) -> Path:
        """Held while the first Prefect server of a workspace makes its database."""
        return self.root / ".locks" / "prefect"

    @property
    def prefect_ready(self) -> Path:
        """The version of Prefect that has made its database."""
        return self.prefect_home / "charlm-ready"

    def gate_lock(self, name: str) -> Path:
        """Held while the champion of the model `name` is decided on."""
        return self.root / ".locks" / f"{check_name(name)}.gate"

    @property
    def service(self) -> ServiceFiles:
        return ServiceFiles(self.root / "service")

    @property
    def inbox_dir(self) -> Path:
        """New text is dropped into its folders, one for each corpus."""
        return self.root / "inbox"

    @property
    def inbox_memory(self) -> Path:
        """What an inbox has held, so that no text is reported twice."""
        return self.root / "inbox.json"

    def texts_dir(self, name: str) -> Path:
        """Texts that every champion of the model `name` embeds."""
        return self.root / "to-embed" / check_name(name)

    def embeddings_dir(self, name: str, version: int) -> Path:
        """The embeddings that one version of a model gave to texts."""
        return self.root / "embeddings" / check_name(name) / f"version-{version}"

    @property
    def inbox_lock(self) -> Path:
        """Held while new text in an inbox is reported."""
        return self.root / ".locks" / "inbox"

    @property
    def demo_text(self) -> Path:
        """The interpreter's documentation, which the demo trains on."""
        return self.root / "demo" / "python-docs.jsonl"

    @property
    def temporary_dir(self) -> Path:
        """For temporary files, where the system has no place for them."""
        return self.root / ".tmp"

    @property
    def mlflow_db(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def mlflow_artifacts_dir(self) -> Path:
        return self.root / "mlartifacts"

    @property
    def prefect_home(self) -> Path:
        return self.root / ".prefect"


def check_name(name: str) -> str:
    """`name` when it can be a folder and a registered model; raises ConfigError otherwise."""
    if not _NAME.fullmatch(name) or len(name) > 100:
        raise ConfigError(f"a corpus name is up to 100 of the characters A-Z a-z 0-9 . _ -, got {name!r}")
    return name
