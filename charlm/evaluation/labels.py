"""Scores of predicted labels against the true ones, kept as exact counts and divided once at the end.

Everything is computed from one table: how often each pair of a true and a predicted label occurs. A span that was not
predicted, or a predicted span that is not there, is paired with NOTHING, which is not a class of its own.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypedDict

from charlm.data.spans import spans_from_tags

NOTHING = ""


class ClassValues(TypedDict):
    """What `LabelScores.to_json` gives for one label."""

    precision: float
    recall: float
    f1: float
    count: int
    """Times that the label is true."""


class LabelValues(TypedDict):
    """What `LabelScores.to_json` gives."""

    accuracy: float
    micro_precision: float
    micro_recall: float
    micro_f1: float
    macro_f1: float
    items: int
    classes: dict[str, ClassValues]


class EvaluationValues(LabelValues):
    """The same with the mean loss, None where nothing could be measured."""

    loss: float | None


class EvaluationMetric(Enum):
    """The number that a training chooses its best model by."""

    MICRO_ACCURACY = "micro-average accuracy"
    MICRO_F1_SCORE = "micro-average f1-score"
    MACRO_ACCURACY = "macro-average accuracy"
    MACRO_F1_SCORE = "macro-average f1-score"


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """Counts of one label."""

    correct: int
    """Times that it was predicted and is true."""

    predicted: int
    """Times that it was predicted."""

    true: int
    """Times that it is true: the support."""

    @property
    def precision(self) -> float:
        return _share(self.correct, self.predicted)

    @property
    def recall(self) -> float:
        return _share(self.correct, self.true)

    @property
    def f1(self) -> float:
        return _share(2 * self.correct, self.predicted + self.true)

    @property
    def accuracy(self) -> float:
        """Share of the correct ones among all that are true or predicted (Jaccard index)."""
        return _share(self.correct, self.predicted + self.true - self.correct)

    def __add__(self, other: "ClassScore") -> "ClassScore":
        return ClassScore(
            correct=self.correct + other.correct,
            predicted=self.predicted + other.predicted,
            true=self.true + other.true,
        )


@dataclass(frozen=True, kw_only=True)
class LabelScores:
    """Exact counts over a labelled text; the quotients are properties. Two of them can be added."""

    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often a true label (first) was paired with a predicted one (second)."""

    items: int = 0
    """Number of tokens, or of texts where a text has the labels."""

    exact: int = 0
    """Items with exactly the true labels."""

    def __add__(self, other: "LabelScores") -> "LabelScores":
        return LabelScores(
            pairs=self.pairs + other.pairs, items=self.items + other.items, exact=self.exact + other.exact
        )

    # ---- numbers -----------------------------------------------------------------------------------------------

    @property
    def classes(self) -> dict[str, ClassScore]:
        """The score of every label that is true or predicted somewhere, by name."""
        true, predicted = Counter[str](), Counter[str]()
        for (gold, guess), count in self.pairs.items():
            true[gold] += count
            predicted[guess] += count
        return {
            name: ClassScore(correct=self.pairs[name, name], predicted=predicted[name], true=true[name])
            for name in sorted({*true, *predicted} - {NOTHING})
        }

    @property
    def total(self) -> ClassScore:
        """All labels as one: its precision, recall and F1 are the micro averages."""
        return sum(self.classes.values(), ClassScore(correct=0, predicted=0, true=0))

    @property
    def accuracy(self) -> float:
        """Share of the items with exactly the true labels."""
        return _share(self.exact, self.items)

    @property
    def micro_f1(self) -> float:
        return self.total.f1

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the labels, each counted once however frequent it is."""
        return self._mean("f1")

    def value(self, metric: EvaluationMetric) -> float:
        """The number that `metric` names."""
        match metric:
            case EvaluationMetric.MICRO_ACCURACY:
                return self.accuracy
            case EvaluationMetric.MICRO_F1_SCORE:
                return self.micro_f1
            case EvaluationMetric.MACRO_ACCURACY:
                return self._mean("accuracy")
            case EvaluationMetric.MACRO_F1_SCORE:
                return self.macro_f1

    def _mean(self, name: str) -> float:
        values = [getattr(score, name) for score in self.classes.values()]
        return _share(sum(values), len(values))

    # ---- for people and files ----------------------------------------------------------------------------------

    def table(self) -> str:
        """One line a label, whatever characters it has, then the averages."""
        shown = {name: "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name) for name in self.classes}
        width = max(map(len, [*shown.values(), "micro average", "macro average"]))
        header = f"{'label':<{width}}  precision  recall      f1   count"
        rows = [
            f"{name:<{width}}  {score.precision:9.4f}  {score.recall:6.4f}  {score.f1:6.4f}  {score.true:6d}"
            for name, score in [
                *((shown[name], score) for name, score in self.classes.items()),
                ("micro average", self.total),
            ]
        ]
        rows.append(
            f"{'macro average':<{width}}  {self._mean('precision'):9.4f}  {self._mean('recall'):6.4f}"
            f"  {self.macro_f1:6.4f}  {self.total.true:6d}"
        )
        return "\n".join([header, *rows, f"accuracy {self.accuracy:.4f} of {self.items}"])

    def to_json(self) -> LabelValues:
        return {
            "accuracy": self.accuracy,
            "micro_precision": self.total.precision,
            "micro_recall": self.total.recall,
            "micro_f1": self.micro_f1,
            "macro_f1": self.macro_f1,
            "items": self.items,
            "classes": {
                name: {"precision": score.precision, "recall": score.recall, "f1": score.f1, "count": score.true}
                for name, score in self.classes.items()
            },
        }

    def confusion(self) -> tuple[list[str], list[list[int]]]:
        """The labels, and a row for each true one: how often each label was predicted in its place.

        Where spans can be missed, the last label is NOTHING.
        """
        names = list(self.classes)
        if any(NOTHING in pair for pair in self.pairs):
            names.append(NOTHING)
        return names, [[self.pairs[gold, guess] for guess in names] for gold in names]


def score_labels(true: Iterable[str], predicted: Iterable[str]) -> LabelScores:
    """Scores where every item (a token, a text) has one label."""
    pairs = Counter(zip(true, predicted, strict=True))
    exact = sum(count for (gold, guess), count in pairs.items() if gold == guess)
    return LabelScores(pairs=pairs, items=pairs.total(), exact=exact)


def score_label_sets(true: Iterable[Collection[str]], predicted: Iterable[Collection[str]]) -> LabelScores:
    """Scores where every text has any number of labels."""
    pairs: Counter[tuple[str, str]] = Counter()
    items = exact = 0
    for gold, guess in zip(map(set, true), map(set, predicted), strict=True):
        items += 1
        exact += gold == guess
        pairs.update((name, name) for name in gold & guess)
        pairs.update((name, NOTHING) for name in gold - guess)
        pairs.update((NOTHING, name) for name in guess - gold)
    return LabelScores(pairs=pairs, items=items, exact=exact)


def score_spans(true: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]) -> LabelScores:
    """Scores of the spans in the tags of sentences: one counts only with exactly its words and its label.

    A true span and a predicted one with the same words and different labels meet in the table of confusions. The
    items, and so the accuracy, are tokens: their tags must be in the same scheme on both sides.
    """
    pairs: Counter[tuple[str, str]] = Counter()
    items = exact = 0
    for gold_tags, guessed_tags in zip(true, predicted, strict=True):
        items += len(gold_tags)
        exact += sum(gold == guess for gold, guess in zip(gold_tags, guessed_tags, strict=True))
        gold = {(start, stop): value for start, stop, value in spans_from_tags(gold_tags)}
        guessed = {(start, stop): value for start, stop, value in spans_from_tags(guessed_tags)}
        pairs.update((gold.get(place, NOTHING), guessed.get(place, NOTHING)) for place in gold.keys() | guessed.keys())
    return LabelScores(pairs=pairs, items=items, exact=exact)


def _share(part: float, whole: float) -> float:
    """The quotient, 0 where there is nothing to divide by."""
    return part / whole if whole else 0.0
