"""The one training engine: truncated back-propagation through time over shards, resumable to the bit.

Each shard is cut into `mini_batch_size` equal streams; state is carried from one sequence of a stream to the next and
starts at zero with every shard. Writes best-lm.pt, checkpoint.pt and, through observers, journal, table and log.

All randomness is either drawn from (seed, epoch, shard) or from torch's generator, whose state the checkpoint holds, so
a run that was killed and resumed ends with the weights of an undisturbed one (equal machine type and thread count).
"""

# B = mini-batch size, R = rows of a shard

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.distributed import ReduceOp

from charlm.artifacts import RunFiles
from charlm.config import TrainingConfig
from charlm.distributed.group import ProcessGroup
from charlm.errors import CorpusError, RunError, TrainingInterruptedError
from charlm.evaluation.scores import LMScore
from charlm.language_models.language_model import LanguageModel
from charlm.malloc import give_back_freed_memory, keep_freed_memory
from charlm.nn.precision import resolve_training_precision
from charlm.text.corpus.encoding import encoded_info
from charlm.trainers.events import Event
from charlm.trainers.lm.averaging import WeightAverage
from charlm.trainers.lm.bptt import ShardStreams, TruncatedBPTT
from charlm.trainers.lm.checkpoint import Checkpoint, Progress
from charlm.trainers.lm.gpu_memory import gpu_bytes
from charlm.trainers.lm.optimization import (
    MIN_RATE_FACTOR,
    Budget,
    Stopwatch,
    learning_rate_at,
    sequence_length_at,
    shortened_sequence_length,
)
from charlm.trainers.lm.reporting import LossExplodedError, Reporter, TrainingResult
from charlm.trainers.lm.resuming import load_checkpoint, restore_training, training_checkpoint
from charlm.trainers.lm.text_corpus import ShardReader, TextCorpus
from charlm.trainers.lm.validation import is_validation_due, reason_to_stop_early, score_best, validate
from charlm.trainers.observer import Observer
from charlm.trainers.resources import translate_resource_errors

MAX_ROLLBACKS = 2
"""Returns to an earlier checkpoint before a training whose loss explodes gives up."""


class StopSignal:
    """A request to stop a training after the step it is in."""

    reason: str | None = None

    def request(self, reason: str) -> None:
        self.reason = self.reason or reason

    def clear(self) -> None:
        self.reason = None


class TrainingEngine:
    """Trains one language model on one corpus.

    Args:
        model: its weights are trained in place, on the device where they are.
        corpus: what to read; its direction and dictionary must be the model's.
        config: how to train.
        files: the run folder that takes `best-lm.pt` and `checkpoint.pt`.
        observers: receive every event; those that are RewindableFiles go back to the checkpoint on resume.
        stop: checked after every step; cleared when the training has stopped for it.
        group: the processes that train this model together; all but the main process get no observers.
    """

    def __init__(
        self,
        model: LanguageModel,
        corpus: TextCorpus,
        config: TrainingConfig,
        files: RunFiles,
        *,
        observers: Iterable[Observer[Event]] = (),
        stop: StopSignal | None = None,
        group: ProcessGroup = ProcessGroup(),  # noqa: B008  # frozen
    ) -> None:
        self.model = model
        self.corpus = corpus
        self.config = config
        self.files = files
        self.stop = stop or StopSignal()
        self.group = group
        self.device = model.device
        self.precision = resolve_training_precision(config.precision, self.device)
        self.progress = Progress()
        self.units_per_epoch = corpus.trained_units(config.mini_batch_size)
        self.budget = Budget.of(
            config, units_per_epoch=self.units_per_epoch, characters_per_unit=corpus.characters_per_unit
        )
        self.bptt = TruncatedBPTT(model, config, group, self.precision)
        self.reporter = Reporter(observers, self.bptt, corpus, self.progress, self.budget)
        self._watch = Stopwatch()
        self._checkpoint_seconds = 0.0  # `progress.seconds` at the last checkpoint
        self.best_score: LMScore | None = None  # of the model in best-lm.pt, where this process has saved it

    # ---- the run -----------------------------------------------------------------------------------------------

    @keep_freed_memory()
    def train(self, *, resume: bool = False) -> TrainingResult:
        """Train until the budget is spent, and score the best model.

        With `resume`, go on from `checkpoint.pt`. Raises TrainingInterruptedError after a checkpoint when `stop` was
        requested, RunError when the loss keeps exploding or the disk or memory is full, CorpusError when there is
        nothing to validate on.
        """
        reason = self._train(resume)
        with _resource_errors(self):
            result = _scored(self, reason)
        self.group.barrier()
        return result

    @keep_freed_memory()
    def follow(self, *, resume: bool = False) -> None:
        """Take the same steps as the main process of the group, which alone validates and writes files.

        Raises what `train` raises.
        """
        self._train(resume)
        self.group.barrier()  # until the main process has its scores

    def _train(self, resume: bool) -> str:
        """Train until the budget is spent; the reason why it ended."""
        for split, path in (("valid", self.corpus.valid), ("test", self.corpus.test)):
            if encoded_info(path, self.corpus.dictionary).units == 0:
                raise CorpusError(f"{self.corpus.files.root} has no {split} text; give that split a larger share")
        with _resource_errors(self):
            if resume:
                checkpoint = load_checkpoint(self.files.checkpoint, self.group)
                self._restore(checkpoint)
                self.reporter.resume()
                self.reporter.precision(before=checkpoint.precision)
            else:
                for file in self.reporter.files:
                    file.rewind(0)
                if not self.group.is_main:
                    torch.manual_seed(self.config.seed + self.group.rank)  # other streams, other dropout
                self.reporter.start()
                self.reporter.precision()
                self._save_checkpoint()
            reason = self._run()
            if self.progress.validated_units < self.progress.units:
                self._validate()
            self._save_checkpoint()
            if self._is_stop_requested():  # the scores can take long; a resumed run starts with them
                self._interrupt()
        return reason

    def _run(self) -> str:
        """Read shard after shard; the reason why it ended."""
        while True:
            try:
                return self._run_until_rollback()
            except LossExplodedError as error:
                self._roll_back(str(error))

    def _run_until_rollback(self) -> str:
        progress = self.progress
        self._watch = Stopwatch(progress.seconds)
        self.reporter.restart_clock(self._watch.seconds)
        size, seed = self.config.mini_batch_size, self.config.seed
        with ShardReader(self.corpus, size, seed=seed, prepare=self.bptt.prepare) as reader:
            shards = reader.read_from(progress.epoch, progress.split)
            while (reason := self._reason_to_end()) is None:
                self._read_shard(self.bptt.load(next(shards)))
        return reason

    def _reason_to_end(self) -> str | None:
        if self._share_spent() >= 1:
            return "the budget is spent"
        if self.progress.rate_factor < MIN_RATE_FACTOR:
            return "the learning rate has annealed to nothing"
        return reason_to_stop_early(self.config, self.progress, self.corpus)

    # ---- a shard -----------------------------------------------------------------------------------------------

    def _read_shard(self, streams: ShardStreams) -> None:
        """Train on one shard (R, B) from `progress.row` to its end, or to the end of the budget."""
        progress, config = self.progress, self.config
        self.model.train()
        while progress.row < len(streams) - 1:
            if self._reason_to_end() is not None:
                return
            self._step(streams)
            should_stop = self._is_stop_requested()
            if self.reporter.is_train_due():
                progress.window_nats += self.bptt.take_nats()
                self.reporter.train(self.bptt.learning_rate, seconds=self._watch.seconds)
            if is_validation_due(config, progress, self._share_spent()):
                self._validate()
            if should_stop:
                self._interrupt()
            if progress.seconds - self._checkpoint_seconds >= 60 * config.checkpoint_minutes:
                self._save_checkpoint()
        self._end_shard()

    def _step(self, streams: ShardStreams) -> None:
        """One optimizer step."""
        progress, config = self.progress, self.config
        length = self._sequence_length()
        share = min(1.0, self._share_spent() + 0.5 * self._step_share(length))
        rate = learning_rate_at(config, share) * progress.rate_factor
        with self.reporter.steps.step():
            rows = self.bptt.step(
                streams,
                progress.row,
                sequence_length=length,
                learning_rate=rate * length / config.sequence_length if config.random_sequence_length else rate,
            )
        progress.step += 1
        progress.row += rows
        progress.units += rows * config.mini_batch_size
        progress.window_units += rows * config.mini_batch_size

    def _end_shard(self) -> None:
        progress, self.bptt.hidden = self.progress, None
        progress.row = 0
        progress.split += 1
        progress.splits_read += 1
        if progress.split == len(self.corpus.shards):
            progress.split, progress.epoch = 0, progress.epoch + 1
        if self.config.validations is None:
            self._validate()
        self._save_checkpoint()

    def _share_spent(self) -> float:
        return self.budget.progress(self.progress.units, self.progress.seconds)

    def _sequence_length(self) -> int:
        if self.config.min_steps is None:
            return sequence_length_at(self.config, self.progress.splits_read, self.progress.step)
        return shortened_sequence_length(self.config, 1 / self._step_share(self.config.sequence_length))

    def _step_share(self, sequence_length: int) -> float:
        """Share of the budget that one step takes, at the mean speed so far."""
        units = self.config.mini_batch_size * sequence_length * self.config.gradient_accumulation
        return self.budget.progress(units, self.progress.seconds * units / max(self.progress.units, 1))

    def _is_stop_requested(self) -> bool:
        """Set the clock by the main process; True when any process was asked to stop."""
        seconds = self._watch.seconds if self.group.is_main else 0.0
        values = torch.tensor([seconds, float(self.stop.reason is not None)], dtype=torch.float64)
        self.progress.seconds, should_stop = self.group.all_reduce(values, ReduceOp.MAX).tolist()
        return bool(should_stop)

    def _validate(self) -> None:
        bptt = self.bptt
        bptt.wait()
        give_back_freed_memory()
        with self._watch.paused(), nullcontext() if bptt.average is None else bptt.average.applied(self.model):
            validation = validate(self.model, self.corpus, self.config, self.progress, self.group)
            if validation.score is not None:
                if validation.is_best:
                    self.model.save(self.files.best_lm)
                    self.best_score = validation.score
                self.reporter.validation(validation.score, bptt.learning_rate, is_best=validation.is_best)
        self.group.barrier()  # the others wait here while the main process saves
        give_back_freed_memory()
        if bptt.average is None and self.progress.averaging_since >= 0:
            bptt.average = WeightAverage(self.model)

    # ---- stopping and going on ---------------------------------------------------------------------------------

    def _save_checkpoint(self) -> None:
        """Write checkpoint.pt in the main process, with the states of all."""
        self.bptt.wait()
        with self._watch.paused():
            self.reporter.checkpoint()
            self.progress.window_nats += self.bptt.take_nats()
            self._checkpoint_seconds = self.progress.seconds
            checkpoint = training_checkpoint(self.bptt, self.corpus, self.progress, self.reporter.files)
            if self.group.is_main:
                checkpoint.save(self.files.checkpoint)
            self.group.barrier()

    def _restore(self, checkpoint: Checkpoint) -> None:
        restore_training(checkpoint, self.files.checkpoint, self.bptt, self.progress, self.reporter.files)
        self._checkpoint_seconds = self.progress.seconds

    def _interrupt(self) -> None:
        reason = self.stop.reason or "another process was asked to stop"
        self.stop.clear()  # whoever trains on in this process starts without an old request
        self._save_checkpoint()
        if self.group.is_main and not self.files.best_lm.is_file():
            self.model.save(self.files.best_lm)  # so that the run can be looked at; the next validation replaces it
        self.reporter.interrupted(reason)
        raise TrainingInterruptedError(reason)

    def _roll_back(self, reason: str) -> None:
        """Go back to the last checkpoint with half the rate; raises RunError after MAX_ROLLBACKS attempts."""
        rollbacks, factor = self.progress.rollbacks + 1, self.progress.rate_factor / 2
        if rollbacks > MAX_ROLLBACKS:
            self.reporter.failed(reason)
            raise RunError(
                f"{reason}, also after {MAX_ROLLBACKS} returns to the last checkpoint with half the rate; "
                f"lower learning_rate={self.config.learning_rate:g} or clip={self.config.clip:g}"
            )
        self._restore(load_checkpoint(self.files.checkpoint, self.group))
        self.progress.rollbacks, self.progress.rate_factor = rollbacks, factor
        self.reporter.guard(f"{reason}: back to the last checkpoint with {factor:g} of the learning rate")
        self._save_checkpoint()


def _scored(engine: TrainingEngine, reason: str) -> TrainingResult:
    """Score the best model on both held-out texts."""
    give_back_freed_memory()
    progress = engine.progress
    best, valid, test = score_best(engine.files, engine.corpus, engine.device, engine.best_score)
    result = TrainingResult(
        valid=valid,
        test=test,
        characters=round(progress.units * engine.corpus.characters_per_unit),
        units=progress.units,
        seconds=progress.seconds,
        reason=reason,
    )
    engine.reporter.finished(result, best)
    return result


def _resource_errors(engine: TrainingEngine) -> AbstractContextManager[None]:
    needed = gpu_bytes(engine.config, len(engine.corpus.dictionary), num_processes=engine.group.world_size)
    return translate_resource_errors(engine.files.root, str(engine.device), needed=needed)
