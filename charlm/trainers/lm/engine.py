"""The one training engine: truncated back-propagation through time over shards, resumable to the bit.

Each shard is cut into `mini_batch_size` equal streams; state is carried from one sequence of a stream to the next and
starts at zero with every shard. Writes best-lm.pt, checkpoint.pt and, through observers, journal, table and log.

All randomness is either drawn from (seed, epoch, shard) or from torch's generator, whose state the checkpoint holds, so
a run that was killed and resumed ends with the weights of an undisturbed one (equal machine type and thread count).
"""

# T = sequence length in units, B = mini-batch size, R = rows of a shard, V = dictionary size

import math
import resource
import sys
import time
import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.artifacts import RunFiles
from charlm.config import TrainingConfig
from charlm.distributed.group import Team
from charlm.errors import CharLMWarning, CorpusError, ModelFileError, RunError, TrainingInterruptedError
from charlm.evaluation.language_model import score_encoded
from charlm.evaluation.scores import LMScore
from charlm.language_models.language_model import Hidden, LanguageModel
from charlm.malloc import keep_freed_memory
from charlm.nn.precision import instruction_set, precision_notice, resolve_precision
from charlm.text.corpus.encoding import encoded_info
from charlm.trainers.lm.checkpoint import Checkpoint, Progress, progress_values, random_state, set_random_state
from charlm.trainers.lm.optimization import (
    MIN_RATE_FACTOR,
    Budget,
    Stopwatch,
    build_optimizer,
    learning_rate_at,
)
from charlm.trainers.lm.text_corpus import ShardReader, TextCorpus
from charlm.trainers.observer import Event, Observer, RewindableFile
from charlm.trainers.resources import clear_resource_errors

SHORT_RUN_EVENTS = 200
"""`train` events of a run with a short budget."""
TRAIN_EVENT_CHARACTERS = 250_000
"""Characters from one `train` event to the next in a long run."""
MAX_SETBACKS = 2
"""Returns to an earlier checkpoint before a training whose loss explodes gives up."""
_SAMPLE_CHARACTERS = 200


class StopSignal:
    """How others ask a training to stop after the step it is in."""

    reason: str | None = None

    def request(self, reason: str) -> None:
        self.reason = self.reason or reason


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What came out of a training; scores are those of the best model."""

    valid: LMScore
    test: LMScore
    characters: int
    seconds: float
    reason: str

    @property
    def characters_per_second(self) -> float:
        return self.characters / max(self.seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        return {
            "valid": self.valid.to_json(),
            "test": self.test.to_json(),
            "characters": self.characters,
            "seconds": self.seconds,
            "characters_per_second": self.characters_per_second,
            "reason": self.reason,
        }


class TrainingEngine:
    """Trains one language model on one corpus.

    Args:
        model: its weights are trained in place, on the device where they are.
        corpus: what to read; its direction and dictionary must be the model's.
        config: how to train.
        files: the run folder that takes `best-lm.pt` and `checkpoint.pt`.
        observers: told every event; those that are RewindableFiles go back with the training on resume.
        stop: asked after every step whether to go on.
        team: the processes that train this model together; all but the first get no observers.
    """

    def __init__(
        self,
        model: LanguageModel,
        corpus: TextCorpus,
        config: TrainingConfig,
        files: RunFiles,
        *,
        observers: Iterable[Observer] = (),
        stop: StopSignal | None = None,
        team: Team = Team(),  # noqa: B008  # frozen
    ) -> None:
        self.model = model
        self.corpus = corpus
        self.config = config
        self.files = files
        self.observers = list(observers)
        self.stop = stop or StopSignal()
        self.team = team
        self.device = model.device
        self.precision = resolve_precision(config.precision, self.device)
        self.optimizer = build_optimizer(config, model)
        self.progress = Progress()
        self.units_per_epoch = corpus.trained_units(config.mini_batch_size)
        self.budget = Budget.of(config, characters_per_epoch=self.units_per_epoch)
        self._hidden: Hidden | None = None
        self._watch = Stopwatch()
        self._step_seconds = 0.0
        # Cross entropy since the last look at it; it stays on the device, as reading it would wait for a GPU.
        self._window = torch.zeros((), dtype=torch.float64, device=self.device)
        self._checkpoint_seconds = 0.0  # `progress.seconds` at the last checkpoint
        characters = min(self.budget.characters // SHORT_RUN_EVENTS, TRAIN_EVENT_CHARACTERS)
        self._train_event_steps = max(1, characters // (config.mini_batch_size * config.sequence_length))
        self._reported_share = 0.0
        self._window_started = (0, 0.0, 0.0)  # characters, seconds, seconds in steps at the last `train` event

    # ---- the run -----------------------------------------------------------------------------------------------

    @keep_freed_memory()
    def train(self, *, resume: bool = False) -> TrainingResult:
        """Train until the budget is spent, and score the best model.

        With `resume`, go on from `checkpoint.pt`. Raises TrainingInterruptedError after a checkpoint when asked to
        stop, RunError when the loss keeps exploding or the disk or memory is full, CorpusError when there is nothing
        to validate on.
        """
        reason = self._train(resume)
        with clear_resource_errors(self.files.root, str(self.device)):
            return self._score_best(reason)

    @keep_freed_memory()
    def follow(self, *, resume: bool = False) -> None:
        """Take the same steps as the first process of the team, which alone validates and writes files.

        Raises what `train` raises.
        """
        self._train(resume)

    def _train(self, resume: bool) -> str:
        """Train until the budget is spent; the reason why it ended."""
        for split, path in (("valid", self.corpus.valid), ("test", self.corpus.test)):
            if encoded_info(path, self.corpus.dictionary).units == 0:
                raise CorpusError(f"{self.corpus.files.root} has no {split} text; give that split a larger share")
        with clear_resource_errors(self.files.root, str(self.device)):
            if resume:
                checkpoint = Checkpoint.load(self.files.checkpoint)
                self._restore(checkpoint)
                reason = f"goes on after {self.progress.characters:,} characters"
                self._emit("resume", reason=reason, **self._computing_facts())
                self._report_precision(before=checkpoint.precision)
            else:
                for observer in self._rewindable():
                    observer.rewind(0)
                if not self.team.is_lead:
                    torch.manual_seed(self.config.seed + self.team.rank)  # other streams, other dropout
                self._emit("start", **self._start_facts())
                self._report_precision()
                self._save_checkpoint()
            reason = self._run()
            if self.progress.validated_characters < self.progress.characters:
                self._validate()
            self._save_checkpoint()
            if self._agree():  # the scores can take long; resuming goes on with them
                self._interrupt()
        return reason

    def _run(self) -> str:
        """Read shard after shard; the reason why it ended."""
        while True:
            try:
                return self._run_until_setback()
            except _LossExplodedError as error:
                self._step_back(str(error))

    def _run_until_setback(self) -> str:
        progress, batch = self.progress, self.config.mini_batch_size
        self._watch = Stopwatch(progress.seconds)
        self._window_started = (progress.characters, progress.seconds, self._step_seconds)
        with ShardReader(self.corpus, batch, seed=self.config.seed) as reader:
            shards = reader.read_from(progress.epoch, progress.split)
            while (reason := self._reason_to_end()) is None:
                self._read_shard(self._to_device(next(shards)))
        return reason

    def _reason_to_end(self) -> str | None:
        progress, config = self.progress, self.config
        if self._share_spent() >= 1:
            return "the budget is spent"
        if progress.rate_factor < MIN_RATE_FACTOR:
            return "the learning rate has annealed to nothing"
        without_gain = progress.characters - progress.best_characters
        if config.stop_characters is not None and without_gain >= config.stop_characters and progress.validations:
            return f"validation has not improved for {without_gain:,} characters"
        return None

    def _read_shard(self, streams: np.ndarray | Tensor) -> None:
        """Train on one shard from `progress.row` to its end, or to the end of the budget."""
        progress, config = self.progress, self.config
        self.model.train()
        last_row = len(streams) - 1  # the last row is only ever a target
        while progress.row < last_row:
            if self._reason_to_end() is not None:
                return
            share = self._share_spent()
            started = self._watch.seconds
            self._train_step(streams, last_row, share)
            self._step_seconds += self._watch.seconds - started
            should_stop = self._agree()
            if self._is_report_due():
                self._report_window()
            if config.validations is not None and self._share_spent() * config.validations >= progress.validations + 1:
                self._validate()
            if should_stop:
                self._interrupt()
            if progress.seconds - self._checkpoint_seconds >= 60 * config.checkpoint_minutes:
                self._save_checkpoint()
        self._end_shard()

    def _agree(self) -> bool:
        """Set the clock by the team's first process; true when any process was asked to stop."""
        self.progress.seconds, should_stop = self.team.agree(self._watch.seconds, self.stop.reason is not None)
        return should_stop

    def _end_shard(self) -> None:
        progress = self.progress
        self._hidden = None
        progress.row = 0
        progress.split += 1
        progress.splits_read += 1
        if progress.split == len(self.corpus.shards):
            progress.split, progress.epoch = 0, progress.epoch + 1
        if self.config.validations is None:
            self._validate()
        self._save_checkpoint()

    def _score_best(self, reason: str) -> TrainingResult:
        """Score the best model on both held-out texts."""
        if not self.files.best_lm.is_file():
            raise RunError(f"no validation of {self.files.root} gave a finite loss; lower the learning rate")
        best = LanguageModel.load_language_model(self.files.best_lm).to(self.device)
        result = TrainingResult(
            valid=score_encoded(best, self.corpus.valid, encoded_info(self.corpus.valid, self.corpus.dictionary)),
            test=score_encoded(best, self.corpus.test, encoded_info(self.corpus.test, self.corpus.dictionary)),
            characters=self.progress.characters,
            seconds=self.progress.seconds,
            reason=reason,
        )
        self._emit(
            "test", valid=result.valid.to_json(), test=result.test.to_json(), sample=_sample(best, self.config.seed)
        )
        self._emit(
            "end",
            state="finished",
            reason=reason,
            seconds=result.seconds,
            characters_per_second=result.characters_per_second,
            peak_memory_bytes=1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * self.team.size,
        )
        return result

    # ---- one step ----------------------------------------------------------------------------------------------

    def _train_step(self, streams: np.ndarray | Tensor, last_row: int, share: float) -> None:
        """One optimizer step on `gradient_accumulation` sequences (fewer at the end of the shard)."""
        progress, config = self.progress, self.config
        rate = learning_rate_at(config, min(1.0, share + 0.5 * self._step_share())) * progress.rate_factor
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        units = 0
        for _ in range(config.gradient_accumulation):
            length = min(self._sequence_length(), last_row - progress.row)
            if length == 0:
                break
            rows = _to_ids(streams[progress.row : progress.row + length + 1])  # (T + 1, B / processes)
            loss = self._loss(rows[:-1], rows[1:])
            (loss / config.gradient_accumulation).backward()  # type: ignore[no-untyped-call]
            progress.row += length
            units += length * config.mini_batch_size
            self._window += loss.detach().double() * (length * rows.shape[1])
        self.team.average_gradients(self.model.parameters())
        nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self.optimizer.step()
        progress.step += 1
        progress.characters += units
        progress.window_units += units

    def _loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross entropy of targets (T, B) after inputs (T, B); carries the state on."""
        with self._autocast():
            logits, _, hidden = self.model(inputs, self._hidden)  # (T, B, V)
        self._hidden = tuple(state.detach() for state in hidden) if isinstance(hidden, tuple) else hidden.detach()
        return F.cross_entropy(_at_least_fp32(logits.flatten(0, 1)), targets.flatten())

    def _autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def _sequence_length(self) -> int:
        config = self.config
        if config.grow_to_sequence_length is None:
            return config.sequence_length
        return max(
            config.sequence_length,
            min(config.sequence_length + self.progress.splits_read + 1, config.grow_to_sequence_length),
        )

    def _share_spent(self) -> float:
        return self.budget.progress(self.progress.characters, self.progress.seconds)

    def _step_share(self) -> float:
        """Share of the budget that one step spends, from what the steps so far have taken."""
        units = self.config.mini_batch_size * self.config.sequence_length * self.config.gradient_accumulation
        seconds = self.progress.seconds / max(self.progress.step, 1)
        return self.budget.progress(units, seconds)

    def _to_device(self, streams: np.ndarray) -> np.ndarray | Tensor:
        """This process's streams where they are read: a GPU takes all at once, in their small integers."""
        streams = streams[:, self.team.share(self.config.mini_batch_size)]
        if self.device.type == "cpu":
            return streams
        return torch.from_numpy(np.ascontiguousarray(streams)).to(self.device)

    # ---- reporting ---------------------------------------------------------------------------------------------

    def _emit(self, kind: str, **facts: Any) -> None:
        event: Event = {
            "event": kind,
            "time": time.time(),
            "step": self.progress.step,
            "characters": self.progress.characters,
            **facts,
        }
        for observer in self.observers:
            observer.on_event(event)

    def _start_facts(self) -> dict[str, Any]:
        return {
            "config": self.config.to_json(),
            "direction": self.model.direction,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "train_characters": self.corpus.num_units,
            "dictionary_size": len(self.corpus.dictionary),
            **self._computing_facts(),
            "num_threads": torch.get_num_threads(),
            "num_processes": self.team.size,
            "libraries": {"python": sys.version.split()[0], "torch": torch.__version__, "numpy": np.__version__},
        }

    def _computing_facts(self) -> dict[str, Any]:
        return {
            "device": str(self.device),
            "precision": self.precision,
            "instruction_set": instruction_set(self.device),
        }

    def _report_precision(self, *, before: str | None = None) -> None:
        notice = precision_notice(self.config.precision, self.precision, self.device, before=before)
        if notice is not None and self.team.is_lead:
            warnings.warn(notice, CharLMWarning, stacklevel=2)
            self._emit("guard", reason=notice)

    def _is_report_due(self) -> bool:
        if self.progress.step % self._train_event_steps == 0:
            return True
        # A budget in time can be short whatever it reads; its steps are not the same on any two machines anyway.
        has_time_budget = self.budget.seconds < math.inf
        return has_time_budget and self._share_spent() - self._reported_share >= 1 / SHORT_RUN_EVENTS

    def _report_window(self) -> None:
        """Emit `train` with the mean loss since the last one, after checking that it has not exploded."""
        progress = self.progress
        self._collect_window()
        loss = progress.window_nats / max(progress.window_units, 1)
        # Uniform guessing costs ln V; three times that is worse than knowing nothing.
        if not loss < 3 * math.log(max(len(self.corpus.dictionary), 3)):
            raise _LossExplodedError(f"the training loss became {loss:.4g} nats per character")
        progress.window_nats, progress.window_units, progress.train_loss = 0.0, 0, loss
        characters, seconds, step_seconds = self._window_started
        self._window_started = (progress.characters, progress.seconds, self._step_seconds)
        elapsed = max(progress.seconds - seconds, 1e-9)
        self._reported_share = share = self._share_spent()
        self._emit(
            "train",
            progress=share,
            epoch=progress.epoch,
            split=progress.split,
            loss=loss,
            bits_per_character=loss / math.log(2),
            learning_rate=self.optimizer.param_groups[0]["lr"],
            characters_per_second=(progress.characters - characters) / elapsed,
            seconds_left=progress.seconds * (1 - share) / max(share, 1e-9),
            waiting_share=max(0.0, 1 - (self._step_seconds - step_seconds) / elapsed),
        )

    def _collect_window(self) -> None:
        self.progress.window_nats += float(self.team.sum(self._window))
        self._window.zero_()

    def _validate(self) -> None:
        """Score the validation text, keep the model when it is the best so far, and anneal when it is stuck."""
        with self._watch.paused():
            self._score_validation()

    def _score_validation(self) -> None:
        """Let the team's first process score the validation text; all go by what it finds."""
        progress, config = self.progress, self.config
        score = None
        if self.team.is_lead:
            info = encoded_info(self.corpus.valid, self.corpus.dictionary)
            score = score_encoded(self.model, self.corpus.valid, info, max_units=config.validation_characters)
        loss = self.team.from_lead(math.nan if score is None else score.loss)
        progress.validations += 1
        progress.validated_characters = progress.characters
        is_best = loss < progress.best_loss
        has_improved = loss < progress.best_loss * (1 - 1e-4)  # the threshold of torch's and Flair's plateau
        if is_best:
            progress.best_loss, progress.best_characters = loss, progress.characters
        if score is not None:
            self._report_validation(score, is_best)
        if config.schedule == "plateau":
            progress.bad_validations = 0 if has_improved else progress.bad_validations + 1
            progress.patient_since = progress.characters if has_improved else progress.patient_since
            if self._is_stuck():
                progress.bad_validations, progress.patient_since = 0, progress.characters
                progress.rate_factor *= config.anneal_factor

    def _report_validation(self, score: LMScore, is_best: bool) -> None:
        if is_best:
            self.model.save(self.files.best_lm)
        self._emit(
            "validation",
            epoch=self.progress.epoch,
            split=self.progress.splits_read,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            train_loss=self.progress.train_loss,
            best=is_best,
            sample=_sample(self.model, self.config.seed),
            **{**score.to_json(), "held_out_characters": score.characters, "characters": self.progress.characters},
        )

    def _is_stuck(self) -> bool:
        """True when validation has been waiting for an improvement for longer than patience allows."""
        if self.config.patience_characters is not None:
            return self.progress.characters - self.progress.patient_since >= self.config.patience_characters
        return self.progress.bad_validations > self.config.patience

    # ---- stopping and going on ---------------------------------------------------------------------------------

    def _rewindable(self) -> list[RewindableFile]:
        return [observer for observer in self.observers if isinstance(observer, RewindableFile)]

    def _save_checkpoint(self) -> None:
        with self._watch.paused():
            self._write_checkpoint()

    def _write_checkpoint(self) -> None:
        """Let the team's first process write checkpoint.pt, with the states of all."""
        self._emit("checkpoint")
        self._collect_window()
        self._checkpoint_seconds = self.progress.seconds
        state = self._hidden
        states = None if state is None else list(state) if isinstance(state, tuple) else [state]
        hidden = None if states is None else [self.team.gather(state, dim=1) for state in states]
        random = {name: self.team.gather(state) for name, state in random_state(self.device).items()}
        if not self.team.is_lead:
            return
        Checkpoint(
            model=self.model.state_dict(),
            model_config=self.model.language_model_state().config.to_json(),
            dictionary=self.corpus.dictionary.to_json(),
            optimizer=self.optimizer.state_dict(),
            progress=progress_values(self.progress),
            hidden=hidden,
            random_state=random,
            config=self.config.to_json(),
            num_threads=torch.get_num_threads(),
            num_processes=self.team.size,
            precision=self.precision,
            files={observer.path.name: observer.position() for observer in self._rewindable()},
        ).save(self.files.checkpoint)

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Put everything back to where `checkpoint` was taken; raises ModelFileError when it is none of this run."""
        try:
            self._put_back(checkpoint)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            reason = " ".join(str(error).split())[:200]
            raise ModelFileError(f"{self.files.checkpoint} does not fit this run ({reason}); start anew") from error

    def _put_back(self, checkpoint: Checkpoint) -> None:
        free = {"recipe", "checkpoint_minutes"}
        if self.config.schedule == "plateau":  # no step of it depends on how long it will go on
            free |= {"max_epochs", "max_characters", "max_minutes"}
        now = self.config.to_json()
        changed = sorted(name for name in now.keys() - free if checkpoint.config.get(name) != now[name])
        if changed:
            raise RunError(
                f"{self.files.checkpoint} was trained with other settings ({', '.join(changed)}); start anew"
            )
        if checkpoint.num_processes != self.team.size:
            raise RunError(
                f"{self.files.checkpoint} was trained by num_processes={checkpoint.num_processes}, this is "
                f"{self.team.size}; go on with as many, or start anew"
            )
        self.model.load_state_dict(checkpoint.model)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.progress = checkpoint.restored_progress()
        self._checkpoint_seconds = self.progress.seconds
        self._window.zero_()
        states = [self.team.part(state, dim=1).to(self.device) for state in checkpoint.hidden or ()]
        self._hidden = None if not states else states[0] if len(states) == 1 else (states[0], states[1])
        random = {name: self.team.part(state) for name, state in checkpoint.random_state.items()}
        set_random_state(random, self.device)
        if self.device.type == "cpu":
            torch.set_num_threads(checkpoint.num_threads)  # another number of threads sums in another order
        for observer in self._rewindable():
            observer.rewind(checkpoint.files.get(observer.path.name, 0))

    def _interrupt(self) -> None:
        reason = self.stop.reason or "another process was asked to stop"
        self._save_checkpoint()
        if self.team.is_lead and not self.files.best_lm.is_file():
            self.model.save(self.files.best_lm)  # so that the run can be looked at; the next validation replaces it
        self._emit("interrupted", reason=reason)
        raise TrainingInterruptedError(reason)

    def _step_back(self, reason: str) -> None:
        """Go back to the last checkpoint with half the rate; raises RunError when that was tried often enough."""
        setbacks, factor = self.progress.setbacks + 1, self.progress.rate_factor / 2
        if setbacks > MAX_SETBACKS:
            self._emit("end", state="failed", reason=reason)
            raise RunError(
                f"{reason}, also after {MAX_SETBACKS} returns to the last checkpoint with half the rate; "
                f"lower learning_rate={self.config.learning_rate:g} or clip={self.config.clip:g}"
            )
        self._restore(Checkpoint.load(self.files.checkpoint))
        self.progress.setbacks, self.progress.rate_factor = setbacks, factor
        self._emit("guard", reason=f"{reason}: back to the last checkpoint with {factor:g} of the learning rate")
        self._save_checkpoint()


class _LossExplodedError(Exception):
    """The training loss is no number any more, or worse than guessing."""


def _at_least_fp32(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _to_ids(rows: np.ndarray | Tensor) -> Tensor:
    """Rows of small integers as int64 on their device."""
    return rows.long() if isinstance(rows, Tensor) else torch.from_numpy(rows.astype(np.int64))


def _sample(model: LanguageModel, seed: int) -> str:
    return model.generate_text(number_of_characters=_SAMPLE_CHARACTERS, temperature=0.8, seed=seed)[0].strip()
