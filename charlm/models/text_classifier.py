"""TextClassifier: one label, or any number of labels, for a whole text. Arguments and defaults are Flair's."""

# B = sentences, D = width of the document embedding, L = labels

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.data.data_point import on_one_device
from charlm.data.dictionary import Dictionary
from charlm.data.sentence import Sentence
from charlm.embeddings.base import DocumentEmbeddings, embeddings_from_json
from charlm.errors import ConfigError, DatasetError, ModelFileError
from charlm.evaluation.labels import score_label_sets, score_labels
from charlm.models.downstream_model import (
    DownstreamModel,
    Prediction,
    ScoredBatch,
    dictionary_of,
    label_items,
    label_weights,
    on_device,
)
from charlm.nn.device import upload
from charlm.nn.dropout import Dropout, LockedDropout, WordDropout
from charlm.storage.atomic import JsonObject

_NO_LABELS = frozenset({"<unk>"})


class TextClassifier(DownstreamModel):
    """A linear layer over one vector of the text.

    Args:
        document_embeddings: the vector of a text; Flair's newer name `embeddings` is accepted too.
        label_dictionary: the possible labels, from `Corpus.make_label_dictionary`.
        label_type: the layer of labels to train on and to predict; by default the one that the dictionary was made of,
            or `class`.
        multi_label: a text can have any number of labels, including none; by default the setting of the dictionary.
        multi_label_threshold: lowest probability at which a label is predicted; a dict gives it by label, and that
            of all others under `default`.
        loss_weights: weight of the loss by label, 1 for all others.
        dropout, locked_dropout, word_dropout: share of the values, or of the texts, dropped before the linear layer.
    """

    embeddings: DocumentEmbeddings

    def __init__(
        self,
        document_embeddings: DocumentEmbeddings | None = None,
        label_dictionary: Dictionary | None = None,
        label_type: str | None = None,
        multi_label: bool | None = None,
        multi_label_threshold: float | Mapping[str, float] = 0.5,
        *,
        embeddings: DocumentEmbeddings | None = None,
        loss_weights: Mapping[str, float] | None = None,
        dropout: float = 0.0,
        locked_dropout: float = 0.0,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        document_embeddings = document_embeddings or embeddings
        if document_embeddings is None or label_dictionary is None:
            raise ConfigError("TextClassifier needs embeddings and label_dictionary")
        self.embeddings = document_embeddings
        self.label_type = label_type or label_dictionary.label_type or "class"
        self.labels = label_items(label_dictionary, without=_NO_LABELS)
        self.multi_label = label_dictionary.multi_label if multi_label is None else multi_label
        self.multi_label_threshold = multi_label_threshold
        _thresholds(self.labels, multi_label_threshold)  # raises ConfigError for one that makes no sense
        self._loss_weights = label_weights(self.labels, loss_weights)
        self._extras = {
            "loss_weights": dict(loss_weights) if loss_weights else None,
            "dropout": dropout,
            "locked_dropout": locked_dropout,
            "word_dropout": word_dropout,
        }
        self.dropout = Dropout(dropout)
        self.locked_dropout = LockedDropout(locked_dropout)
        self.word_dropout = WordDropout(word_dropout)
        self._ids = {label: idx for idx, label in enumerate(self.labels)}
        self.decoder = nn.Linear(document_embeddings.embedding_length, len(self.labels))
        nn.init.xavier_uniform_(self.decoder.weight)
        self.to_default_device()

    @property
    def document_embeddings(self) -> DocumentEmbeddings:
        return self.embeddings

    def label_names(self) -> list[str]:
        return self.labels

    # ---- learning ----------------------------------------------------------------------------------------------

    def encode_labels(self, sentence: Sentence) -> Tensor:
        """The id of the sentence's label, (); with `multi_label` a one for each of its labels, (L,)."""
        values = _labels(sentence, self.label_type)
        for value in values:
            if value not in self._ids:
                raise DatasetError(
                    f"the label {value!r} of {sentence.text[:60]!r} is not among the classifier's "
                    f"{len(self.labels)}: make the label dictionary from this corpus"
                )
        if self.multi_label:
            target = torch.zeros(len(self.labels))
            target[[self._ids[value] for value in values]] = 1
            return target
        if len(values) != 1:
            raise DatasetError(
                f"{sentence.text[:60]!r} has {len(values)} labels in the layer {self.label_type!r}: a text needs "
                "exactly one, or multi_label=True"
            )
        return torch.tensor(self._ids[values[0]])

    def forward_loss(self, sentences: list[Sentence], targets: list[Tensor] | None = None) -> tuple[Tensor, int]:
        if targets is None:
            targets = list(map(self.encode_labels, sentences))
        full = [pair for pair in zip(sentences, targets, strict=True) if len(pair[0])]
        if not full:
            return torch.zeros((), device=self.device, requires_grad=True), 0
        logits = self._logits([sentence for sentence, _ in full])
        expected = upload(torch.stack([target for _, target in full]), self.device)
        weights = on_device(self._loss_weights, logits)
        if self.multi_label:
            loss = F.binary_cross_entropy_with_logits(logits, expected, weight=weights, reduction="sum")
        else:
            loss = F.cross_entropy(logits, expected, weight=weights, reduction="sum")
        return loss, len(full)

    def _logits(self, sentences: list[Sentence]) -> Tensor:
        """Scores of all labels, (B, L)."""
        self.embeddings.embed(sentences)
        names = self.embeddings.get_names()
        rows = [sentence.get_embedding(names) for sentence in sentences]
        vectors = upload(torch.stack(on_one_device(rows)), self.device)  # (B, D)
        vectors = self.locked_dropout(self.dropout(vectors)[:, None])  # as sentences of one token, (B, 1, D)
        logits: Tensor = self.decoder(self.word_dropout(vectors).squeeze(1)).float()
        return logits

    # ---- predicting --------------------------------------------------------------------------------------------

    def _decode(self, sentences: list[Sentence]) -> tuple[list[list[int]], list[list[float]]]:
        """The ids of each sentence's labels, and the probability of every label."""
        logits = self._logits(sentences)
        if not self.multi_label:
            return logits.argmax(dim=1, keepdim=True).tolist(), logits.softmax(dim=1).tolist()
        probabilities: list[list[float]] = logits.sigmoid().tolist()
        thresholds = _thresholds(self.labels, self.multi_label_threshold)
        return [
            [idx for idx, probability in enumerate(row) if probability >= thresholds[idx]] for row in probabilities
        ], probabilities

    def _label(self, sentences: list[Sentence], how: Prediction) -> None:
        for sentence, ids, probabilities in zip(sentences, *self._decode(sentences), strict=True):
            chosen = range(len(self.labels)) if how.all_classes else ids
            for idx in sorted(chosen, key=probabilities.__getitem__, reverse=True):
                sentence.add_label(how.layer, self.labels[idx], probabilities[idx])

    def _score(self, sentences: list[Sentence], gold_label_type: str) -> ScoredBatch:
        ids, probabilities = self._decode(sentences)
        predicted = [[self.labels[idx] for idx in sentence_ids] for sentence_ids in ids]
        gold = [_labels(sentence, gold_label_type) for sentence in sentences]
        lines = [
            f"{sentence.text}\t{';'.join(true)}\t{';'.join(guess)}\t{max(row):.4f}\n"
            for sentence, true, guess, row in zip(sentences, gold, predicted, probabilities, strict=True)
        ]
        if self.multi_label:
            return ScoredBatch(scores=score_label_sets(gold, predicted), lines=lines)
        first = [";".join(true) for true in gold]  # a text with another number of labels than one counts as missed
        return ScoredBatch(scores=score_labels(first, [guess for (guess,) in predicted]), lines=lines)

    # ---- files -------------------------------------------------------------------------------------------------

    def _settings(self) -> JsonObject:
        return {
            "labels": self.labels,
            "label_type": self.label_type,
            "multi_label": self.multi_label,
            "multi_label_threshold": self.multi_label_threshold,
            **{name: value for name, value in self._extras.items() if value},
        }

    @classmethod
    def _from_settings(cls, settings: JsonObject, embeddings: JsonObject) -> Self:
        arguments = dict(settings)
        dictionary = dictionary_of(arguments.pop("labels"))
        document_embeddings = embeddings_from_json(embeddings)
        if not isinstance(document_embeddings, DocumentEmbeddings):
            raise ModelFileError(f"{type(document_embeddings).__name__} have no vector of a text")
        return cls(document_embeddings, dictionary, **arguments)


def _thresholds(labels: list[str], threshold: float | Mapping[str, float]) -> list[float]:
    """The threshold of each label; raises ConfigError for one outside (0, 1), or without a default."""
    if isinstance(threshold, Mapping):
        if "default" not in threshold and set(labels) - set(threshold):
            raise ConfigError("multi_label_threshold needs a value for `default`")
        values = [float(threshold.get(label, threshold.get("default", 0.5))) for label in labels]
    else:
        values = [float(threshold)] * len(labels)
    for value in values:
        if not 0 < value < 1:
            raise ConfigError(f"multi_label_threshold must be in (0, 1), got {value}")
    return values


def _labels(sentence: Sentence, label_type: str) -> list[str]:
    """The labels of the sentence itself, not of its words."""
    return [label.value for label in sentence.get_labels(label_type) if label.data_point is sentence]
