"""DownstreamModel: what taggers and classifiers share: predictions, scores, and one file per model.

Reads and writes   best-model.pt, final-model.pt   settings, embeddings and all weights; the file is self-contained
"""

# B = sentences, W = words of all sentences

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from charlm.config import StorageMode
from charlm.data.dictionary import Dictionary
from charlm.data.sentence import Sentence
from charlm.embeddings.base import Embeddings, find_model
from charlm.errors import ConfigError, DatasetError, ModelFileError
from charlm.evaluation.labels import LabelScores, LabelScoresJson
from charlm.storage.archive import Part, Settings, read_archive, write_archive
from charlm.storage.atomic import write_text
from charlm.storage.torch_file import errors_name

MODEL_PART = "model"


class EvaluationJson(LabelScoresJson):
    """The scores and the loss of an evaluation as plain JSON; the loss is null where nothing was labelled."""

    loss: float | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of a model on labelled sentences."""

    scores: LabelScores
    """Exact counts of every label."""

    loss: float
    """Mean loss of a token (tagger) or a text (classifier), nats; sentences with an unknown label are left out."""

    @property
    def main_score(self) -> float:
        return self.scores.micro_f1

    @property
    def detailed_results(self) -> str:
        return self.scores.table()

    def to_json(self) -> EvaluationJson:
        return {"loss": None if math.isnan(self.loss) else self.loss, **self.scores.to_json()}


@dataclass(frozen=True, kw_only=True)
class ScoredBatch:
    """The scores of a batch of sentences, in the order given."""

    scores: LabelScores
    lines: list[str]
    """The lines of each sentence in the file of predictions."""


class DownstreamModel(nn.Module):
    """A model that predicts labels of the layer `label_type` from the embeddings of sentences."""

    embeddings: Embeddings
    label_type: str

    # ---- what each kind of model implements ---------------------------------------------------------------

    def encode_labels(self, sentence: Sentence) -> Tensor:
        """The labels as target ids; raises DatasetError for a label that the model does not know."""
        raise NotImplementedError

    def forward_loss(self, sentences: list[Sentence], targets: list[Tensor] | None = None) -> tuple[Tensor, int]:
        """The loss, summed over the labelled tokens or texts, and their number.

        `targets` are the results of `encode_labels`. Sentences without words are left out.
        """
        raise NotImplementedError

    def _label(self, sentences: list[Sentence], label_name: str, all_classes: bool) -> None:
        """Add labels to sentences, all of which have words."""
        raise NotImplementedError

    def _score(self, sentences: list[Sentence], gold_label_type: str) -> ScoredBatch:
        """Compare predictions with the layer `gold_label_type`; the sentences are not changed."""
        raise NotImplementedError

    def _settings(self) -> Settings:
        """Plain JSON from which `_from_settings` makes a model of the same shape."""
        raise NotImplementedError

    @classmethod
    def _from_settings(cls, settings: Settings, embeddings: Settings) -> Self:
        raise NotImplementedError

    # ---- predictions and scores --------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @torch.no_grad()
    def predict(
        self,
        sentences: Sentence | Sequence[Sentence],
        mini_batch_size: int = 32,
        return_probabilities_for_all_classes: bool = False,
        label_name: str | None = None,
        embedding_storage_mode: StorageMode = "none",
    ) -> None:
        """Predict labels and put them on the sentences; they replace the layer `label_name`.

        Args:
            sentences: one or several; a sentence without words gets no label.
            mini_batch_size: sentences computed at once.
            return_probabilities_for_all_classes: give every possible label, the chosen one first.
            label_name: the layer that receives the labels; by default that of the model.
            embedding_storage_mode: `none` drops the vectors afterwards, `cpu` keeps those that never change.
        """
        sentences = [sentences] if isinstance(sentences, Sentence) else list(sentences)
        layer = label_name or self.label_type
        for sentence in sentences:
            sentence.remove_labels(layer)
        for batch in self._batches(sentences, mini_batch_size):
            self._label(batch, layer, return_probabilities_for_all_classes)
            self.drop_embeddings(batch, embedding_storage_mode)

    @torch.no_grad()
    def evaluate(
        self,
        sentences: Sequence[Sentence],
        gold_label_type: str | None = None,
        out_path: str | os.PathLike[str] | None = None,
        mini_batch_size: int = 64,
        embedding_storage_mode: StorageMode = "none",
    ) -> Evaluation:
        """Score the predictions against the labels in the layer `gold_label_type`.

        With `out_path`, every prediction is written there beside the true label. The labels are not changed.
        """
        gold_label_type = gold_label_type or self.label_type
        sentences = list(sentences)
        places = {id(sentence): place for place, sentence in enumerate(sentences)}
        lines = [""] * len(sentences)
        scores, loss, count = LabelScores(), 0.0, 0
        for batch in self._batches(sentences, mini_batch_size):
            scored = self._score(batch, gold_label_type)
            scores += scored.scores
            for sentence, line in zip(batch, scored.lines, strict=True):
                lines[places[id(sentence)]] = line
            batch_loss, batch_count = self._loss_of_known(batch)
            loss, count = loss + batch_loss, count + batch_count
            self.drop_embeddings(batch, embedding_storage_mode)
        if out_path is not None:
            write_text(Path(out_path), "".join(lines))
        return Evaluation(scores=scores, loss=loss / count if count else float("nan"))

    def _loss_of_known(self, batch: list[Sentence]) -> tuple[float, int]:
        """Loss and count of the sentences whose labels are known to the model."""
        known: list[Sentence] = []
        targets: list[Tensor] = []
        for sentence in batch:
            with suppress(DatasetError):
                targets.append(self.encode_labels(sentence))
                known.append(sentence)
        loss, count = self.forward_loss(known, targets)
        return loss.item(), count

    def _batches(self, sentences: list[Sentence], size: int) -> Iterator[list[Sentence]]:
        """Batches of the sentences that have words, sorted by length; the model is in evaluation mode meanwhile."""
        if size < 1:
            raise ConfigError(f"mini_batch_size must be at least 1, got {size}")
        ordered = sorted((sentence for sentence in sentences if len(sentence)), key=len, reverse=True)
        was_training = self.training
        self.eval()
        try:
            for start in range(0, len(ordered), size):
                yield ordered[start : start + size]
        finally:
            self.train(was_training)

    def drop_embeddings(self, sentences: Sequence[Sentence], mode: StorageMode) -> None:
        """Remove the vectors of the model's embeddings; unless `mode` is `none`, keep those that never change."""
        names = set(self.embeddings.all_names())
        if mode != "none":
            names -= {name for part in self.embeddings.frozen_parts() for name in part.get_names()}
        if names:
            for sentence in sentences:
                sentence.clear_embeddings(list(names))

    # ---- files -------------------------------------------------------------------------------------------------

    def to_part(self) -> Part:
        """The content of a model file."""
        settings = {"kind": type(self).__name__, "embeddings": self.embeddings.to_json(), **self._settings()}
        return Part(settings, self.state_dict())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model with its embeddings as one file; equal models give equal bytes."""
        write_archive(Path(path), {MODEL_PART: self.to_part()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Load `best-model.pt`, `final-model.pt` or `checkpoint.pt`, or the file of that name in CHARLM_CACHE.

        `DownstreamModel.load` accepts any kind. Nothing in the file is executed. Raises ModelFileError when it is
        missing, damaged, or holds another kind of model.
        """
        path = find_model(path, [".pt"], "model")
        parts = read_archive(path)
        with errors_name(path):
            return cls.from_part(parts[MODEL_PART])

    @classmethod
    def from_part(cls, part: Part) -> Self:
        """The model in evaluation mode. It is built on the meta device, so no size in a file allocates memory."""
        settings = dict(part.settings)
        kind = settings.pop("kind")
        kinds = {known.__name__: known for known in (cls, *cls.__subclasses__())}
        if kind not in kinds:
            raise ModelFileError(f"it holds a {kind}, not a {cls.__name__}")
        embeddings = settings.pop("embeddings")
        with torch.device("meta"):
            model = kinds[kind]._from_settings(settings, embeddings)
        model.load_state_dict(part.tensors, assign=True)
        return model.eval()


def label_items(dictionary: Dictionary, *, without: frozenset[str]) -> list[str]:
    """The labels in a dictionary without those of `without`, in its order; raises ConfigError when none is left."""
    items = [item for item in dictionary.get_items() if item not in without]
    if not items:
        raise ConfigError("the dictionary holds no label: make it from the corpus that the model is trained on")
    return items
