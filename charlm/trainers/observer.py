"""Observers: they receive the events of a training. The engine knows no tracker, no terminal and no plot.

Writes journal.jsonl   every event, one JSON object a line; trackers read it
Writes loss.tsv        a row per validation
Writes training.log    the same for people

What an event holds stands in events.py. On resume the files are rewound to where they stood at the checkpoint, so that
nothing is written twice.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from charlm.artifacts import RunFiles
from charlm.trainers.events import Event

EventT = TypeVar("EventT", contravariant=True)
"""What an observer takes: the events of one kind of training."""

LOSS_COLUMNS = (
    "step", "characters", "epoch", "split", "learning_rate", "train_loss",
    "loss", "perplexity", "bits_per_character", "bits_per_byte", "unk_rate", "best",
)  # fmt: skip


class Observer(Protocol[EventT]):
    """Receives every event of a training, in order."""

    def on_event(self, event: EventT) -> None: ...


class RewindableFile:
    """A text file that only grows, and can be truncated to its length at a checkpoint."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("ab")

    def append(self, line: str) -> None:
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def position(self) -> int:
        """The length of the file, all of it synced to the disk."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def rewind(self, position: int) -> None:
        self._file.truncate(min(position, self.path.stat().st_size))
        self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        self._file.close()


class Journal(RewindableFile):
    """journal.jsonl: every event."""

    def on_event(self, event: Mapping[str, object]) -> None:
        self.append(json.dumps(event, ensure_ascii=False))


class LossTable(RewindableFile):
    """loss.tsv: a header and a row per validation."""

    def on_event(self, event: Event) -> None:
        if event["event"] != "validation":
            return
        if self._file.tell() == 0:
            self.append("\t".join(LOSS_COLUMNS))
        values: Mapping[str, object] = event
        self.append("\t".join(_cell(values[column]) for column in LOSS_COLUMNS))


class TrainingLog(RewindableFile):
    """training.log: the events as lines for people."""

    def on_event(self, event: Event) -> None:
        text = describe(event)
        if text is not None:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
            self.append(f"{stamp}  {text}")


class ProgressLines:
    """The same lines as training.log on stderr, as they come."""

    def on_event(self, event: Event) -> None:
        text = describe(event)
        if text is not None:
            print(text, file=sys.stderr, flush=True)


def open_run_files(files: RunFiles) -> list[Journal | LossTable | TrainingLog]:
    """The three observers of a run folder, the journal first."""
    return [Journal(files.journal), LossTable(files.loss_tsv), TrainingLog(files.training_log)]


def describe(event: Event) -> str | None:
    """One line about an event for a person; none for an event that only machines read."""
    if event["event"] == "start":
        return (
            f"{event['direction']} language model, {event['parameters']:,} parameters, "
            f"{event['train_characters']:,} train characters, {event['dictionary_size']} in the dictionary, "
            f"{event['precision']} on {event['device']} ({event['instruction_set']}; kernel {event['kernel']}), "
            f"{event['num_threads']} thread(s)"
        )
    if event["event"] == "validation":
        return (
            f"step {event['step']:>7,}  {event['characters']:>13,} characters  "
            f"valid {_cell(event['bits_per_character'], 4)} bits per character "
            f"(perplexity {event['perplexity']:.3f}){'  best' if event['best'] else ''}"
        )
    if event["event"] == "test":
        valid, test = event["valid"]["bits_per_character"], event["test"]["bits_per_character"]
        unk_rate = event["test"]["unk_rate"]
        return f"best model: valid {_cell(valid, 4)}, test {_cell(test, 4)} bits per character, {unk_rate:.4%} <unk>"
    if event["event"] == "train" or event["event"] == "checkpoint":
        return None
    return f"{event['event']}: {event['reason']} (step {event['step']:,})"


def _cell(value: object, digits: int | None = None) -> str:
    """A value for people; with six digits, or with so many decimals. A score that there is not is `nan`."""
    if value is None:
        return "nan"
    if isinstance(value, bool):
        return str(int(value))
    if digits is not None:
        return f"{value:.{digits}f}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
