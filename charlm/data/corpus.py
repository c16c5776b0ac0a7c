"""Corpus: labelled sentences to train, choose and judge a model with, and the labels in them."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Literal, Protocol, Self

from charlm.data.dictionary import Dictionary
from charlm.data.parts import Span, Token
from charlm.data.sentence import Sentence
from charlm.data.spans import OUTSIDE, spans_of, tags_of
from charlm.data.statistics import count_sentence_labels, count_token_labels, count_words, describe
from charlm.errors import DatasetError, NotInCharLMError
from charlm.storage.atomic import JsonObject

_SAMPLED_SHARE = 0.1


class _Dataset(Protocol):
    """What torch calls a map-style data set."""

    def __getitem__(self, index: int, /) -> Sentence: ...
    def __len__(self) -> int: ...


class Corpus:
    """Three lists of sentences: `train`, `dev` to choose the best model, `test` to judge it.

    Args:
        train, dev, test: the sentences, as a list or a torch Dataset; a missing test, then a missing dev split is
            sampled: 10 % of what is in train, where that holds more than one sentence.
        name: what the corpus is called.
        sample_missing_splits: whether missing splits are sampled, or stay empty; `only_dev` and `only_test` sample one.
        random_seed: of the sampling; the same seed gives the same splits. None draws from Python's `random`.

    Raises DatasetError when there is no sentence at all.
    """

    def __init__(
        self,
        train: Iterable[Sentence] | _Dataset | None = None,
        dev: Iterable[Sentence] | _Dataset | None = None,
        test: Iterable[Sentence] | _Dataset | None = None,
        name: str = "corpus",
        sample_missing_splits: bool | Literal["only_dev", "only_test"] = True,
        random_seed: int | None = 0,
    ) -> None:
        self.name = name
        self.train = _listed(train)
        self.dev, self.test = _listed(dev), _listed(test)
        if test is None and sample_missing_splits in (True, "only_test") and len(self.train) > 1:
            self.test, self.train = _split(self.train, _SAMPLED_SHARE, random_seed)
        if dev is None and sample_missing_splits in (True, "only_dev") and len(self.train) > 1:
            self.dev, self.train = _split(self.train, _SAMPLED_SHARE, random_seed)
        if not len(self):
            raise DatasetError(f"the corpus {name} holds no sentence")

    def __len__(self) -> int:
        return len(self.train) + len(self.dev) + len(self.test)

    def __str__(self) -> str:
        return f"Corpus: {len(self.train)} train + {len(self.dev)} dev + {len(self.test)} test sentences"

    def get_all_sentences(self) -> list[Sentence]:
        """The sentences of all splits: train, dev, test."""
        return [*self.train, *self.dev, *self.test]

    # ---- fewer sentences ---------------------------------------------------------------------------------------

    def downsample(
        self,
        percentage: float = 0.1,
        downsample_train: bool = True,
        downsample_dev: bool = True,
        downsample_test: bool = True,
        random_seed: int | None = 0,
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

    def filter_empty_sentences(self) -> None:
        """Remove the sentences without a word."""
        self.train, self.dev, self.test = (
            [sentence for sentence in sentences if len(sentence)] for sentences in (self.train, self.dev, self.test)
        )

    def filter_long_sentences(self, max_charlength: int) -> None:
        """Remove the sentences of more than `max_charlength` characters."""
        self.train, self.dev, self.test = (
            [sentence for sentence in sentences if len(sentence.to_plain_string()) <= max_charlength]
            for sentences in (self.train, self.dev, self.test)
        )

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

    def make_label_dictionary(
        self,
        label_type: str | None = None,
        min_count: int = -1,
        add_unk: bool = False,
        add_dev_test: bool = False,
    ) -> Dictionary:
        """The values of the layer `label_type` in train, most frequent first.

        Tokens without a label count as `O` where the layer labels tokens. The dictionary knows whether the layer labels
        spans (`span_labels`), whether something has several labels (`multi_label`), and the layer (`label_type`).

        Args:
            label_type: by default the only layer that there is.
            min_count: leave out values that occur less often; `<unk>` stands for them.
            add_unk: whether the first item is `<unk>`.
            add_dev_test: whether the values of dev and test count too.

        Raises DatasetError when nothing has such a label, or when a layer must be chosen.
        """
        label_type = self._check_label_type(label_type)
        counts: Counter[str] = Counter()
        num_words = num_labelled_words = 0
        dictionary = Dictionary(add_unk=add_unk or min_count > 0)
        dictionary.label_type = label_type
        for sentence in self.get_all_sentences() if add_dev_test else self.train:
            labels = sentence.get_labels(label_type)
            counts.update(label.value for label in labels)
            num_words += len(sentence)
            num_labelled_words += len({id(label.data_point) for label in labels if isinstance(label.data_point, Token)})
            dictionary.multi_label |= len(labels) > len({id(label.data_point) for label in labels})
            dictionary.span_labels |= any(isinstance(label.data_point, Span) for label in labels)
        if num_labelled_words and num_words > num_labelled_words:
            counts[OUTSIDE] += num_words - num_labelled_words
        for value, count in counts.most_common():
            if count >= min_count:
                dictionary.add_item(value)
        return dictionary

    def make_vocab_dictionary(self, max_tokens: int = -1, min_freq: int = 1) -> Dictionary:
        """`<unk>` and the words of train, most frequent first.

        Args:
            max_tokens: how many words at most; -1 for all.
            min_freq: leave out words that occur less often.
        """
        counts = count_words(self.train).most_common(None if max_tokens < 0 else max_tokens)
        return Dictionary.from_items(word for word, count in counts if count >= min_freq)

    def get_label_distribution(self) -> dict[str, int]:
        """How often each label occurs in train, in all layers, the most frequent first."""
        counts = Counter(label.value for sentence in self.train for label in sentence.labels)
        return dict(counts.most_common())

    def add_label_noise(
        self,
        label_type: str,
        labels: list[str],
        noise_share: float = 0.2,
        split: Literal["train", "dev", "test"] = "train",
        noise_transition_matrix: dict[str, list[float]] | None = None,
    ) -> None:
        """Replace labels at random, and keep the true ones in the layer `<label_type>_clean`.

        Args:
            label_type: the layer.
            labels: the values to choose from.
            noise_share: probability that a label is replaced by another one, each with the same probability.
            split: `train`, `dev` or `test`.
            noise_transition_matrix: for every value the probabilities of `labels`, instead of `noise_share`.

        The choice comes from Python's `random`.
        """
        for sentence in {"train": self.train, "dev": self.dev, "test": self.test}[split]:
            for label in sentence.get_labels(label_type):
                label.data_point.add_label(f"{label_type}_clean", label.value)
                if noise_transition_matrix is not None:
                    label.set_value(random.choices(labels, noise_transition_matrix[label.value])[0])
                elif random.random() < noise_share:
                    label.set_value(random.choice([value for value in labels if value != label.value]))

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

    def obtain_statistics(self, label_type: str | None = None, pretty_print: bool = True) -> str | JsonObject:
        """What each split holds, as JSON text or (without `pretty_print`) as a dict.

        Labels are counted in the layer `label_type`, or in all.
        """
        splits = {"TRAIN": self.train, "TEST": self.test, "DEV": self.dev}
        statistics = {name: describe(sentences, label_type, name) for name, sentences in splits.items()}
        return json.dumps(statistics, indent=4, ensure_ascii=False) if pretty_print else statistics

    # What Flair's own programs call by these names.
    _count_sentence_labels = staticmethod(count_sentence_labels)
    _count_token_labels = staticmethod(count_token_labels)

    @staticmethod
    def _get_tokens_per_sentence(sentences: Iterable[Sentence]) -> list[int]:
        return [len(sentence) for sentence in sentences]


class MultiCorpus(Corpus):
    """Several corpora as one: their splits one after the other.

    Example: `MultiCorpus([UD_ENGLISH(), UD_GERMAN()])`.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        task_ids: Sequence[str] | None = None,
        name: str = "multicorpus",
        sample_missing_splits: bool | Literal["only_dev", "only_test"] = True,
        random_seed: int | None = 0,
    ) -> None:
        if isinstance(task_ids, str):
            raise TypeError(f"task_ids names the task of each corpus; to name the corpus write name={task_ids!r}")
        if task_ids is not None:
            raise NotInCharLMError("models of several tasks (task_ids) are not part of charlm; Flair has them")
        self.corpora = list(corpora)
        super().__init__(
            chain.from_iterable(corpus.train for corpus in self.corpora),
            list(chain.from_iterable(corpus.dev for corpus in self.corpora)) or None,
            list(chain.from_iterable(corpus.test for corpus in self.corpora)) or None,
            name,
            sample_missing_splits,
            random_seed,
        )

    def __str__(self) -> str:
        parts = "".join(f"\n - {corpus.name}: {corpus}" for corpus in self.corpora)
        return f"Multi{super().__str__()}{parts}"


def _listed(sentences: Iterable[Sentence] | _Dataset | None) -> list[Sentence]:
    if sentences is None:
        return []
    if isinstance(sentences, Iterable):
        return list(sentences)
    return [sentences[place] for place in range(len(sentences))]


def _split(sentences: list[Sentence], share: float, random_seed: int | None) -> tuple[list[Sentence], list[Sentence]]:
    """A random share of the sentences (at least one, where there is one) and the others, both in their order."""
    size = max(1, round(len(sentences) * share)) if sentences else 0
    generator = random.Random(random.getrandbits(32) if random_seed is None else random_seed)
    chosen = set(generator.sample(range(len(sentences)), size))
    return (
        [sentence for place, sentence in enumerate(sentences) if place in chosen],
        [sentence for place, sentence in enumerate(sentences) if place not in chosen],
    )
