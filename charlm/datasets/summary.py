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
from charlm.data.spans import OUTSIDE, spans_of
from charlm.datasets.tag_schemes import looks_like_a_tag
from charlm.errors import DatasetError

_EXAMPLES = 3
_LONGEST_EXAMPLE = 73  # characters: with its indent a line of 80 columns
_RESERVED = frozenset(["<unk>", "<START>", "<STOP>"])
_FEWEST_TEXTS = 3  # that may all have different classes
_MOST_LABELS = 12  # that are shown


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """What one split holds."""

    sentences: int
    tokens: int
    labels: dict[str, int]
    """How often each label occurs, most frequent first."""

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

    notes: list[str]
    """What cannot be learned from the data, though the rest can: spans that overlap, labels that train lacks."""

    def to_json(self) -> dict[str, Any]:
        return {
            "label_type": self.label_type,
            "splits": {name: split.to_json() for name, split in self.splits.items()},
            "notes": self.notes,
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
        return lines + [f"! {note}" for note in self.notes]


def summarize(corpus: Corpus, label_type: str) -> CorpusSummary:
    """Sentences, tokens, labels with their counts, and three examples of each split."""
    sentences = {"train": corpus.train, "dev": corpus.dev, "test": corpus.test}
    splits = {name: _summary_of(split, label_type) for name, split in sentences.items() if split}
    notes = [note for name, split in sentences.items() if (note := _note_of_overlaps(name, split, label_type))]
    for name, split in splits.items():
        unseen = {label: count for label, count in split.labels.items() if label not in splits["train"].labels}
        if "train" in splits and unseen:
            shown = ", ".join(f"{label} {count:,}" for label, count in list(unseen.items())[:_MOST_LABELS])
            notes.append(f"{name} has labels that do not occur in train: {shown}")
    return CorpusSummary(label_type=label_type, splits=splits, notes=notes)


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
    if reserved := sorted(_RESERVED.intersection(train.labels)):
        raise DatasetError(f"{corpus.name} has the label {reserved[0]!r}, which models use for themselves; rename it")
    labels = [label for sentence in corpus.train for label in sentence.get_labels(label_type)]
    of_texts = sum(isinstance(label.data_point, Sentence) for label in labels)
    if of_texts * 2 > len(labels):
        _check_for_tags(corpus, train)
    if task == "tagger" and of_texts * 2 > len(labels):
        raise DatasetError(
            f"{corpus.name} has texts with classes, and a tagger learns labels of words; use classify-train"
        )
    if task == "classifier" and of_texts * 2 <= len(labels):
        raise DatasetError(
            f"{corpus.name} has sentences with labels of words, and a classifier learns classes of texts; use tag-train"
        )
    if task == "tagger":
        _check_values(corpus, train.labels)
    if task == "classifier":
        _check_classes(corpus, summary, sampled)
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


def _check_classes(corpus: Corpus, summary: CorpusSummary, sampled: Collection[str]) -> None:
    train = summary.splits["train"]
    whole = Counter[str]()
    for name in {"train", *sampled}.intersection(summary.splits):
        whole.update(summary.splits[name].labels)
    if len(whole) == 1:
        raise DatasetError(f"all texts of {corpus.name} have the class {min(whole)!r}; a classifier needs at least two")
    if len(train.labels) == 1:
        raise DatasetError(
            f"only the class {min(train.labels)!r} is left to train on after the {' and '.join(sorted(sampled))} texts "
            f"of {corpus.name} were drawn from train; add texts, or files for these splits"
        )
    if len(whole) == whole.total() > _FEWEST_TEXTS:
        raise DatasetError(
            f"each of the {len(whole)} texts of {corpus.name} has a class of its own, such as {train.examples[0]!r}; "
            f"if another column holds the class, name the columns, as --columns text,label"
        )


def _check_values(corpus: Corpus, labels: Collection[str]) -> None:
    """Raise DatasetError where the labels of spans, as JSON gives them, are tags of their words."""
    tags = [label for label in labels if label.startswith("B-") and f"I-{label[2:]}" in labels]
    if OUTSIDE in labels or tags:
        tag, meaning = (tags[0], "the beginning of a span") if tags else (OUTSIDE, "no label")
        raise DatasetError(
            f"{corpus.name} has the label {tag!r}, which means {meaning}; label whole spans, and only those"
        )


def _check_for_tags(corpus: Corpus, train: SplitSummary) -> None:
    """Raise DatasetError where texts or their classes are tags of spans, for then they are words of sentences."""
    texts = [sentence.text for sentence in corpus.train]
    for what, values in (("texts", texts), ("classes", list(train.labels))):
        tags = [value for value in values if looks_like_a_tag(value)]
        if len(tags) * 2 > len(values):
            raise DatasetError(
                f"the {what} of {corpus.name} are tags such as {tags[0]!r}: rows of words and their tags? "
                f"Write a word and its tag a line with a tab between, and use tag-train"
            )


def _covers_all_words(sentences: Sequence[Sentence], label_type: str) -> bool:
    def num_labelled(sentence: Sentence) -> int:
        return sum(isinstance(label.data_point, Token) for label in sentence.get_labels(label_type))

    return all(num_labelled(sentence) == len(sentence) for sentence in sentences)


def _note_of_overlaps(name: str, sentences: Sequence[Sentence], label_type: str) -> str | None:
    """What is lost because a tagger gives each word one tag: of spans that overlap it learns the first one."""
    lost, example = 0, ""
    for sentence in sentences:
        end = 0
        for start, stop, value in spans_of(sentence, label_type):
            if start < end:
                lost += 1
                example = example or f"{value} in {_example(sentence, label_type)}"
            end = max(end, stop)
    return f"{lost:,} spans of {name} overlap an earlier one and cannot be learned: {example}" if lost else None


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
