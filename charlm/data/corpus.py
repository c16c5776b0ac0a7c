"""Corpus: labelled sentences to train, choose and judge a model with, and the labels that stand in them."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Self

from charlm.data.dictionary import Dictionary
from charlm.data.sentence import Sentence, Token
from charlm.data.spans import OUTSIDE, spans_of, tags_of
from charlm.errors import DatasetError

_SAMPLED_SHARE = 0.1


class Corpus:
    """Three lists of sentences: `train`, `dev` to choose the best model, `test` to judge it.

    Args:
        train, dev, test: the sentences; a missing test, then a missing dev split is sampled: 10 % of what is in train,
            where that holds more than one sentence.
        name: what the corpus is called.
        sample_missing_splits: whether missing splits are sampled, or stay empty.
        random_seed: of the sampling; the same seed gives the same splits.

    Raises DatasetError when there is no sentence at all.
    """

    def __init__(
        self,
        train: Iterable[Sentence] | None = None,
        dev: Iterable[Sentence] | None = None,
        test: Iterable[Sentence] | None = None,
        name: str = "corpus",
        *,
        sample_missing_splits: bool = True,
        random_seed: int = 0,
    ) -> None:
        self.name = name
        self.train = list(train or [])
        if test is None and sample_missing_splits and len(self.train) > 1:
            test, self.train = _split(self.train, _SAMPLED_SHARE, random_seed)
        if dev is None and sample_missing_splits and len(self.train) > 1:
            dev, self.train = _split(self.train, _SAMPLED_SHARE, random_seed)
        self.dev = list(dev or [])
        self.test = list(test or [])
        if not len(self):
            raise DatasetError(f"the corpus {name} holds no sentence")

    def __len__(self) -> int:
        return len(self.train) + len(self.dev) + len(self.test)

    def __str__(self) -> str:
        return f"Corpus: {len(self.train)} train + {len(self.dev)} dev + {len(self.test)} test sentences"

    def get_all_sentences(self) -> Iterator[Sentence]:
        """The sentences of all splits: train, dev, test."""
        return chain(self.train, self.dev, self.test)

    def downsample(
        self,
        percentage: float = 0.1,
        downsample_train: bool = True,
        downsample_dev: bool = True,
        downsample_test: bool = True,
        random_seed: int = 0,
    ) -> Self:
        """Keep a random share of each chosen split, at least one sentence of each; returns the corpus itself."""
        if not 0 < percentage <= 1:
            raise DatasetError(f"the share to keep must be above 0 and at most 1, got {percentage}")
        if downsample_train:
            self.train = _split(self.train, percentage, random_seed)[0]
        if downsample_dev:
            self.dev = _split(self.dev, percentage, random_seed)[0]
        if downsample_test:
            self.test = _split(self.test, percentage, random_seed)[0]
        return self

    # ---- labels ------------------------------------------------------------------------------------------------

    def make_tag_dictionary(self, tag_type: str) -> Dictionary:
        """The tags that a tagger of the layer `tag_type` chooses from: `O`, then in the order of the text.

        A layer of spans gives all four BIOES tags of each value. Raises DatasetError when nothing has such a label.
        """
        self._check_label_type(tag_type)
        dictionary = Dictionary(add_unk=False)
        dictionary.add_item(OUTSIDE)
        for sentence in self.get_all_sentences():
            spans = spans_of(sentence, tag_type)
            for _, _, value in spans:
                for prefix in "SBIE":
                    dictionary.add_item(f"{prefix}-{value}")
            if not spans:
                for tag in tags_of(sentence, tag_type):
                    dictionary.add_item(tag)
        return dictionary

    def make_label_dictionary(self, label_type: str | None = None, *, add_unk: bool = False) -> Dictionary:
        """The values of the layer `label_type` in train, most frequent first.

        Without `label_type` it is the only layer that there is. Tokens without a label count as `O` where the layer
        labels tokens. Raises DatasetError when nothing has such a label, or when a layer must be chosen.
        """
        label_type = self._check_label_type(label_type)
        counts: Counter[str] = Counter()
        for sentence in self.train:
            labels = sentence.get_labels(label_type)
            counts.update(label.value for label in labels)
            if any(isinstance(label.data_point, Token) for label in labels):
                counts[OUTSIDE] += len(sentence) - len(labels)
        dictionary = Dictionary(add_unk=add_unk)
        for value, count in counts.most_common():
            if count:
                dictionary.add_item(value)
        return dictionary

    @property
    def label_types(self) -> list[str]:
        """The layers of labels that some sentence has."""
        return list(dict.fromkeys(layer for sentence in self.get_all_sentences() for layer in sentence.label_types))

    def _check_label_type(self, label_type: str | None) -> str:
        """`label_type`, or the only one there is; DatasetError names those that could be meant."""
        if label_type is not None and any(sentence.get_labels(label_type) for sentence in self.get_all_sentences()):
            return label_type
        found = self.label_types
        if label_type is None and len(found) == 1:
            return found[0]
        layers = f"has the layers {', '.join(found)}" if found else "has no labels at all"
        asked = "name the label type" if label_type is None else f"nothing is labelled {label_type!r}"
        raise DatasetError(f"{asked}: the corpus {self.name} {layers}")

    # ---- statistics --------------------------------------------------------------------------------------------

    def obtain_statistics(self, label_type: str | None = None, pretty_print: bool = True) -> str | dict[str, Any]:
        """What each split holds, as JSON text or (without `pretty_print`) as a dict.

        Labels are counted in the layer `label_type`, or in all.
        """
        splits = {"TRAIN": self.train, "DEV": self.dev, "TEST": self.test}
        statistics = {name: _statistics(sentences, label_type) for name, sentences in splits.items()}
        return json.dumps(statistics, indent=4, ensure_ascii=False) if pretty_print else statistics


class MultiCorpus(Corpus):
    """Several corpora as one: their splits one after the other.

    Example: `MultiCorpus([UD_ENGLISH(), UD_GERMAN()])`.
    """

    def __init__(self, corpora: Sequence[Corpus], name: str = "multicorpus") -> None:
        self.corpora = list(corpora)
        super().__init__(
            chain.from_iterable(corpus.train for corpus in self.corpora),
            chain.from_iterable(corpus.dev for corpus in self.corpora),
            chain.from_iterable(corpus.test for corpus in self.corpora),
            name,
        )

    def __str__(self) -> str:
        parts = "".join(f"\n - {corpus.name}: {corpus}" for corpus in self.corpora)
        return f"Multi{super().__str__()}{parts}"


def _split(sentences: list[Sentence], share: float, random_seed: int) -> tuple[list[Sentence], list[Sentence]]:
    """A random share of the sentences (at least one, where there is one) and the others, both in their order."""
    size = max(1, round(len(sentences) * share)) if sentences else 0
    chosen = set(random.Random(random_seed).sample(range(len(sentences)), size))
    return (
        [sentence for place, sentence in enumerate(sentences) if place in chosen],
        [sentence for place, sentence in enumerate(sentences) if place not in chosen],
    )


def _statistics(sentences: list[Sentence], label_type: str | None) -> dict[str, Any]:
    if not sentences:
        return {}
    lengths = [len(sentence) for sentence in sentences]
    labels = [label for sentence in sentences for label in sentence.get_labels(label_type)]
    whole = Counter(label.value for label in labels if isinstance(label.data_point, Sentence))
    parts = Counter(label.value for label in labels if not isinstance(label.data_point, Sentence))
    return {
        "total_number_of_documents": len(sentences),
        "number_of_documents_per_class": dict(whole.most_common()),
        "number_of_labels_per_tag": dict(parts.most_common()),
        "number_of_tokens": {
            "total": sum(lengths),
            "min": min(lengths),
            "max": max(lengths),
            "avg": sum(lengths) / len(lengths),
        },
    }
