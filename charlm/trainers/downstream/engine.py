"""The training of a tagger or classifier, epoch by epoch.

The order of sentences is drawn from (seed, epoch) and dropout from torch's generator, whose state the checkpoint
holds: a training that was killed and resumed ends with the weights of an undisturbed one (same machine and threads).
"""

import math
import time
import warnings
from collections.abc import Iterable

import torch
from torch import nn

from charlm.artifacts import DownstreamRunFiles
from charlm.config import DownstreamTrainingConfig
from charlm.data.corpus import Corpus
from charlm.errors import CharLMWarning, RunError, TrainingInterruptedError
from charlm.malloc import keep_freed_memory
from charlm.models.downstream_model import DownstreamModel
from charlm.models.evaluation import metric_name
from charlm.nn.mixed_precision import MixedPrecision
from charlm.nn.precision import precision_notice, resolve_precision, resolve_training_precision
from charlm.trainers.computing import computing
from charlm.trainers.downstream.checkpoint import DownstreamCheckpoint, DownstreamProgress
from charlm.trainers.downstream.events import DownstreamObserver
from charlm.trainers.downstream.optimization import (
    layers_of,
    linear_rate,
    new_optimizer,
    optimizer_part,
    restore_optimizer,
    set_rate,
    trained_weights,
    unfreeze,
)
from charlm.trainers.downstream.options import TrainingOptions
from charlm.trainers.downstream.plateau import PlateauScheduler
from charlm.trainers.downstream.reporting import Reporter
from charlm.trainers.downstream.result import DownstreamTrainingResult
from charlm.trainers.downstream.scoring import SplitScorer
from charlm.trainers.downstream.train_set import TrainSet
from charlm.trainers.events import Computing
from charlm.trainers.lm.checkpoint import random_state, set_random_state
from charlm.trainers.observer import RewindableFile

_TRAIN_EVENTS = 10
"""`train` events of an epoch."""


class DownstreamEngine:
    """Trains one model in one folder.

    Args:
        model: trained in place, on the device where it is.
        corpus: train sentences to learn from, dev sentences to choose the best epoch, test sentences to score it.
        config: how it is trained.
        files: the run folder.
        options: how this training differs from the plain one.
        optimizer: kind of update rule.

    Raises DatasetError when there is nothing to learn from or a label is unknown to the model.
    """

    def __init__(
        self,
        model: DownstreamModel,
        corpus: Corpus,
        config: DownstreamTrainingConfig,
        files: DownstreamRunFiles,
        options: TrainingOptions,
        optimizer: type[torch.optim.Optimizer],
    ) -> None:
        self._model = model
        self._config = config
        self._files = files
        self._options = options
        self._precision = _precision_of(config, model)
        self._mixed = MixedPrecision(model.device, self._precision, loss_scale=256.0)  # of a sum
        self._precision_before: str | None = None
        self._train_set = TrainSet(corpus, model, config, options)
        sample = self._train_set.sample(options.monitor_train_sample)
        self._scorer = SplitScorer(model, corpus, sample, config, options, files)
        self._weights = trained_weights(model, model.embeddings.frozen_parts())
        self._optimizer = new_optimizer(
            optimizer,
            layers_of(self._weights.values(), model.embeddings.layer_groups()),
            config.learning_rate,
            options.optimizer_settings,
            layer_decay=options.layer_decay,
        )
        self._progress = DownstreamProgress(plateau=PlateauScheduler(learning_rate=config.learning_rate))
        self._reporter = Reporter((), self._progress)
        self._growing: list[RewindableFile] = []
        self._dev_scores: list[float] = []
        self._dev_losses: list[float] = []
        self._train_losses: list[float] = []

    # ---- the run -----------------------------------------------------------------------------------------------

    def restore(self, checkpoint: DownstreamCheckpoint) -> None:
        """Continue from a checkpoint, whose model this is."""
        if checkpoint.corpus != self._train_set.fingerprint():
            raise RunError(
                "the checkpoint was written with other train sentences; give load_checkpoint the same corpus"
            )
        self._progress = checkpoint.progress
        self._precision_before = checkpoint.precision
        self._mixed.restore(checkpoint.loss_scale)
        restore_optimizer(self._optimizer, checkpoint.optimizer)
        set_random_state(checkpoint.random_state, self._model.device)

    @keep_freed_memory()
    def train(
        self,
        observers: Iterable[DownstreamObserver],
        *,
        resumed: dict[str, int] | None = None,
    ) -> DownstreamTrainingResult:
        """Train to the end; `resumed` has the lengths of the files at the checkpoint that the training continues."""
        observers = list(observers)
        self._growing = [observer for observer in observers if isinstance(observer, RewindableFile)]
        self._reporter = Reporter(observers, self._progress)
        self._begin(resumed)
        try:
            self._scorer.attach(self._train_set.sentences, in_bf16=self._precision != "fp32")
            while (reason := self._reason_to_end()) is None:
                self._train_epoch()
            if self._options.save_final_model:
                self._model.save(self._files.final_model)
            return self._finish(reason)
        except KeyboardInterrupt:
            if self._options.save_final_model:
                self._model.save(self._files.final_model)
            done = f"stopped after {self._progress.epoch} whole epochs"
            self._reporter.note("interrupted", done)
            again = f"; ModelTrainer.load_checkpoint({str(self._files.checkpoint)!r}, corpus) goes on"
            raise TrainingInterruptedError(
                f"the training in {self._files.root} was {done}"
                + (again if self._options.checkpoint and self._progress.epoch else "")
            ) from None
        finally:
            unfreeze(self._optimizer, len(self._optimizer.param_groups))
            self._drop_all_embeddings()

    def _begin(self, resumed: dict[str, int] | None) -> None:
        """Bring the folder to where the training begins or continues."""
        for file in self._growing:
            file.rewind((resumed or {}).get(file.path.name, 0))
        if resumed is None:
            torch.manual_seed(self._config.seed)
            for path in (self._files.best_model, self._files.final_model, self._files.checkpoint):
                path.unlink(missing_ok=True)
            self._reporter.start(
                self._model,
                config=self._config.to_json(),
                optimizer=type(self._optimizer).__name__,
                metric=metric_name(self._options.metric),
                parameters=sum(weight.numel() for weight in self._weights.values()),
                sentences={"train": len(self._train_set), **{name: len(s) for name, s in self._scorer.splits.items()}},
                computing=self._computing(),
            )
        else:
            self._reporter.resume(self._computing())
        notice = precision_notice(
            self._config.precision, self._precision, self._model.device, before=self._precision_before
        )
        if notice is not None:
            warnings.warn(notice, CharLMWarning, stacklevel=2)
            self._reporter.note("guard", notice)
        self._drop_all_embeddings()  # those of other models can have the same names

    def _computing(self) -> Computing:
        return computing(self._model.device, self._precision)

    def _drop_all_embeddings(self) -> None:
        for sentences in (self._train_set.sentences, *self._scorer.splits.values()):
            self._model.drop_embeddings(sentences, "none")

    def _reason_to_end(self) -> str | None:
        if self._progress.epoch >= self._config.max_epochs:
            return f"{self._config.max_epochs} epochs are done"
        is_annealed = self._options.warmup_fraction is None
        if is_annealed and self._progress.plateau.learning_rate < self._config.lowest_learning_rate:
            return "the learning rate has annealed to nothing"
        return None

    def _finish(self, reason: str) -> DownstreamTrainingResult:
        """Score the best model on the test sentences; without dev sentences the last one."""
        has_best = self._restart_from_best()
        test = None
        if self._scorer.splits["test"]:
            test = self._scorer.score("test")
            self._reporter.test(test, model="best" if has_best else "last")
        self._reporter.end(reason)
        return DownstreamTrainingResult(
            test=test,
            dev_scores=self._dev_scores,
            train_losses=self._train_losses,
            dev_losses=self._dev_losses,
            epochs=self._progress.epoch,
            best_epoch=self._progress.best_epoch,
            seconds=self._progress.seconds,
            reason=reason,
        )

    def _restart_from_best(self) -> bool:
        """Give the model the weights of the best epoch; False where none was stored."""
        if not self._files.best_model.is_file():
            return False
        best = type(self._model).load(self._files.best_model)
        self._model.load_state_dict(best.state_dict())
        return True

    # ---- an epoch ----------------------------------------------------------------------------------------------

    def _train_epoch(self) -> None:
        progress, plateau = self._progress, self._progress.plateau
        rate = plateau.learning_rate
        set_rate(self._optimizer, rate)
        if self._options.gradual_unfreezing:
            unfreeze(self._optimizer, self._progress.epoch + 1)
        started = time.perf_counter()
        train_loss = self._learn()
        seconds = time.perf_counter() - started
        last_rate = self._optimizer.param_groups[0]["lr"]
        progress.seconds += seconds
        progress.epoch += 1
        self._train_losses.append(train_loss)
        scores = self._scorer.scores()
        if "dev" in scores:
            score, loss = scores["dev"].main_score, scores["dev"].loss
            self._dev_scores.append(score)
            self._dev_losses.append(loss)
        else:
            score, loss = -train_loss, float("nan")
        is_best = plateau.step(score, loss, anneal_factor=self._config.anneal_factor, patience=self._config.patience)
        if is_best:
            progress.best_epoch = progress.epoch
            if "dev" in scores and not self._options.use_final_model_for_eval:
                self._model.save(self._files.best_model)
        elif plateau.learning_rate < rate and self._options.anneal_with_restarts:
            self._restart_from_best()
        every = self._options.save_model_each_k_epochs
        if every and progress.epoch % every == 0:
            self._model.save(self._files.epoch_model(progress.epoch))
        self._reporter.epoch(rate=last_rate, train_loss=train_loss, seconds=seconds, best=is_best, scores=scores)
        self._reporter.weights(self._weights)
        if self._options.checkpoint:
            self._save_checkpoint()

    def _learn(self) -> float:
        """Learn from every train sentence once; the mean loss of what is labelled."""
        self._model.train()
        device = self._model.device
        nats, count = torch.zeros((), dtype=torch.float64, device=device), 0
        batches = self._train_set.batches(self._progress.epoch)
        every = max(1, len(batches) // _TRAIN_EVENTS)
        for number, batch in enumerate(batches, 1):
            self._optimizer.zero_grad(set_to_none=True)
            if self._options.warmup_fraction is not None:
                set_rate(self._optimizer, self._linear_rate(self._options.warmup_fraction))
            for chunk in self._train_set.chunks(batch):
                sentences = [self._train_set.sentences[place] for place in chunk]
                targets = [self._train_set.targets[place] for place in chunk]
                with self._mixed.autocast():
                    loss, labelled = self._model.forward_loss(sentences, targets)
                self._mixed.backward(loss)
                nats += loss.detach().double()
                count += labelled
                self._model.drop_embeddings(sentences, self._config.embeddings_storage_mode)
            self._mixed.step(self._optimizer, self._weights.values(), self._config.max_grad_norm)
            self._progress.step += 1
            if number % every == 0:
                self._reporter.part(number / len(batches), (nats / count).item())
        mean = (nats / count).item()
        if not math.isfinite(mean):
            raise RunError(f"the loss of epoch {self._progress.epoch + 1} is {mean}; lower the learning rate")
        return mean

    def _linear_rate(self, warmup_fraction: float) -> float:
        steps = self._config.max_epochs * self._train_set.num_batches
        step = self._progress.step
        return linear_rate(self._config.learning_rate, step, steps=steps, warmup_fraction=warmup_fraction)

    def _save_checkpoint(self) -> None:
        DownstreamCheckpoint(
            model=self._model.to_part(),
            progress=self._progress,
            optimizer=optimizer_part(self._optimizer),
            random_state=random_state(self._model.device),
            corpus=self._train_set.fingerprint(),
            precision=self._precision,
            loss_scale=self._mixed.state(),
            files={file.path.name: file.position() for file in self._growing},
        ).save(self._files.checkpoint)


def _precision_of(config: DownstreamTrainingConfig, model: DownstreamModel) -> str:
    """The precision to train in: only recurrent layers need fp16 on a GPU, transformers do better in bf16."""
    is_recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    resolve = resolve_training_precision if is_recurrent else resolve_precision
    return resolve(config.precision, model.device)
