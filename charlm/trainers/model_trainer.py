"""ModelTrainer: trains a tagger or classifier on a corpus, with Flair's call.

Writes best-model.pt, final-model.pt and, on request, checkpoint.pt after every epoch; loss.tsv, weights.txt,
training.log and journal.jsonl (downstream/observer.py); dev.tsv and test.tsv, the predictions beside the gold labels.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import torch

from charlm.artifacts import DownstreamRunFiles
from charlm.config import DownstreamTrainingConfig, StorageMode
from charlm.data.corpus import Corpus
from charlm.errors import RunError
from charlm.evaluation.labels import EvaluationMetric
from charlm.models.downstream_model import DownstreamModel
from charlm.storage.locks import exclusive_lock
from charlm.trainers.downstream.checkpoint import DownstreamCheckpoint
from charlm.trainers.downstream.engine import DownstreamEngine
from charlm.trainers.downstream.events import DownstreamObserver
from charlm.trainers.downstream.observer import DownstreamProgressLines, open_downstream_files
from charlm.trainers.downstream.options import TrainingOptions
from charlm.trainers.downstream.result import DownstreamTrainingResult
from charlm.trainers.resources import translate_resource_errors


class ModelTrainer:
    """Trains `model` on the train sentences of `corpus`, where it is: a new model is on a GPU where there is one.

    Args:
        model: a SequenceTagger or TextClassifier; it is trained in place.
        corpus: train sentences to learn from, dev sentences to choose the best model, test sentences to score it.
        optimizer: kind of update rule.
    """

    def __init__(
        self, model: DownstreamModel, corpus: Corpus, optimizer: type[torch.optim.Optimizer] = torch.optim.SGD
    ) -> None:
        self.model = model
        self.corpus = corpus
        self.optimizer = optimizer
        self._checkpoint: tuple[Path, DownstreamCheckpoint] | None = None

    @classmethod
    def load_checkpoint(
        cls,
        checkpoint: str | os.PathLike[str],
        corpus: Corpus,
        optimizer: type[torch.optim.Optimizer] = torch.optim.SGD,
    ) -> Self:
        """A trainer whose `train`, called with the same arguments, continues where `checkpoint` was written."""
        path = Path(checkpoint)
        loaded = DownstreamCheckpoint.load(path)
        model = loaded.restored_model()
        model.to_default_device()
        trainer = cls(model, corpus, optimizer)
        trainer._checkpoint = path.resolve(), loaded
        return trainer

    def train(
        self,
        base_path: str | os.PathLike[str],
        learning_rate: float = 0.1,
        mini_batch_size: int = 32,
        *,
        optimizer: type[torch.optim.Optimizer] | None = None,
        evaluation_metric: EvaluationMetric = EvaluationMetric.MICRO_F1_SCORE,
        observers: Iterable[DownstreamObserver] = (),
        show_progress: bool = True,
        **settings: object,
    ) -> DownstreamTrainingResult:
        """Train until all epochs are done or the rate has become too low; then the model is the best one.

        Ctrl-C ends it with TrainingInterruptedError after writing the model as it is.

        Args:
            base_path: folder for everything that the training writes.
            learning_rate: rate of the first epoch.
            mini_batch_size: sentences of one optimizer step.
            optimizer: kind of update rule; by default that of the trainer.
            evaluation_metric: the score that decides which model is best; `main_evaluation_metric` takes Flair's form.
            observers: receive every event.
            show_progress: write the lines of training.log to stderr too.
            settings: any field of DownstreamTrainingConfig (`max_epochs`, `patience`, `anneal_factor`, …) or
                TrainingOptions (`checkpoint`, `save_final_model`, `write_weights`, …), and settings of the optimizer.

        Raises DatasetError when there is nothing to learn from or a label is unknown to the model, RunError when the
        folder is in use, memory or disk is full, or the checkpoint is of another corpus or folder, ConfigError for a
        setting that does not exist.
        """
        kind = optimizer or self.optimizer
        arguments = {"metric": evaluation_metric, **settings}
        options = TrainingOptions.take(arguments, kind)
        config = DownstreamTrainingConfig.from_json(
            {"learning_rate": learning_rate, "mini_batch_size": mini_batch_size, **arguments}
        )
        files = DownstreamRunFiles(Path(base_path))
        engine = DownstreamEngine(self.model, self.corpus, config, files, options, kind)
        lengths = None if self._checkpoint is None else self._restore(engine, files)
        shown: list[DownstreamObserver] = [DownstreamProgressLines()] if show_progress else []
        with (
            exclusive_lock(files.lock, busy=f"another training is writing to {files.root}; give a folder of its own"),
            translate_resource_errors(files.root, str(self.model.device)),
        ):
            written = open_downstream_files(files, options)
            try:
                return engine.train([*written, *shown, *observers], resumed=lengths)
            finally:
                for observer in written:
                    observer.close()

    def fine_tune(
        self,
        base_path: str | os.PathLike[str],
        learning_rate: float = 5e-5,
        mini_batch_size: int = 4,
        *,
        max_epochs: int = 10,
        optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW,
        warmup_fraction: float = 0.1,
        eval_batch_size: int = 16,
        embeddings_storage_mode: StorageMode = "none",
        use_final_model_for_eval: bool = True,
        **settings: object,
    ) -> DownstreamTrainingResult:
        """Train with Flair's defaults for transformers: AdamW, a low rate that rises and then falls linearly to 0.

        The last model is the result. All other arguments are those of `train`.
        """
        return self.train(
            base_path,
            learning_rate,
            mini_batch_size,
            optimizer=optimizer,
            max_epochs=max_epochs,
            warmup_fraction=warmup_fraction,
            eval_batch_size=eval_batch_size,
            embeddings_storage_mode=embeddings_storage_mode,
            use_final_model_for_eval=use_final_model_for_eval,
            **settings,  # type: ignore[arg-type]
        )

    def _restore(self, engine: DownstreamEngine, files: DownstreamRunFiles) -> dict[str, int]:
        """Bring the engine to the loaded checkpoint; the lengths of the run's files there."""
        assert self._checkpoint is not None
        origin, loaded = self._checkpoint
        if origin != files.checkpoint.resolve():
            raise RunError(f"{origin} goes on in its own folder; train with base_path={origin.parent}")
        engine.restore(loaded)
        return loaded.files
