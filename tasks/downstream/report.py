"""report.html: one picture of a tagger or classifier, for people.

Reads  the journal and the predictions of the training
Writes report.html in the run folder; the registry adds it to the artifacts of the version's model
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.artifacts import DownstreamRunFiles
from charlm.errors import decoration
from charlm.storage.atomic import write_text
from charlm.visual import label_report
from charlm.visual.html_report import Section, facts, report_page, report_result
from charlm.visual.label_report import HardSentence, HardWord
from tasks.downstream.manifest import TrainingFacts

if TYPE_CHECKING:
    from charlm.evaluation.labels import LabelScores

_COLUMNS = 4  # of the files of predictions: text, true label, predicted label, confidence


def write_downstream_report(
    name: str, training: TrainingFacts, files: DownstreamRunFiles, scores: "LabelScores | None"
) -> None:
    """Write the report of a finished training; `scores` are those on the test data, where there is any."""
    with decoration("the report of the model"):
        title = f"{name}: a {training['task']} of {training['label_type']}"
        sentences = training["sentences"]
        embeddings = ", ".join([*training["language_models"], *training["vectors"]])
        score = "Not tested" if scores is None else f"Micro F1 {scores.micro_f1:.4f} on test data"
        sentence = f"{score}. Trained on {sentences['train']:,} sentences with the embeddings of {embeddings}."
        made = f"Made on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
        sections = list(_sections(training, files, scores))
        write_text(files.report, report_page(title, report_result(sentence), sections, about=made))


def _sections(training: TrainingFacts, files: DownstreamRunFiles, scores: "LabelScores | None") -> Iterator[Section]:
    if scores is not None:
        yield label_report.label_scores_section(scores)
        confusions = label_report.confusion_section(scores)
        if confusions is not None:
            yield confusions
    yield _epochs(files)
    if scores is not None and files.predictions("test").is_file():
        yield label_report.hardest_section(read_predictions(files.predictions("test"), training["task"]))
    settings: Mapping[str, object] = {
        "data": ", ".join(training["data"]),
        "sentences": ", ".join(f"{split} {number:,}" for split, number in training["sentences"].items()),
        "language models": ", ".join(training["language_models"]) or None,
        "word vectors": ", ".join(training["vectors"]) or None,
        **training["config"],
    }
    yield Section("Settings", facts(settings))


def _epochs(files: DownstreamRunFiles) -> Section:
    events = [json.loads(line) for line in files.journal.read_bytes().splitlines()]
    epochs = [event for event in events if event["event"] == "epoch"]
    return label_report.epochs_section(
        [(event["epoch"], event["dev"]["micro_f1"]) for event in epochs if "dev" in event],
        [(event["epoch"], event["train_loss"]) for event in epochs],
    )


def read_predictions(path: Path, task: str) -> list[HardSentence]:
    """The sentences of a file of predictions: of a tagger a line each word and an empty one between sentences."""
    content = path.read_text(encoding="utf-8")
    blocks = content.split("\n\n") if task == "tagger" else content.split("\n")
    sentences = []
    for block in blocks:
        rows = [row.rsplit("\t", _COLUMNS - 1) for row in block.split("\n") if row]
        rows = [row for row in rows if len(row) == _COLUMNS]
        if rows:
            words = [HardWord(text, true, predicted) for text, true, predicted, _ in rows]
            sentences.append(HardSentence(words, min(float(confidence) for *_, confidence in rows)))
    return sentences
