"""ModelTrainer: trains a tagger or classifier on a corpus, with Flair's call and resumable to the bit.

Writes best-model.pt, final-model.pt and, if asked for, checkpoint.pt after every epoch; loss.tsv, weights.txt,
training.log and journal.jsonl (task_observer.py); dev.tsv and test.tsv, the predictions beside the truth.

The order of sentences is drawn from (seed, epoch) and dropout from torch's generator, whose state the checkpoint
holds: a training that was killed and goes on ends with the weights of an undisturbed one (equal machine and threads).
"""

import inspect
import os
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import xxhash
from torch import nn

from charlm.artifacts import TaskRunFiles
from charlm.config import TaskTrainingConfig
from charlm.data.corpus import Corpus
from charlm.data.sentence import Sentence
from charlm.embeddings.store import EmbeddingStore
from charlm.errors import CharLMWarning, DatasetError, RunError, TrainingInterruptedError
from charlm.evaluation.labels import EvaluationMetric
from charlm.malloc import keep_freed_memory
from charlm.models.downstream_model import Evaluation, TaskModel
from charlm.nn.precision import instruction_set, precision_notice, resolve_precision
from charlm.storage.locks import exclusive_lock
from charlm.trainers.downstream.checkpoint import TaskCheckpoint, TaskProgress, optimizer_part, restore_optimizer
from charlm.trainers.downstream.observer import open_task_files
from charlm.trainers.downstream.plateau import Plateau
from charlm.trainers.lm.checkpoint import random_state, set_random_state
from charlm.trainers.observer import Event, Observer, RewindableFile
from charlm.trainers.resources import translate_resource_errors

_TRAIN_EVENTS = 10
"""`train` events of an epoch."""
_WATCHED_WEIGHTS = 10
"""Weights of each parameter that weights.txt follows."""


@dataclass(frozen=True, kw_only=True)
class TaskTrainingResult:
    """What came out of a training."""

    test: Evaluation | None
    """Scores of the best model on the test sentences (of the last one without dev sentences); none without any."""

    dev_scores: list[float] = field(default_factory=list)
    """Score on the dev sentences after every epoch of this call."""

    epochs: int
    best_epoch: int
    seconds: float
    reason: str

    @property
    def test_score(self) -> float | None:
        return None if self.test is None else self.test.main_score

    def to_json(self) -> dict[str, Any]:
        return {
            "test": None if self.test is None else self.test.to_json(),
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "seconds": self.seconds,
            "reason": self.reason,
        }


class ModelTrainer:
    """Trains `model` on the train sentences of `corpus`, where it is: move the model to a GPU to train there.

    Args:
        model: a SequenceTagger or TextClassifier; it is trained in place.
        corpus: what to learn (train), to choose the best model by (dev), and to judge it with (test).
        optimizer: kind of update rule; `settings` of `train` reach it.
    """

    def __init__(
        self, model: TaskModel, corpus: Corpus, optimizer: type[torch.optim.Optimizer] = torch.optim.SGD
    ) -> None:
        self.model = model
        self.corpus = corpus
        self.optimizer = optimizer
        self._checkpoint: tuple[Path, TaskCheckpoint] | None = None

    @classmethod
    def load_checkpoint(
        cls,
        checkpoint: str | os.PathLike[str],
        corpus: Corpus,
        optimizer: type[torch.optim.Optimizer] = torch.optim.SGD,
    ) -> Self:
        """A trainer whose `train`, called with the same arguments, goes on where `checkpoint` was written."""
        path = Path(checkpoint)
        loaded = TaskCheckpoint.load(path)
        trainer = cls(loaded.restored_model(), corpus, optimizer)
        trainer._checkpoint = path.resolve(), loaded
        return trainer

    def train(
        self,
        base_path: str | os.PathLike[str],
        learning_rate: float = 0.1,
        mini_batch_size: int = 32,
        *,
        evaluation_metric: EvaluationMetric = EvaluationMetric.MICRO_F1_SCORE,
        checkpoint: bool = False,
        save_final_model: bool = True,
        observers: Iterable[Observer] = (),
        **settings: Any,
    ) -> TaskTrainingResult:
        """Train until the epochs are spent or the rate has annealed away; then the model is the best one.

        Ctrl-C ends it with TrainingInterruptedError after writing the model as it is.

        Args:
            base_path: folder for everything that the training leaves.
            learning_rate: rate to begin with.
            mini_batch_size: sentences of one optimizer step.
            evaluation_metric: what decides which model is best.
            checkpoint: write `checkpoint.pt` after every epoch, from which `load_checkpoint` goes on.
            save_final_model: write `final-model.pt` at the end.
            observers: told every event.
            settings: any other field of TaskTrainingConfig, such as `max_epochs`, `patience`, `anneal_factor`,
                `min_learning_rate`, `mini_batch_chunk_size`, `embeddings_storage_mode`.

        Raises DatasetError when there is nothing to learn from or a label is unknown to the model, RunError when the
        folder is in use, memory or disk is full, or the checkpoint is of another corpus or folder.
        """
        config = TaskTrainingConfig.from_json(
            {"learning_rate": learning_rate, "mini_batch_size": mini_batch_size, **settings}
        )
        files = TaskRunFiles(Path(base_path))
        run = _Run(
            self.model, self.corpus, config, files, self.optimizer, evaluation_metric, keep_checkpoint=checkpoint
        )
        if self._checkpoint is not None:
            origin, loaded = self._checkpoint
            if origin != files.checkpoint.resolve():
                raise RunError(f"{origin} goes on in its own folder; train with base_path={origin.parent}")
            run.restore(loaded)
        with (
            exclusive_lock(files.lock, busy=f"another training is writing to {files.root}; give a folder of its own"),
            translate_resource_errors(files.root, str(self.model.device)),
        ):
            written = open_task_files(files)
            run.observers = [*written, *observers]
            try:
                return run.train(None if self._checkpoint is None else self._checkpoint[1].files, save_final_model)
            finally:
                for observer in written:
                    observer.close()


class _Run:
    """One training: what `ModelTrainer.train` was asked for, and how far it has come."""

    def __init__(
        self,
        model: TaskModel,
        corpus: Corpus,
        config: TaskTrainingConfig,
        files: TaskRunFiles,
        optimizer: type[torch.optim.Optimizer],
        metric: EvaluationMetric,
        *,
        keep_checkpoint: bool,
    ) -> None:
        self.model = model
        self.config = config
        self.files = files
        self.metric = metric
        self.keep_checkpoint = keep_checkpoint
        self.observers: list[Observer] = []
        self.precision = resolve_precision(config.precision, model.device)
        self.precision_before: str | None = None
        self.train_sentences = [s for s in _train_sentences(corpus, config) if len(s)]
        if not self.train_sentences:
            raise DatasetError(f"the corpus {corpus.name} has no train sentences with words")
        self.splits = {"dev": [] if config.train_with_dev else corpus.dev, "test": corpus.test}
        self.targets = list(map(model.encode_labels, self.train_sentences))
        frozen = {id(weight) for part in model.embeddings.frozen_parts() for weight in part.parameters()}
        self.weights = {name: w for name, w in model.named_parameters() if id(w) not in frozen and w.requires_grad}
        self.optimizer = _new_optimizer(optimizer, list(self.weights.values()), config.learning_rate)
        self.progress = TaskProgress(plateau=Plateau(learning_rate=config.learning_rate))
        self.dev_scores: list[float] = []

    # ---- the run -----------------------------------------------------------------------------------------------

    def restore(self, checkpoint: TaskCheckpoint) -> None:
        """Go on from a checkpoint, whose model this is."""
        if checkpoint.corpus != self._corpus_fingerprint():
            raise RunError(
                "the checkpoint was written with other train sentences; give load_checkpoint the same corpus"
            )
        self.progress = checkpoint.progress
        self.precision_before = checkpoint.precision
        restore_optimizer(self.optimizer, checkpoint.optimizer)
        set_random_state(checkpoint.random_state, self.model.device)

    @keep_freed_memory()
    def train(self, resumed: dict[str, int] | None, save_final_model: bool) -> TaskTrainingResult:
        """Train to the end; `resumed` has the lengths that the files had where the training goes on."""
        for observer in self._growing():
            observer.rewind((resumed or {}).get(observer.path.name, 0))
        if resumed is None:
            torch.manual_seed(self.config.seed)
            for path in (self.files.best_model, self.files.final_model, self.files.checkpoint):
                path.unlink(missing_ok=True)
            self._emit("start", **self._start_facts())
        else:
            self._emit("resume", reason=f"goes on after epoch {self.progress.epoch}", **self._computing_facts())
        self._report_precision()
        for sentences in (self.train_sentences, *self.splits.values()):
            self.model.drop_embeddings(sentences, "none")  # those of other models can have the same names
        try:
            self._attach(self.train_sentences, in_bf16=self.precision == "bf16")
            while (reason := self._reason_to_end()) is None:
                self._train_epoch()
            if save_final_model:
                self.model.save(self.files.final_model)
            return self._finish(reason)
        except KeyboardInterrupt:
            if save_final_model:
                self.model.save(self.files.final_model)
            self._emit("interrupted", reason=f"stopped after {self.progress.epoch} whole epochs")
            again = f"; ModelTrainer.load_checkpoint({str(self.files.checkpoint)!r}, corpus) goes on"
            raise TrainingInterruptedError(
                f"the training in {self.files.root} was stopped after {self.progress.epoch} whole epochs"
                + (again if self.keep_checkpoint and self.progress.epoch else "")
            ) from None
        finally:
            for sentences in (self.train_sentences, *self.splits.values()):
                self.model.drop_embeddings(sentences, "none")

    def _reason_to_end(self) -> str | None:
        if self.progress.epoch >= self.config.max_epochs:
            return f"{self.config.max_epochs} epochs are done"
        if self.progress.plateau.learning_rate < self.config.min_learning_rate:
            return "the learning rate has annealed to nothing"
        return None

    def _train_epoch(self) -> None:
        progress, plateau = self.progress, self.progress.plateau
        rate = plateau.learning_rate
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        started = time.perf_counter()
        train_loss = self._read_sentences()
        seconds = time.perf_counter() - started
        progress.seconds += seconds
        progress.epoch += 1
        scores = {split: self._evaluate(split) for split in self._scored_splits()}
        if "dev" in scores:
            score, loss = scores["dev"].scores.value(self.metric), scores["dev"].loss
            self.dev_scores.append(score)
        else:
            score, loss = -train_loss, float("nan")
        is_best = plateau.step(score, loss, anneal_factor=self.config.anneal_factor, patience=self.config.patience)
        if is_best:
            progress.best_epoch = progress.epoch
            if "dev" in scores:
                self.model.save(self.files.best_model)
        self._emit(
            "epoch",
            epoch=progress.epoch,
            learning_rate=rate,
            bad_epochs=plateau.bad_epochs,
            train_loss=train_loss,
            seconds=seconds,
            best=is_best,
            **{split: evaluation.to_json() for split, evaluation in scores.items()},
        )
        self._emit("weights", epoch=progress.epoch, weights=self._watched_weights())
        if self.keep_checkpoint:
            self._save_checkpoint()

    def _scored_splits(self) -> list[str]:
        wanted = ("dev", "test") if self.config.monitor_test else ("dev",)
        return [split for split in wanted if self.splits[split]]

    def _attach(self, sentences: list[Sentence], *, in_bf16: bool = False) -> None:
        """Put the vectors that never change on the sentences, once for the whole training."""
        mode = self.config.embeddings_storage_mode
        for part in [] if mode == "none" else self.model.embeddings.frozen_parts():
            if waiting := [sentence for sentence in sentences if not part.is_on(sentence)]:
                store = EmbeddingStore(part.in_bf16() if in_bf16 else part)
                store.attach(waiting, self.model.device if mode == "gpu" else None)

    def _evaluate(self, split: str) -> Evaluation:
        self._attach(self.splits[split])
        return self.model.evaluate(
            self.splits[split],
            out_path=self.files.predictions(split),
            mini_batch_size=self.config.eval_batch_size,
            embedding_storage_mode=self.config.embeddings_storage_mode,
        )

    def _finish(self, reason: str) -> TaskTrainingResult:
        """Score the best model on the test sentences; without dev sentences the last one."""
        has_best = self.files.best_model.is_file()
        if has_best:
            best = type(self.model).load(self.files.best_model)
            self.model.load_state_dict(best.state_dict())
        test = None
        if self.splits["test"]:
            test = self._evaluate("test")
            kind = "best" if has_best else "last"
            self._emit("test", model=kind, table=test.detailed_results, **test.to_json())
        progress = self.progress
        self._emit("end", reason=reason, epoch=progress.epoch, seconds=progress.seconds)
        return TaskTrainingResult(
            test=test,
            dev_scores=self.dev_scores,
            epochs=progress.epoch,
            best_epoch=progress.best_epoch,
            seconds=progress.seconds,
            reason=reason,
        )

    # ---- an epoch ----------------------------------------------------------------------------------------------

    def _read_sentences(self) -> float:
        """Learn from every train sentence once; the mean loss of what is labelled."""
        self.model.train()
        nats, count = torch.zeros((), dtype=torch.float64, device=self.model.device), 0
        batches = list(self._batches())
        every = max(1, len(batches) // _TRAIN_EVENTS)
        for number, places in enumerate(batches, 1):
            self.optimizer.zero_grad(set_to_none=True)
            for chunk in _chunks(places, self.config.mini_batch_chunk_size):
                sentences = [self.train_sentences[place] for place in chunk]
                with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                    loss, labelled = self.model.forward_loss(sentences, [self.targets[place] for place in chunk])
                loss.backward()  # type: ignore[no-untyped-call]
                nats += loss.detach().double()
                count += labelled
                self.model.drop_embeddings(sentences, self.config.embeddings_storage_mode)
            nn.utils.clip_grad_norm_(self.weights.values(), self.config.max_grad_norm)
            self.optimizer.step()
            self.progress.step += 1
            if number % every == 0:
                mean = (nats / count).item()
                self._emit("train", epoch=self.progress.epoch + 1, share=number / len(batches), train_loss=mean)
        mean = (nats / count).item()
        if not np.isfinite(mean):
            raise RunError(f"the loss of epoch {self.progress.epoch + 1} is {mean}; lower the learning rate")
        return mean

    def _batches(self) -> Iterator[list[int]]:
        """The places of the sentences of each mini-batch of this epoch."""
        order = np.arange(len(self.train_sentences))
        if self.config.shuffle:
            np.random.default_rng([self.config.seed, self.progress.epoch]).shuffle(order)
        return _chunks(order.tolist(), self.config.mini_batch_size)

    # ---- reporting and checkpoints -----------------------------------------------------------------------------

    def _emit(self, kind: str, **facts: Any) -> None:
        event: Event = {"event": kind, "time": time.time(), "step": self.progress.step, **facts}
        for observer in self.observers:
            observer.on_event(event)

    def _report_precision(self) -> None:
        notice = precision_notice(
            self.config.precision, self.precision, self.model.device, before=self.precision_before
        )
        if notice is not None:
            warnings.warn(notice, CharLMWarning, stacklevel=2)
            self._emit("guard", reason=notice)

    def _start_facts(self) -> dict[str, Any]:
        return {
            "model": type(self.model).__name__,
            "label_type": self.model.label_type,
            "config": self.config.to_json(),
            "optimizer": type(self.optimizer).__name__,
            "evaluation_metric": self.metric.value,
            "parameters": sum(weight.numel() for weight in self.weights.values()),
            "sentences": {"train": len(self.train_sentences), **{name: len(s) for name, s in self.splits.items()}},
            **self._computing_facts(),
            "num_threads": torch.get_num_threads(),
        }

    def _computing_facts(self) -> dict[str, Any]:
        return {
            "device": str(self.model.device),
            "precision": self.precision,
            "instruction_set": instruction_set(self.model.device),
        }

    def _watched_weights(self) -> dict[str, dict[int, float]]:
        """For every parameter some of its weights, evenly spread, by their number."""
        watched = {}
        for name, weight in self.weights.items():
            flat = weight.detach().flatten()
            numbers = np.unique(np.linspace(0, len(flat) - 1, _WATCHED_WEIGHTS, dtype=np.int64)).tolist()
            watched[name] = dict(zip(numbers, flat[numbers].tolist(), strict=True))
        return watched

    def _growing(self) -> list[RewindableFile]:
        return [observer for observer in self.observers if isinstance(observer, RewindableFile)]

    def _save_checkpoint(self) -> None:
        TaskCheckpoint(
            model=self.model.to_part(),
            progress=self.progress,
            optimizer=optimizer_part(self.optimizer),
            random_state=random_state(self.model.device),
            corpus=self._corpus_fingerprint(),
            precision=self.precision,
            files={observer.path.name: observer.position() for observer in self._growing()},
        ).save(self.files.checkpoint)

    def _corpus_fingerprint(self) -> str:
        """Stands for the words and labels of the train sentences, in their order."""
        digest = xxhash.xxh3_128()
        for sentence, target in zip(self.train_sentences, self.targets, strict=True):
            digest.update("\t".join(sentence.words).encode())
            digest.update(target.numpy().tobytes())
        return digest.hexdigest()


def _new_optimizer(
    kind: type[torch.optim.Optimizer], weights: list[nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    """An optimizer over all weights, in one pass over them where its kind can do that."""
    fused: dict[str, Any] = {"fused": True} if "fused" in inspect.signature(kind).parameters else {}
    return kind(weights, lr=learning_rate, **fused)  # type: ignore[call-arg]


def _train_sentences(corpus: Corpus, config: TaskTrainingConfig) -> list[Sentence]:
    return [*corpus.train, *corpus.dev] if config.train_with_dev else list(corpus.train)


def _chunks(places: list[int], size: int | None) -> Iterator[list[int]]:
    size = size or len(places)
    for start in range(0, len(places), size):
        yield places[start : start + size]
