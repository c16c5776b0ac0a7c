"""Sends the events of a training to its observers."""

import time
from collections.abc import Iterable, Mapping
from typing import Literal, TypedDict

import numpy as np
import torch
from torch import Tensor

from charlm.models.downstream_model import DownstreamModel
from charlm.models.evaluation import Evaluation
from charlm.trainers.downstream.checkpoint import DownstreamProgress
from charlm.trainers.downstream.events import (
    DownstreamEvent,
    DownstreamObserver,
    EpochEvent,
    NoteEvent,
    StartEvent,
    TestEvent,
)
from charlm.trainers.events import Computing

_WATCHED_WEIGHTS = 10
"""Weights of each parameter that weights.txt follows."""


class _Now(TypedDict):
    time: float
    step: int


class Reporter:
    """Sends the events of a training to observers; `progress` is read at every event."""

    def __init__(self, observers: Iterable[DownstreamObserver], progress: DownstreamProgress) -> None:
        self._observers = list(observers)
        self.progress = progress

    def start(
        self,
        model: DownstreamModel,
        *,
        config: Mapping[str, object],
        optimizer: str,
        metric: str,
        parameters: int,
        sentences: dict[str, int],
        computing: Computing,
    ) -> None:
        event: StartEvent = {
            **self._now(),
            "event": "start",
            "model": type(model).__name__,
            "label_type": model.label_type,
            "config": dict(config),
            "optimizer": optimizer,
            "evaluation_metric": metric,
            "parameters": parameters,
            "sentences": sentences,
            **computing,
            "num_threads": torch.get_num_threads(),
        }
        self._send(event)

    def part(self, share: float, train_loss: float) -> None:
        """A share of the epoch that is being trained is done."""
        epoch = self.progress.epoch + 1
        self._send({**self._now(), "event": "train", "epoch": epoch, "share": share, "train_loss": train_loss})

    def epoch(
        self, *, rate: float, train_loss: float, seconds: float, best: bool, scores: Mapping[str, Evaluation]
    ) -> None:
        event: EpochEvent = {
            "event": "epoch",
            "time": time.time(),
            "step": self.progress.step,
            "epoch": self.progress.epoch,
            "learning_rate": rate,
            "bad_epochs": self.progress.plateau.bad_epochs,
            "train_loss": train_loss,
            "seconds": seconds,
            "best": best,
        }
        if "dev" in scores:
            event["dev"] = scores["dev"].to_json()
        if "test" in scores:
            event["test"] = scores["test"].to_json()
        if "train" in scores:
            event["train"] = scores["train"].to_json()
        self._send(event)

    def weights(self, weights: Mapping[str, Tensor]) -> None:
        watched = {name: _watched(weight) for name, weight in weights.items()}
        self._send({**self._now(), "event": "weights", "epoch": self.progress.epoch, "weights": watched})

    def test(self, evaluation: Evaluation, *, model: Literal["best", "last"]) -> None:
        scores = evaluation.to_json()
        table = evaluation.detailed_results
        event: TestEvent = {**self._now(), "event": "test", "model": model, "table": table, **scores}
        self._send(event)

    def resume(self, computing: Computing) -> None:
        reason = f"goes on after epoch {self.progress.epoch}"
        self._send({**self._now(), "event": "resume", "reason": reason, **computing})

    def note(self, kind: Literal["guard", "interrupted"], reason: str) -> None:
        event: NoteEvent = {"event": kind, "time": time.time(), "step": self.progress.step, "reason": reason}
        self._send(event)

    def end(self, reason: str) -> None:
        event: NoteEvent = {
            "event": "end",
            "time": time.time(),
            "step": self.progress.step,
            "reason": reason,
            "epoch": self.progress.epoch,
            "seconds": self.progress.seconds,
        }
        self._send(event)

    def _now(self) -> _Now:
        return {"time": time.time(), "step": self.progress.step}

    def _send(self, event: DownstreamEvent) -> None:
        for observer in self._observers:
            observer.on_event(event)


def _watched(weight: Tensor) -> dict[int, float]:
    """Some weights of a parameter, evenly spread, by their number."""
    flat = weight.detach().flatten()
    numbers = np.unique(np.linspace(0, len(flat) - 1, _WATCHED_WEIGHTS, dtype=np.int64)).tolist()
    return dict(zip(numbers, flat[numbers].tolist(), strict=True))
