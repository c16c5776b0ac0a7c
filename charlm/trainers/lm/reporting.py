"""What a training reports: it turns the engine's progress into events and hands them to the observers."""

import math
import sys
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from charlm.errors import CharLMWarning, decoration
from charlm.evaluation.scores import LMScore
from charlm.language_models.language_model import LanguageModel
from charlm.malloc import peak_memory_bytes
from charlm.nn.precision import precision_notice
from charlm.trainers.computing import computing
from charlm.trainers.events import Computing, EndEvent, Event, LMMoment, TrainEvent
from charlm.trainers.lm.bptt import TruncatedBPTT
from charlm.trainers.lm.checkpoint import Progress
from charlm.trainers.lm.manifest import RunResult
from charlm.trainers.lm.optimization import Budget
from charlm.trainers.lm.step_timer import StepTimer
from charlm.trainers.lm.text_corpus import TextCorpus
from charlm.trainers.observer import Observer, RewindableFile

SHORT_RUN_EVENTS = 200
"""`train` events of a run with a short budget."""
TRAIN_EVENT_CHARACTERS = 250_000
"""Characters from one `train` event to the next in a long run."""
GPU_EVENT_SECONDS = 0.5
"""Seconds from one `train` event to the next on a GPU, at least."""
_SAMPLE_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training has produced; the scores are those of the best model."""

    valid: LMScore
    test: LMScore
    characters: int
    """Characters of the text that were read."""

    units: int
    """Units that were read."""

    seconds: float
    reason: str

    @property
    def units_per_second(self) -> float:
        return self.units / max(self.seconds, 1e-9)

    @property
    def characters_per_second(self) -> float:
        return self.characters / max(self.seconds, 1e-9)

    def to_json(self) -> RunResult:
        return {
            "valid": self.valid.to_json(),
            "test": self.test.to_json(),
            "characters": self.characters,
            "seconds": self.seconds,
            "characters_per_second": self.characters_per_second,
            "units_per_second": self.units_per_second,
            "reason": self.reason,
        }


class LossExplodedError(Exception):
    """The training loss is not a number any more, or worse than guessing."""


class Reporter:
    """Emits the events of one training.

    `progress` is read for every event, and gets the mean training loss of each `train` event.
    """

    def __init__(
        self,
        observers: Iterable[Observer[Event]],
        bptt: TruncatedBPTT,
        corpus: TextCorpus,
        progress: Progress,
        budget: Budget,
    ) -> None:
        self.observers = list(observers)
        self.steps = StepTimer(bptt.model.device)
        """Takes the time of optimizer steps."""

        self._bptt = bptt
        self._model = bptt.model
        self._is_on_gpu = bptt.model.device.type == "cuda"
        self._config = config = bptt.config
        self._corpus = corpus
        self._progress = progress
        self._budget = budget
        units = min(budget.units // SHORT_RUN_EVENTS, TRAIN_EVENT_CHARACTERS)
        self._steps_per_event = max(1, units // (config.mini_batch_size * config.sequence_length))
        self._reported_share = 0.0
        self._last = (0, 0.0)  # units and seconds at the last `train` event
        self._is_first = True
        self._due_after = 0.0  # `progress.seconds` before which a GPU is not asked for the loss again

    @property
    def files(self) -> list[RewindableFile]:
        """The observers that go back to the checkpoint with the training."""
        return [observer for observer in self.observers if isinstance(observer, RewindableFile)]

    def emit(self, event: Event) -> None:
        for observer in self.observers:
            observer.on_event(event)

    def moment(self) -> LMMoment:
        return {"time": time.time(), "step": self._progress.step, "characters": self._characters}

    @property
    def _characters(self) -> int:
        """Characters of the text that were read."""
        return round(self._progress.units * self._corpus.characters_per_unit)

    def sample(self, model: LanguageModel) -> str:
        """Text that `model` generates, equal for equal weights; none where that fails."""
        text, seed = "", self._config.seed
        with decoration("the sample of text"):
            text, _ = model.generate_text(number_of_characters=_SAMPLE_CHARACTERS, temperature=0.8, seed=seed)
        return text.strip()

    # ---- the run -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.emit(
            {
                "event": "start",
                **self.moment(),
                "config": self._config.to_json(),
                "direction": self._model.direction,
                "parameters": sum(parameter.numel() for parameter in self._model.parameters()),
                "train_characters": round(self._corpus.num_units * self._corpus.characters_per_unit),
                "dictionary_size": len(self._corpus.dictionary),
                **self._computing(),
                "num_threads": torch.get_num_threads(),
                "num_processes": self._bptt.group.world_size,
                "libraries": {"python": sys.version.split()[0], "torch": torch.__version__, "numpy": np.__version__},
            }
        )

    def resume(self) -> None:
        reason = f"goes on after {self._characters:,} characters"
        self.emit({"event": "resume", **self.moment(), "reason": reason, **self._computing()})

    def precision(self, *, before: str | None = None) -> None:
        """Warn where the training does not run in the requested precision, or not in the one `before`."""
        device = self._model.device
        notice = precision_notice(self._config.precision, self._bptt.precision, device, before=before)
        if notice is not None and self._bptt.group.is_main:
            warnings.warn(notice, CharLMWarning, stacklevel=2)
            self.guard(notice)

    def _computing(self) -> Computing:
        return computing(self._model.device, self._bptt.precision)

    def checkpoint(self) -> None:
        self.emit({"event": "checkpoint", **self.moment()})

    def interrupted(self, reason: str) -> None:
        self.emit({"event": "interrupted", **self.moment(), "reason": reason})

    def guard(self, reason: str) -> None:
        self.emit({"event": "guard", **self.moment(), "reason": reason})

    def failed(self, reason: str) -> None:
        self.emit({"event": "end", **self.moment(), "state": "failed", "reason": reason})

    def finished(self, result: TrainingResult, best: LanguageModel) -> None:
        """Emit the scores of the best model, and the end."""
        self.emit(
            {
                "event": "test",
                **self.moment(),
                "valid": result.valid.to_json(),
                "test": result.test.to_json(),
                "sample": self.sample(best),
            }
        )
        moment = self.moment()
        end: EndEvent = {
            "event": "end",
            "time": moment["time"],
            "step": moment["step"],
            "characters": moment["characters"],
            "state": "finished",
            "reason": result.reason,
            "seconds": result.seconds,
            "characters_per_second": result.characters_per_second,
            "units_per_second": result.units_per_second,
            "peak_memory_bytes": peak_memory_bytes() * self._bptt.group.world_size,
        }
        if self._is_on_gpu:
            end["peak_gpu_memory_bytes"] = torch.cuda.max_memory_reserved(self._model.device)
        self.emit(end)

    # ---- steps and validations ---------------------------------------------------------------------------------

    def restart_clock(self, seconds: float) -> None:
        """Count throughput from here, `seconds` after the training began: it begins, or resumes from a checkpoint."""
        self._last = (self._progress.units, seconds)
        self.steps.take()

    def is_train_due(self) -> bool:
        """Whether the mean loss is to be reported; all processes agree on it.

        Reading it waits for a GPU, so there it is read a few times a second at most, however fast the steps are.
        """
        if self._is_on_gpu and not self._is_first and self._progress.seconds < self._due_after:
            return False
        if self._progress.step % self._steps_per_event == 0:
            return True
        # A budget in time can be short whatever it reads; its steps are not the same on any two machines anyway.
        return self._budget.seconds < math.inf and self._share() - self._reported_share >= 1 / SHORT_RUN_EVENTS

    def train(self, learning_rate: float, *, seconds: float) -> None:
        """Emit `train` with the mean loss since the last one; raises LossExplodedError when it is hopeless.

        `seconds` is the present training time.
        """
        progress = self._progress
        self._is_first, self._due_after = False, progress.seconds + GPU_EVENT_SECONDS
        loss = progress.window_nats / max(progress.window_units, 1)
        # Uniform guessing costs ln V; three times that is worse than knowing nothing.
        if not loss < 3 * math.log(max(len(self._corpus.dictionary), 3)):
            raise LossExplodedError(
                f"the training loss became {loss:.4g} nats per {self._model.dictionary.unit_of.noun}"
            )
        progress.window_nats, progress.window_units, progress.train_loss = 0.0, 0, loss
        units, before = self._last
        elapsed, in_steps = max(seconds - before, 1e-9), self.steps.take()
        self.restart_clock(seconds)
        self._reported_share = share = self._share()
        moment = self.moment()
        event: TrainEvent = {
            "event": "train",
            "time": moment["time"],
            "step": moment["step"],
            "characters": moment["characters"],
            "progress": share,
            "epoch": progress.epoch,
            "split": progress.split,
            "loss": loss,
            "bits_per_character": loss / math.log(2) / self._corpus.characters_per_unit,
            "learning_rate": learning_rate,
            "characters_per_second": (progress.units - units) / elapsed * self._corpus.characters_per_unit,
            "units_per_second": (progress.units - units) / elapsed,
            "seconds_left": progress.seconds * (1 - share) / max(share, 1e-9),
            "waiting_share": max(0.0, 1 - in_steps / elapsed),
        }
        if self._config.min_steps is not None:
            event["sequence_length"] = self._bptt.sequence_length
        self.emit(event)

    def validation(self, score: LMScore, learning_rate: float, *, is_best: bool) -> None:
        self.emit(
            {
                "event": "validation",
                **self.moment(),
                "epoch": self._progress.epoch,
                "split": self._progress.splits_read,
                "learning_rate": learning_rate,
                "train_loss": self._progress.train_loss,
                "best": is_best,
                "sample": self.sample(self._model),
                **score.to_json(),
                "held_out_characters": score.characters,
                "characters": self._characters,
            }
        )

    def _share(self) -> float:
        return self._budget.progress(self._progress.units, self._progress.seconds)
