"""One training of a tagger or classifier, by charlm or by Flair: run as a child of downstream.py.

The same text, language models and settings on both sides; what is run is chosen by the interpreter.

Usage: python downstream_run.py JOB.json    writes JOB.result.json
"""

import json
import re
import sys
import time
from pathlib import Path
from typing import Any


def main(path: Path) -> None:
    job = json.loads(path.read_text())
    result = (train_with_flair if job["side"] == "flair" else train_with_charlm)(job)
    # Not getrusage: its peak counts the parent's memory, which a child has until it starts a program of its own.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    path.with_suffix(".result.json").write_text(json.dumps({**result, "peak_mb": int(peak[1]) / 1024}))


class Clock:
    """Processor seconds from one call to the next."""

    def __init__(self) -> None:
        self._last = time.process_time()

    def lap(self) -> float:
        now = time.process_time()
        elapsed, self._last = now - self._last, now
        return elapsed


def train_with_charlm(job: dict[str, Any]) -> dict[str, Any]:
    import torch

    from charlm.data import Corpus, Sentence
    from charlm.embeddings import DocumentRNNEmbeddings, FlairEmbeddings, StackedEmbeddings, WordEmbeddings
    from charlm.models import SequenceTagger, TextClassifier
    from charlm.trainers import ModelTrainer

    torch.set_num_threads(1)
    splits = {name: [labelled(Sentence(words), labels) for words, labels in part] for name, part in job["text"].items()}
    corpus = Corpus(**splits)
    torch.manual_seed(job["seed"])
    parts = [FlairEmbeddings(model) for model in job["models"]]
    if job["vectors"]:
        parts.append(WordEmbeddings(job["vectors"]))
    if job["task"] == "classifier":
        document = DocumentRNNEmbeddings(parts, hidden_size=job["hidden_size"])
        model = TextClassifier(document, corpus.make_label_dictionary("class"), "class")
    else:
        tags = corpus.make_tag_dictionary("tag")
        model = SequenceTagger(job["hidden_size"], StackedEmbeddings(parts), tags, "tag")
    laps: list[float] = []

    class Laps:
        def on_event(self, event: dict[str, Any]) -> None:
            if event["event"] == "start":
                clock.lap()
            elif event["event"] == "epoch":
                laps.append(clock.lap())

    clock = Clock()
    result = ModelTrainer(model, corpus, getattr(torch.optim, job["optimizer"])).train(
        job["folder"], seed=job["seed"], precision=job["precision"], observers=[Laps()], **job["settings"]
    )
    return {"seconds": laps, "score": result.test_score, "dev": result.dev_scores}


def train_with_flair(job: dict[str, Any]) -> dict[str, Any]:
    import flair
    import torch
    from flair.data import Corpus, Dictionary, Sentence
    from flair.embeddings import DocumentRNNEmbeddings, FlairEmbeddings, StackedEmbeddings
    from flair.models import SequenceTagger, TextClassifier
    from flair.trainers import ModelTrainer
    from flair.trainers.plugins import TrainerPlugin

    torch.set_num_threads(1)
    flair.device = torch.device("cpu")
    splits = {name: [labelled(Sentence(words), labels) for words, labels in part] for name, part in job["text"].items()}
    corpus = Corpus(**splits)
    flair.set_seed(job["seed"])
    parts = [FlairEmbeddings(model) for model in job["models"]]
    # Its own dictionary lacks the labels that stand in dev alone, on which it then fails.
    labels = Dictionary(add_unk=False)
    labels.span_labels = job["task"] == "spans"
    for label in job["labels"]:
        labels.add_item(label)
    if job["task"] == "classifier":
        document = DocumentRNNEmbeddings(parts, hidden_size=job["hidden_size"])
        model = TextClassifier(document, label_dictionary=labels, label_type="class")
    else:
        model = SequenceTagger(
            hidden_size=job["hidden_size"], embeddings=StackedEmbeddings(parts), tag_dictionary=labels, tag_type="tag"
        )
    laps: list[float] = []

    class Laps(TrainerPlugin):
        @TrainerPlugin.hook
        def after_setup(self, **_: Any) -> None:
            clock.lap()

        @TrainerPlugin.hook
        def after_evaluation(self, **_: Any) -> None:
            laps.append(clock.lap())

    clock = Clock()
    optimizer = getattr(torch.optim, job["optimizer"])
    result = ModelTrainer(model, corpus).train(job["folder"], optimizer=optimizer, plugins=[Laps()], **job["settings"])
    return {"seconds": laps, "score": result["test_score"]}


def labelled(sentence: Any, labels: Any) -> Any:
    """The sentence with its labels: of the whole (start and stop are none), or of the words from start to stop."""
    for start, stop, value in labels:
        if start is None:
            sentence.add_label("class", value)
        elif stop is None:
            sentence[start].add_label("tag", value)
        else:
            sentence[start:stop].add_label("tag", value)
    return sentence


if __name__ == "__main__":
    main(Path(sys.argv[1]))
