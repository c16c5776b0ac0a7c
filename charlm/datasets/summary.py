"""What a labelled corpus holds, shown and kept before a training, and what is surely wrong with it.

Example of what is shown:

    train  2 sentences, 7 tokens; labels: LOC 1, PER 1
           [Ann PER] saw [New York LOC]
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from charlm.data.corpus import Corpus
from charlm.data.sentence import Sentence, Token
from charlm.datasets.tag_schemes import looks_like_a_tag
from charlm.errors import DatasetError

_EXAMPLES = 3
_LONGEST_EXAMPLE = 100  # characters
_MOST_LABELS = 12  # that are shown


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """What one split holds."""

    sentences: int
    tokens: int
    labels: dict[str, int]
    """How often each label stands there, most frequent first."""

    examples: list[str]
    """The first sentences, with their labels."""

    def to_json(self) -> dict[str, Any]:
        return {
            "sentences": self.sentences,
            "tokens": self.tokens,
            "labels": self.labels,
            "examples": self.examples,
        }


@dataclass(frozen=True, kw_only=True)
class CorpusSummary:
    """What a corpus holds in the layer that is to be learned."""

    label_type: str
    splits: dict[str, SplitSummary]
    """By name: train, dev, test; only those that there are."""

    def to_json(self) -> dict[str, Any]:
        return {
            "label_type": self.label_type,
            "splits": {name: split.to_json() for name, split in self.splits.items()},
        }

    def lines(self) -> list[str]:
        """The summary for people."""
        lines = []
        for name, split in self.splits.items():
            shown = [f"{label} {count:,}" for label, count in list(split.labels.items())[:_MOST_LABELS]]
            if more := len(split.labels) - len(shown):
                shown.append(f"and {more:,} more")
            counts = ", ".join(shown) or "none"
            lines.append(f"{name:<5}  {split.sentences:,} sentences, {split.tokens:,} tokens; labels: {counts}")
            lines += [f"       {example}" for example in split.examples]
        return lines


def summarize(corpus: Corpus, label_type: str) -> CorpusSummary:
    """Sentences, tokens, labels with their counts, and three examples of each split."""
    splits = {"train": corpus.train, "dev": corpus.dev, "test": corpus.test}
    return CorpusSummary(
        label_type=label_type,
        splits={name: _summary_of(sentences, label_type) for name, sentences in splits.items() if sentences},
    )


def check_corpus(
    corpus: Corpus,
    label_type: str,
    task: Literal["tagger", "classifier"],
    summary: CorpusSummary,
    sampled: Collection[str] = (),
) -> None:
    """Raise DatasetError, in one line, for what no training can make sense of.

    Nothing labelled, data of the other task, one class only, or a dev or test split (but `sampled` ones) without any
    label that train has.
    """
    train = summary.splits.get("train")
    if train is None:
        raise DatasetError(f"the corpus {corpus.name} has no train sentences")
    if not train.labels:
        others = [layer for layer in corpus.label_types if layer != label_type]
        hint = f"; there are {', '.join(others)}" if others else ""
        raise DatasetError(f"no train sentence of {corpus.name} has a label in the layer {label_type!r}{hint}")
    labels = [label for sentence in corpus.train for label in sentence.get_labels(label_type)]
    of_texts = sum(isinstance(label.data_point, Sentence) for label in labels)
    if task == "tagger" and of_texts * 2 > len(labels):
        raise DatasetError(
            f"{corpus.name} has texts with classes, and a tagger learns labels of words; use classify-train"
        )
    if task == "classifier" and of_texts * 2 <= len(labels):
        raise DatasetError(
            f"{corpus.name} has sentences with labels of words, and a classifier learns classes of texts; use tag-train"
        )
    if task == "classifier":
        _check_classes(corpus, train)
    elif len(train.labels) == 1 and _covers_all_words(corpus.train, label_type):
        raise DatasetError(
            f"every word of {corpus.name} has the label {next(iter(train.labels))!r}; nothing can be learned"
        )
    for name in ("dev", "test"):
        split = summary.splits.get(name)
        if split is not None and name not in sampled and train.labels.keys().isdisjoint(split.labels):
            found = f"it has {_some(split.labels)}" if split.labels else "it has no label at all"
            raise DatasetError(
                f"the {name} split of {corpus.name} has none of the labels of train: {found}; "
                f"train has {_some(train.labels)}"
            )


def _check_classes(corpus: Corpus, train: SplitSummary) -> None:
    if len(train.labels) == 1:
        raise DatasetError(
            f"all texts of {corpus.name} have the class {next(iter(train.labels))!r}; a classifier needs at least two"
        )
    texts = [sentence.text for sentence in corpus.train]
    tags = sum(looks_like_a_tag(text) for text in texts) * 2 > len(texts)
    if tags:
        raise DatasetError(
            f"the texts of {corpus.name} are tags such as {texts[0]!r}: words and tags with commas between? "
            f"Write a tab between them, and use tag-train"
        )


def _covers_all_words(sentences: Sequence[Sentence], label_type: str) -> bool:
    def num_labelled(sentence: Sentence) -> int:
        return sum(isinstance(label.data_point, Token) for label in sentence.get_labels(label_type))

    return all(num_labelled(sentence) == len(sentence) for sentence in sentences)


def _summary_of(sentences: Sequence[Sentence], label_type: str) -> SplitSummary:
    counts = Counter(label.value for sentence in sentences for label in sentence.get_labels(label_type))
    return SplitSummary(
        sentences=len(sentences),
        tokens=sum(map(len, sentences)),
        labels=dict(counts.most_common()),
        examples=[_example(sentence, label_type) for sentence in sentences[:_EXAMPLES]],
    )


def _example(sentence: Sentence, label_type: str) -> str:
    """A sentence with its labels, in one line: `[Ann PER] sleeps`, or `spam: Buy now`."""
    labels = sentence.get_labels(label_type)
    classes = [label.value for label in labels if label.data_point is sentence]
    if classes:
        return _cut(f"{', '.join(classes)}: {sentence.text}")
    opening, closing = Counter[int](), dict[int, list[str]]()
    for label in labels:
        part = label.data_point
        first, last = (part.idx, part.idx) if isinstance(part, Token) else (part.tokens[0].idx, part.tokens[-1].idx)
        opening[first] += 1
        closing.setdefault(last, []).append(label.value)
    words = []
    for place, word in enumerate(sentence.words, 1):
        ends = "".join(f" {value}]" for value in closing.get(place, []))
        words.append("[" * opening[place] + word + ends)
    return _cut(" ".join(words))


def _cut(text: str) -> str:
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= _LONGEST_EXAMPLE else text[: _LONGEST_EXAMPLE - 1] + "…"


def _some(labels: Collection[str]) -> str:
    shown = ", ".join(list(labels)[:5])
    return shown + (" …" if len(labels) > 5 else "")
