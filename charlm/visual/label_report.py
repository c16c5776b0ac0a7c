"""The sections of the report of a tagger or classifier: scores, confusions, the course of the training, hard sentences.

Each function makes one section from plain numbers and text.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from charlm.evaluation.labels import NOTHING, LabelScores
from charlm.visual.html_report import Section, Tile, escaped, heat_table, note, shown, table, tiles
from charlm.visual.svg_charts import Line, line_chart

_LABELS_SHOWN, _CONFUSIONS_SHOWN = 40, 16
_MISSED = "(none)"
_SCHEME = re.compile("^[BIES]-")
"""What a tag has before the label: where in a span its word stands."""


@dataclass(frozen=True)
class HardWord:
    """A word, or a whole text, with its true and its predicted label."""

    text: str
    true: str
    predicted: str

    @property
    def is_right(self) -> bool:
        return self.true == self.predicted


@dataclass(frozen=True)
class HardSentence:
    """A sentence that the model labels wrongly."""

    words: Sequence[HardWord]
    confidence: float
    """Of a tagger the lowest of its words, of a classifier that of the wrong label."""

    @property
    def num_wrong(self) -> int:
        return sum(not word.is_right for word in self.words)


def label_scores_section(scores: LabelScores) -> Section:
    """The averages as large numbers, then precision, recall and F1 of every label, the most frequent first."""
    numbers = [
        Tile("micro F1", f"{scores.micro_f1:.4f}", "all labels together"),
        Tile("macro F1", f"{scores.macro_f1:.4f}", "mean of the labels"),
        Tile("accuracy", f"{scores.accuracy:.4f}", f"of {scores.items:,} on test"),
    ]
    classes = sorted(scores.classes.items(), key=lambda item: -item[1].true)
    rows = [
        [name, f"{one.precision:.4f}", f"{one.recall:.4f}", f"{one.f1:.4f}", f"{one.true:,}"]
        for name, one in classes[:_LABELS_SHOWN]
    ]
    left_out = len(classes) - len(rows)
    more = note(f"{left_out:,} rarer labels are left out here.") if left_out else ""
    header = ("label", "precision", "recall", "F1", "count")
    return Section("Scores on test data", tiles(numbers) + table(header, rows) + more)


def confusion_section(scores: LabelScores) -> Section | None:
    """How often each label was predicted for each true one; none where there are no labels."""
    names, counts = scores.confusion()
    if not names:
        return None
    total = [sum(row) + sum(other[place] for other in counts) for place, row in enumerate(counts)]
    places = sorted(sorted(range(len(names)), key=lambda place: -total[place])[:_CONFUSIONS_SHOWN])
    chosen = [[counts[row][column] for column in places] for row in places]
    shares = [[count / max(sum(row), 1) for count in row] for row in chosen]
    labels = [names[place] if names[place] != NOTHING else _MISSED for place in places]
    text = "Rows are true labels, columns predicted ones; green is right, red is confused."
    if len(names) > len(places):
        text += f" The {len(places)} most frequent of {len(names)} labels."
    return Section("Confusions", note(text) + heat_table(labels, shares, chosen))


def epochs_section(scores: Sequence[tuple[int, float]], losses: Sequence[tuple[int, float]]) -> Section:
    """The score on dev sentences, and the loss on train sentences, epoch by epoch."""
    chart = line_chart([Line("dev", scores, "one")], x_label="epoch", y_label="micro F1 on dev data") if scores else ""
    chart += line_chart([Line("train", losses, "two")], x_label="epoch", y_label="loss on train data")
    return Section("Training", chart)


def hardest_section(sentences: Iterable[HardSentence], *, num: int = 8) -> Section:
    """The test sentences with most errors, and of these the surest ones: wrong words are marked with both labels."""
    wrong = [sentence for sentence in sentences if sentence.num_wrong]
    if not wrong:
        return Section("Hardest sentences", note("Every test sentence is labelled as it should be."))
    wrong.sort(key=lambda sentence: (-sentence.num_wrong, -sentence.confidence))
    items = "".join(f"<li>{_marked_errors(sentence)}</li>" for sentence in wrong[:num])
    text = (
        f"{len(wrong):,} test sentences have an error. Behind what is marked are its true label and the predicted one."
    )
    return Section("Hardest sentences", f"{note(text)}<ol>{items}</ol>")


def _marked_errors(sentence: HardSentence) -> str:
    """The words of a sentence; neighbours with the same error are marked together."""
    parts = []
    for error, words in groupby(sentence.words, _error):
        text = shown(" ".join(word.text for word in words))
        parts.append(f'<mark>{text}</mark> <span class="soft">{escaped(error)}</span>' if error else text)
    return " ".join(parts)


def _error(word: HardWord) -> str:
    """`person → (none)`; nothing where the label is right, and `other ends` where a span has other ends."""
    if word.is_right:
        return ""
    true, predicted = (_SCHEME.sub("", label) if label != "O" else "" for label in (word.true, word.predicted))
    return "other ends" if true == predicted else f"{true or _MISSED} → {predicted or _MISSED}"
