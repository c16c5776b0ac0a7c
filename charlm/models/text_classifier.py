"""TextClassifier: one label, or any number of labels, for a whole text. Arguments, defaults and start are Flair's."""

# B = sentences, D = width of the document embedding, L = labels

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.data.dictionary import Dictionary
from charlm.data.sentence import Sentence
from charlm.embeddings.base import DocumentEmbeddings, embeddings_from_json
from charlm.errors import ConfigError, DatasetError, ModelFileError
from charlm.evaluation.labels import score_label_sets, score_labels
from charlm.models.downstream_model import Judged, TaskModel, label_items

_NO_LABELS = frozenset({"<unk>"})


class TextClassifier(TaskModel):
    """A linear layer over one vector of the text.

    Args:
        document_embeddings: the vector of a text.
        label_dictionary: the possible labels, from `Corpus.make_label_dictionary`.
        label_type: the layer of labels to learn and to predict.
        multi_label: each text has any number of labels, also none.
        multi_label_threshold: probability from which on a label is given.
    """

    embeddings: DocumentEmbeddings

    def __init__(
        self,
        document_embeddings: DocumentEmbeddings,
        label_dictionary: Dictionary,
        label_type: str = "class",
        multi_label: bool = False,
        multi_label_threshold: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0 < multi_label_threshold < 1:
            raise ConfigError(f"multi_label_threshold must be in (0, 1), got {multi_label_threshold}")
        self.embeddings = document_embeddings
        self.label_type = label_type
        self.labels = label_items(label_dictionary, without=_NO_LABELS)
        self.multi_label = multi_label
        self.multi_label_threshold = multi_label_threshold
        self._ids = {label: idx for idx, label in enumerate(self.labels)}
        self.decoder = nn.Linear(document_embeddings.embedding_length, len(self.labels))
        nn.init.xavier_uniform_(self.decoder.weight)

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
        expected = torch.stack([target for _, target in full]).to(self.device)
        if self.multi_label:
            return F.binary_cross_entropy_with_logits(logits, expected, reduction="sum"), len(full)
        return F.cross_entropy(logits, expected, reduction="sum"), len(full)

    def _logits(self, sentences: list[Sentence]) -> Tensor:
        """Scores of all labels, (B, L)."""
        self.embeddings.embed(sentences)
        names = self.embeddings.get_names()
        vectors = torch.stack([sentence.get_embedding(names) for sentence in sentences]).to(self.device)  # (B, D)
        logits: Tensor = self.decoder(vectors).float()
        return logits

    # ---- predicting --------------------------------------------------------------------------------------------

    def _decode(self, sentences: list[Sentence]) -> tuple[list[list[int]], list[list[float]]]:
        """The ids of each sentence's labels, and the probability of every label."""
        logits = self._logits(sentences)
        if not self.multi_label:
            return logits.argmax(dim=1, keepdim=True).tolist(), logits.softmax(dim=1).tolist()
        probabilities: list[list[float]] = logits.sigmoid().tolist()
        return [
            [idx for idx, probability in enumerate(row) if probability >= self.multi_label_threshold]
            for row in probabilities
        ], probabilities

    def _label(self, sentences: list[Sentence], label_name: str, all_classes: bool) -> None:
        for sentence, ids, probabilities in zip(sentences, *self._decode(sentences), strict=True):
            chosen = range(len(self.labels)) if all_classes else ids
            for idx in sorted(chosen, key=probabilities.__getitem__, reverse=True):
                sentence.add_label(label_name, self.labels[idx], probabilities[idx])

    def _judge(self, sentences: list[Sentence], gold_label_type: str) -> Judged:
        ids, probabilities = self._decode(sentences)
        predicted = [[self.labels[idx] for idx in sentence_ids] for sentence_ids in ids]
        gold = [_labels(sentence, gold_label_type) for sentence in sentences]
        lines = [
            f"{sentence.text}\t{';'.join(true)}\t{';'.join(guess)}\t{max(row):.4f}\n"
            for sentence, true, guess, row in zip(sentences, gold, predicted, probabilities, strict=True)
        ]
        if self.multi_label:
            return Judged(scores=score_label_sets(gold, predicted), lines=lines)
        first = [";".join(true) for true in gold]  # a text with another number of labels than one counts as missed
        return Judged(scores=score_labels(first, [guess for (guess,) in predicted]), lines=lines)

    # ---- files -------------------------------------------------------------------------------------------------

    def _settings(self) -> dict[str, Any]:
        return {
            "labels": self.labels,
            "label_type": self.label_type,
            "multi_label": self.multi_label,
            "multi_label_threshold": self.multi_label_threshold,
        }

    @classmethod
    def _from_settings(cls, settings: dict[str, Any], embeddings: Any) -> Self:
        arguments = dict(settings)
        dictionary = Dictionary(add_unk=False)
        for label in arguments.pop("labels"):
            dictionary.add_item(label)
        document_embeddings = embeddings_from_json(embeddings)
        if not isinstance(document_embeddings, DocumentEmbeddings):
            raise ModelFileError(f"{type(document_embeddings).__name__} have no vector of a text")
        return cls(document_embeddings, dictionary, **arguments)


def _labels(sentence: Sentence, label_type: str) -> list[str]:
    """The labels of the sentence itself, not of its words."""
    return [label.value for label in sentence.get_labels(label_type) if label.data_point is sentence]
