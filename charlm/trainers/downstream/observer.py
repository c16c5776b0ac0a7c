"""Observers of the training of a tagger or classifier.

Writes loss.tsv       a row per epoch
Writes weights.txt    `epoch <TAB> name <TAB> number <TAB> value`: some weights of every parameter, after every epoch
Writes training.log   the same for eyes
Writes journal.jsonl  every event, one JSON object a line
"""

import math
import time
from typing import Any

from charlm.artifacts import TaskRunFiles
from charlm.trainers.observer import Event, Journal, RewindableFile

_SPLIT_COLUMNS = ("loss", "accuracy", "micro_f1", "macro_f1")
_COLUMNS = ("epoch", "step", "learning_rate", "bad_epochs", "train_loss")


class EpochTable(RewindableFile):
    """loss.tsv: a header and a row per epoch; a cell is empty where nothing was measured."""

    def on_event(self, event: Event) -> None:
        if event["event"] != "epoch":
            return
        if self._file.tell() == 0:
            names = [f"{split}_{column}" for split in ("dev", "test") for column in _SPLIT_COLUMNS]
            self.append("\t".join([*_COLUMNS, *names, "best"]))
        scores = [event.get(split, {}).get(column) for split in ("dev", "test") for column in _SPLIT_COLUMNS]
        self.append("\t".join(map(_cell, [*(event[column] for column in _COLUMNS), *scores, int(event["best"])])))


class WeightTable(RewindableFile):
    """weights.txt: what `weights` events tell."""

    def on_event(self, event: Event) -> None:
        if event["event"] != "weights":
            return
        for name, values in event["weights"].items():
            for number, value in values.items():
                self.append(f"{event['epoch']}\t{name}\t{number}\t{value:.6g}")


class TaskLog(RewindableFile):
    """training.log: what a person wants to read afterwards."""

    def on_event(self, event: Event) -> None:
        text = describe(event)
        if text is not None:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
            for line in text.splitlines():
                self.append(f"{stamp}  {line}")


class TaskJournal(Journal):
    """journal.jsonl: every event but the weights, which have a file of their own."""

    def on_event(self, event: Event) -> None:
        if event["event"] != "weights":
            super().on_event(event)


def open_task_files(files: TaskRunFiles) -> list[TaskJournal | EpochTable | WeightTable | TaskLog]:
    """The observers of a run folder, the journal first."""
    return [
        TaskJournal(files.journal),
        EpochTable(files.loss_tsv),
        WeightTable(files.weights),
        TaskLog(files.training_log),
    ]


def describe(event: Event) -> str | None:
    """What a person reads of an event; none for one that only machines want."""
    kind = event["event"]
    if kind == "start":
        splits = ", ".join(f"{count:,} {split}" for split, count in event["sentences"].items())
        return (
            f"{event['model']} for {event['label_type']}, {event['parameters']:,} parameters to learn, {splits} "
            f"sentences, {event['precision']} on {event['device']} ({event['instruction_set']}), "
            f"{event['num_threads']} thread(s)"
        )
    if kind == "train":
        return f"epoch {event['epoch']:>4}  {event['share']:4.0%}  loss {event['train_loss']:.4f}"
    if kind == "epoch":
        scores = "".join(
            f"  {split} loss {_cell(event[split]['loss'])} micro F1 {event[split]['micro_f1']:.4f}"
            for split in ("dev", "test")
            if split in event
        )
        return (
            f"epoch {event['epoch']:>4}  loss {event['train_loss']:.4f}{scores}  rate {event['learning_rate']:g}  "
            f"{event['bad_epochs']} bad epochs  {event['seconds']:.1f} s{'  best' if event['best'] else ''}"
        )
    if kind == "test":
        return f"test with the {event['model']} model:\n{event['table']}"
    if kind in ("resume", "guard", "interrupted", "end"):
        return f"{kind}: {event['reason']}"
    return None


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
