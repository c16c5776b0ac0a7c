"""Statistics of labelled sentences: counts of labels, words and lengths."""

from collections import Counter
from collections.abc import Iterable

from charlm.data.label import Label
from charlm.data.parts import Token
from charlm.data.sentence import Sentence
from charlm.storage.atomic import JsonObject


def count_sentence_labels(sentences: Iterable[Sentence]) -> dict[str, int]:
    """How often each label of a whole sentence occurs, the most frequent first."""
    return _counted(label for sentence in sentences for label in sentence.labels if label.data_point is sentence)


def count_token_labels(sentences: Iterable[Sentence], label_type: str) -> dict[str, int]:
    """How often each label of a token occurs in one layer, the most frequent first."""
    labels = (label for sentence in sentences for label in sentence.get_labels(label_type))
    return _counted(label for label in labels if isinstance(label.data_point, Token))


def count_words(sentences: Iterable[Sentence]) -> Counter[str]:
    return Counter(word for sentence in sentences for word in sentence.words)


def describe(sentences: list[Sentence], label_type: str | None, name: str) -> JsonObject:
    """What a split holds, under the names that Flair gives; labels in the layer `label_type`, or in all."""
    if not sentences:
        return {}
    lengths = [len(sentence) for sentence in sentences]
    labels = [(label, sentence) for sentence in sentences for label in sentence.get_labels(label_type)]
    return {
        "dataset": name,
        "total_number_of_documents": len(sentences),
        "number_of_documents_per_class": _counted(label for label, whole in labels if label.data_point is whole),
        "number_of_tokens_per_tag": _counted(label for label, whole in labels if label.data_point is not whole),
        "number_of_tokens": {
            "total": sum(lengths),
            "min": min(lengths),
            "max": max(lengths),
            "avg": sum(lengths) / len(lengths),
        },
    }


def _counted(labels: Iterable[Label]) -> dict[str, int]:
    return dict(Counter(label.value for label in labels).most_common())
