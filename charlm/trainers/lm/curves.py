"""training-curve.png: the score over the characters read, drawn after validations and at the end.

Reads  journal.jsonl
Writes training-curve.png   (where matplotlib is installed)
"""

import importlib.util
import json
import math
import time
from collections.abc import Sequence
from typing import Literal

from charlm.artifacts import RunFiles
from charlm.errors import decoration
from charlm.storage.atomic import atomic_write
from charlm.trainers.events import Event, TrainEvent, ValidationEvent

_TRAIN, _VALID, _RATE = "#9aa0a6", "#1a73e8", "#d93025"
_SECONDS_BETWEEN = 20.0  # a drawing takes half a second, which short trainings would spend most of their time on


class TrainingCurve:
    """Redraws the curve of a run after validations that are 20 seconds apart, and when the run ends."""

    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self._drawn = time.monotonic()

    def on_event(self, event: Event) -> None:
        is_due = time.monotonic() - self._drawn >= _SECONDS_BETWEEN
        if event["event"] in ("interrupted", "end") or (event["event"] == "validation" and is_due):
            with decoration(self._files.training_curve.name):
                draw_training_curve(self._files)
            self._drawn = time.monotonic()


def draw_training_curve(files: RunFiles) -> None:
    """Draw what the journal holds so far; nothing where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        return
    from matplotlib.figure import Figure

    journal = files.journal.read_bytes()  # text would be cut at U+2028 in a sample too
    events: list[Event] = [json.loads(line) for line in journal.splitlines()]
    train = [event for event in events if event["event"] == "train"]
    valid = [event for event in events if event["event"] == "validation"]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(*_points(train, "loss"), color=_TRAIN, linewidth=1, label="train")
    axes.plot(*_points(valid, "loss"), color=_VALID, marker="o", markersize=4, label="valid")
    best = [event for event in valid if event["best"]]
    if best:
        bits = best[-1]["loss"] / math.log(2)
        highest = max(event["loss"] for event in valid) / math.log(2)
        axes.set_title(f"{files.name}\nbest {bits:.3f} bits per unit on validation text", fontsize=10, parse_math=False)
        axes.set_ylim(bits * 0.9, max(bits * 1.1, min(highest * 1.5, max(8, bits * 2))))
    axes.set(xlabel="units read (millions)", ylabel="bits per unit")
    axes.grid(alpha=0.3)
    rates = axes.twinx()
    rates.plot(*_points(train, "learning_rate"), color=_RATE, linewidth=0.8, alpha=0.6, label="learning rate")
    rates.set_ylabel("learning rate", color=_RATE)
    curves = [*axes.get_lines(), *rates.get_lines()]
    axes.legend(curves, [str(line.get_label()) for line in curves], loc="upper right", frameon=False)
    with atomic_write(files.training_curve) as file:
        figure.savefig(file, format="png", dpi=110)


def _points(
    events: Sequence[TrainEvent] | Sequence[ValidationEvent], name: Literal["loss", "learning_rate"]
) -> tuple[list[float], list[float]]:
    """How much was read, and the values: losses in bits per unit (character, byte or word)."""
    factor = 1 / math.log(2) if name == "loss" else 1.0
    return [event["characters"] / 1e6 for event in events], [event[name] * factor for event in events]
