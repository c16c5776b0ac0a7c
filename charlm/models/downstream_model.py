"""DownstreamModel: what taggers and classifiers share: predictions, scores, and one file per model.

Reads and writes   best-model.pt, final-model.pt   settings, embeddings and all weights; the file is self-contained
"""

# B = sentences, W = words of all sentences

import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
from charlm.evaluation.labels import EvaluationMetric, LabelScores
from charlm.models.evaluation import Evaluation, Metric
from charlm.models.flair_tagger import read_flair_tagger
from charlm.models.progress import progress_bar
from charlm.nn.device import find_device
from charlm.serialization.addresses import is_address, resolve_file
from charlm.storage.archive import Part, is_pickled, read_archive, write_archive
from charlm.storage.atomic import JsonObject, write_text
from charlm.storage.torch_file import errors_name
from charlm.tokenization import TokenizerIdentity, tokenizer_of

MODEL_PART = "model"


@dataclass(frozen=True, kw_only=True)
class ScoredBatch:
    """The scores of a batch of sentences, in the order given."""

    scores: LabelScores
    lines: list[str]
    """The lines of each sentence in the file of predictions."""


@dataclass(frozen=True)
class Prediction:
    """How predictions are put on sentences."""

    layer: str
    all_classes: bool = False
    """Keep the probability of every label too."""

    on_tokens: bool = False
    """Put the tags of spans on the words."""


class DownstreamModel(nn.Module):
    """A model that predicts labels of the layer `label_type` from the embeddings of sentences."""

    embeddings: Embeddings
    label_type: str
    tokenizer: TokenizerIdentity | None = None
    """What the texts that it was trained on were cut with; None where words were given, or it is not known."""

    def sentence(self, text: str) -> Sentence:
        """The sentence of a raw text, cut as those of the training."""
        return Sentence(text, use_tokenizer=tokenizer_of(self.tokenizer))

    # ---- what each kind of model implements ---------------------------------------------------------------

    def encode_labels(self, sentence: Sentence) -> Tensor:
        """The labels as target ids; raises DatasetError for a label that the model does not know."""
        raise NotImplementedError

    def forward_loss(self, sentences: list[Sentence], targets: list[Tensor] | None = None) -> tuple[Tensor, int]:
        """The loss, summed over the labelled tokens or texts, and their number.

        `targets` are the results of `encode_labels`. Sentences without words are left out.
        """
        raise NotImplementedError

    def _label(self, sentences: list[Sentence], how: "Prediction") -> None:
        """Add labels to sentences, all of which have words."""
        raise NotImplementedError

    def _score(self, sentences: list[Sentence], gold_label_type: str) -> ScoredBatch:
        """Compare predictions with the layer `gold_label_type`; the sentences are not changed."""
        raise NotImplementedError

    def _settings(self) -> JsonObject:
        """Plain JSON from which `_from_settings` makes a model of the same shape."""
        raise NotImplementedError

    @classmethod
    def _from_settings(cls, settings: JsonObject, embeddings: JsonObject) -> Self:
        raise NotImplementedError

    @property
    def label_dictionary(self) -> Dictionary:
        """The labels that the model chooses from; their ids are the columns of its scores."""
        return dictionary_of(self.label_names())

    def label_names(self) -> list[str]:
        """The labels that the model chooses from, in the order of its scores."""
        raise NotImplementedError

    # ---- predictions and scores --------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def to_default_device(self) -> None:
        """Move the model to where models are computed (nn/device.py); one that is being loaded follows later."""
        if torch.get_default_device().type != "meta":
            self.to(find_device())

    @torch.no_grad()
    def predict(
        self,
        sentences: Sentence | Iterable[Sentence],
        mini_batch_size: int = 32,
        return_probabilities_for_all_classes: bool = False,
        verbose: bool = False,
        label_name: str | None = None,
        return_loss: bool = False,
        embedding_storage_mode: StorageMode = "none",
        force_token_predictions: bool = False,
    ) -> tuple[float, int] | None:
        """Predict labels and put them on the sentences; they replace the layer `label_name`.

        Args:
            sentences: one or several; a sentence without words gets no label.
            mini_batch_size: sentences computed at once.
            return_probabilities_for_all_classes: keep the probability of every label too: a tagger on every token
                (`token.get_tags_proba_dist`), a classifier as labels of the text, the most probable first.
            verbose: show a progress bar on stderr.
            label_name: the layer that receives the labels; by default that of the model.
            return_loss: return the summed loss against the true labels of the sentences, and the number of labels.
            embedding_storage_mode: `none` drops the vectors afterwards, `cpu` and `gpu` keep them there.
            force_token_predictions: put the tags of a tagger of spans on the words, such as `B-LOC`.
        """
        sentences = [sentences] if isinstance(sentences, Sentence) else list(sentences)
        layer = label_name or self.label_type
        loss, count = 0.0, 0
        targets = self._known_targets(sentences) if return_loss else {}
        for sentence in sentences:
            sentence.remove_labels(layer)
        self._link(sentences)
        how = Prediction(layer, all_classes=return_probabilities_for_all_classes, on_tokens=force_token_predictions)
        batches: Iterable[list[Sentence]] = self._batches(sentences, mini_batch_size)
        if verbose:
            batches = progress_bar(batches, total=math.ceil(len(sentences) / mini_batch_size))
        for batch in batches:
            self._label(batch, how)
            if return_loss:
                known = [sentence for sentence in batch if id(sentence) in targets]
                batch_loss, batch_count = self.forward_loss(known, [targets[id(sentence)] for sentence in known])
                loss, count = loss + batch_loss.item(), count + batch_count
            if embedding_storage_mode == "none":
                self.drop_embeddings(batch, "none")
            elif embedding_storage_mode == "cpu":
                for sentence in batch:
                    sentence.to("cpu")
        return (loss, count) if return_loss else None

    @torch.no_grad()
    def evaluate(
        self,
        data_points: Iterable[Sentence],
        gold_label_type: str | None = None,
        out_path: str | os.PathLike[str] | None = None,
        embedding_storage_mode: StorageMode = "none",
        mini_batch_size: int = 64,
        main_evaluation_metric: Metric = EvaluationMetric.MICRO_F1_SCORE,
        exclude_labels: Collection[str] | None = None,
        return_loss: bool = True,
    ) -> Evaluation:
        """Score the predictions against the labels in the layer `gold_label_type`, by default that of the model.

        Args:
            data_points: the sentences; their labels are not changed.
            gold_label_type: the layer of the true labels.
            out_path: file that receives every prediction beside the true label.
            embedding_storage_mode: `none` drops all vectors afterwards, `cpu` and `gpu` keep those that never change.
            mini_batch_size: sentences computed at once.
            main_evaluation_metric: what `main_score` of the result is.
            exclude_labels: labels that are left out of the scores.
            return_loss: compute the loss too; otherwise it is nan.
        """
        gold_label_type = gold_label_type or self.label_type
        sentences = list(data_points)
        self._link(sentences)
        places = {id(sentence): place for place, sentence in enumerate(sentences)}
        lines = [""] * len(sentences)
        scores, loss, count = LabelScores(), 0.0, 0
        for batch in self._batches(sentences, mini_batch_size):
            scored = self._score(batch, gold_label_type)
            scores += scored.scores
            for sentence, line in zip(batch, scored.lines, strict=True):
                lines[places[id(sentence)]] = line
            if return_loss:
                batch_loss, batch_count = self._loss_of_known(batch)
                loss, count = loss + batch_loss, count + batch_count
            self.drop_embeddings(batch, embedding_storage_mode)
        if out_path is not None:
            write_text(Path(out_path), "".join(lines))
        result = Evaluation(
            scores=scores, loss=loss / count if count else float("nan"), metric=main_evaluation_metric
        ).without(exclude_labels or ())
        result.main_score  # noqa: B018  # raises ConfigError for an unknown metric
        return result

    def _link(self, sentences: list[Sentence]) -> None:
        """Make neighbours of sentences that have none, where the embeddings read neighbours."""
        if self.embeddings.reads_neighbours:
            Sentence.set_context_for_sentences(sentences)

    def _known_targets(self, sentences: list[Sentence]) -> dict[int, Tensor]:
        """The targets of the sentences whose labels are known to the model, by the identity of the sentence."""
        targets: dict[int, Tensor] = {}
        for sentence in sentences:
            with suppress(DatasetError):
                targets[id(sentence)] = self.encode_labels(sentence)
        return targets

    def _loss_of_known(self, batch: list[Sentence]) -> tuple[float, int]:
        """Loss and count of the sentences whose labels are known to the model."""
        targets = self._known_targets(batch)
        known = [sentence for sentence in batch if id(sentence) in targets]
        loss, count = self.forward_loss(known, [targets[id(sentence)] for sentence in known])
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
        if self.tokenizer is not None:
            settings["tokenizer"] = vars(self.tokenizer)
        return Part(settings, self.state_dict())

    def save(self, model_file: str | os.PathLike[str]) -> None:
        """Write the model with its embeddings as one file; equal models give equal bytes."""
        write_archive(Path(model_file), {MODEL_PART: self.to_part()})

    @classmethod
    def load(cls, model_path: str | os.PathLike[str]) -> Self:
        """Load `best-model.pt`, `final-model.pt`, `checkpoint.pt`, a name in CHARLM_CACHE or an address (`models:/…`).

        `DownstreamModel.load` accepts any kind. Taggers of Flair are read too (flair_tagger.py). Nothing in the file
        is executed. Raises ModelFileError when it is missing, damaged, or holds another kind of model.
        """
        name = os.fspath(model_path)
        path = resolve_file(name) if is_address(name) else find_model(name, [".pt"], "model")
        with errors_name(path):
            is_of_flair = is_pickled(path)
        parts = {} if is_of_flair else read_archive(path)
        with errors_name(path):
            model = cls.from_part(read_flair_tagger(path) if is_of_flair else parts[MODEL_PART])
        return model.to(find_device())

    @classmethod
    def _kinds(cls) -> Iterator[type[Self]]:
        """This class and all that are made of it."""
        yield cls
        for kind in cls.__subclasses__():
            yield from kind._kinds()

    @classmethod
    def from_part(cls, part: Part) -> Self:
        """The model in evaluation mode. It is built on the meta device, so no size in a file allocates memory."""
        settings = dict(part.settings)
        kind = settings.pop("kind")
        kinds = {known.__name__: known for known in cls._kinds()}
        if kind not in kinds:
            raise ModelFileError(f"it holds a {kind}, not a {cls.__name__}")
        embeddings = settings.pop("embeddings")
        tokenizer = settings.pop("tokenizer", None)
        with torch.device("meta"):
            model = kinds[kind]._from_settings(settings, embeddings)
        model.load_state_dict(part.tensors, assign=True)
        model.tokenizer = None if tokenizer is None else TokenizerIdentity(**tokenizer)
        return model.eval()


def label_items(dictionary: Dictionary, *, without: frozenset[str]) -> list[str]:
    """The labels in a dictionary without those of `without`, in its order; raises ConfigError for an empty one.

    A dictionary that holds nothing else gives `<unk>`: such a model can be saved and run, but learns from no label.
    """
    items = [item for item in dictionary.get_items() if item not in without] or dictionary.get_items()[:1]
    if not items:
        raise ConfigError("the dictionary holds no label: make it from the corpus that the model is trained on")
    return items


def label_weights(labels: list[str], weights: Mapping[str, float] | None) -> Tensor | None:
    """The weight of each label, 1 by default; None without weights. Raises ConfigError for an unknown label."""
    if not weights:
        return None
    if unknown := sorted(set(weights) - set(labels)):
        raise ConfigError(f"loss_weights names {unknown[0]!r}, which is not among the labels {', '.join(labels)}")
    return torch.tensor([float(weights.get(label, 1.0)) for label in labels], device="cpu")


def on_device(weights: Tensor | None, values: Tensor) -> Tensor | None:
    """The weights on the device of `values`."""
    return None if weights is None else weights.to(values.device)


def dictionary_of(labels: Iterable[str]) -> Dictionary:
    """A dictionary of exactly these labels, in their order."""
    dictionary = Dictionary(add_unk=False)
    for label in labels:
        dictionary.add_item(label)
    return dictionary
