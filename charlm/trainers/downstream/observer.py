"""The files that a training of a tagger or classifier writes while it runs.

Writes loss.tsv       a row per epoch
Writes weights.txt    `epoch <TAB> name <TAB> number <TAB> value`: some weights of every parameter, after every epoch
Writes training.log   what happened, for people
Writes journal.jsonl  every event but the weights, one JSON object a line
"""

import json
import math
import sys
import time

from charlm.artifacts import DownstreamRunFiles
from charlm.evaluation.labels import EvaluationValues
from charlm.trainers.downstream.events import DownstreamEvent
from charlm.trainers.downstream.options import TrainingOptions
from charlm.trainers.observer import RewindableFile

_COLUMNS = ("epoch", "step", "learning_rate", "bad_epochs", "train_loss")
_SPLIT_COLUMNS = ("loss", "accuracy", "micro_f1", "macro_f1")


class EpochTable(RewindableFile):
    """loss.tsv: a header and a row per epoch; a cell is empty where nothing was measured."""

    def on_event(self, event: DownstreamEvent) -> None:
        if event["event"] != "epoch":
            return
        if self._file.tell() == 0:
            names = [f"{split}_{column}" for split in ("dev", "test") for column in _SPLIT_COLUMNS]
            self.append("\t".join([*_COLUMNS, *names, "best"]))
        cells = [event["epoch"], event["step"], event["learning_rate"], event["bad_epochs"], event["train_loss"]]
        scores = [*_split_cells(event.get("dev")), *_split_cells(event.get("test"))]
        self.append("\t".join(map(_cell, [*cells, *scores, int(event["best"])])))


class WeightTable(RewindableFile):
    """weights.txt: the content of `weights` events."""

    def on_event(self, event: DownstreamEvent) -> None:
        if event["event"] != "weights":
            return
        for name, values in event["weights"].items():
            for number, value in values.items():
                self.append(f"{event['epoch']}\t{name}\t{number}\t{value:.6g}")


class DownstreamLog(RewindableFile):
    """training.log: what happened, for people."""

    def on_event(self, event: DownstreamEvent) -> None:
        text = describe(event)
        if text is not None:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
            for line in text.splitlines():
                self.append(f"{stamp}  {line}")


class DownstreamJournal(RewindableFile):
    """journal.jsonl: every event but the weights, which have a file of their own."""

    def on_event(self, event: DownstreamEvent) -> None:
        if event["event"] != "weights":
            self.append(json.dumps(event, ensure_ascii=False))


class DownstreamProgressLines:
    """The same lines as training.log on stderr, as they come."""

    def on_event(self, event: DownstreamEvent) -> None:
        text = describe(event)
        if text is not None:
            print(text, file=sys.stderr, flush=True)


RunFile = DownstreamJournal | EpochTable | WeightTable | DownstreamLog


def open_downstream_files(files: DownstreamRunFiles, options: TrainingOptions) -> list[RunFile]:
    """The observers that write a run folder, the journal first."""
    opened: list[RunFile] = [DownstreamJournal(files.journal)]
    if options.create_loss_file:
        opened.append(EpochTable(files.loss_tsv))
    if options.write_weights:
        opened.append(WeightTable(files.weights))
    if options.create_file_logs:
        opened.append(DownstreamLog(files.training_log))
    return opened


def describe(event: DownstreamEvent) -> str | None:
    """An event as text for people; None for an event that is not shown."""
    match event["event"]:
        case "start":
            splits = ", ".join(f"{count:,} {split}" for split, count in event["sentences"].items())
            return (
                f"{event['model']} for {event['label_type']}, {event['parameters']:,} parameters to learn, {splits} "
                f"sentences, {event['precision']} on {event['device']} ({event['instruction_set']}; kernel "
                f"{event['kernel']}), {event['num_threads']} thread(s)"
            )
        case "train":
            return f"epoch {event['epoch']:>4}  {event['share']:4.0%}  loss {event['train_loss']:.4f}"
        case "epoch":
            scores = (
                _score_text("train sample", event.get("train"))
                + _score_text("dev", event.get("dev"))
                + _score_text("test", event.get("test"))
            )
            return (
                f"epoch {event['epoch']:>4}  loss {event['train_loss']:.4f}{scores}  "
                f"rate {event['learning_rate']:g}  {event['bad_epochs']} bad epochs  {event['seconds']:.1f} s"
                f"{'  best' if event['best'] else ''}"
            )
        case "test":
            return f"test with the {event['model']} model:\n{event['table']}"
        case "resume" | "guard" | "interrupted" | "end":
            return f"{event['event']}: {event['reason']}"
    return None


def _score_text(split: str, scores: EvaluationValues | None) -> str:
    if scores is None:
        return ""
    return f"  {split} loss {_cell(scores['loss'])} micro F1 {scores['micro_f1']:.4f}"


def _split_cells(scores: EvaluationValues | None) -> list[float | None]:
    if scores is None:
        return [None] * len(_SPLIT_COLUMNS)
    return [scores["loss"], scores["accuracy"], scores["micro_f1"], scores["macro_f1"]]


def _cell(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
