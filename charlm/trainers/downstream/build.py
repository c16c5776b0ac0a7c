"""Train a tagger or classifier on the embeddings of language models, from one configuration.

The language models stay frozen; a recurrent layer and the layers above it are trained.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, TypedDict

import torch
import xxhash

from charlm.config import DownstreamConfig
from charlm.data.corpus import Corpus
from charlm.data.sentence import Sentence
from charlm.embeddings.base import TokenEmbeddings
from charlm.embeddings.document import DocumentRNNEmbeddings
from charlm.embeddings.of_model import embeddings_of
from charlm.embeddings.stacked import StackedEmbeddings
from charlm.embeddings.token import WordEmbeddings
from charlm.errors import ConfigError
from charlm.language_models.language_model import LanguageModel
from charlm.models.downstream_model import DownstreamModel
from charlm.models.sequence_tagger import SequenceTagger
from charlm.models.text_classifier import TextClassifier
from charlm.nn.device import find_device
from charlm.tokenization import TokenizerIdentity
from charlm.trainers.downstream.events import DownstreamObserver
from charlm.trainers.downstream.result import DownstreamTrainingResult
from charlm.trainers.model_trainer import ModelTrainer

ModelKind = Literal["tagger", "classifier"]
_OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}


def stack_embeddings(
    language_models: Iterable[LanguageModel], vectors: Iterable[str | os.PathLike[str]] = ()
) -> StackedEmbeddings:
    """The frozen embeddings of language models, and word vectors beside them; raises ConfigError when there is none."""
    stacked: list[TokenEmbeddings] = [*map(WordEmbeddings, vectors), *map(embeddings_of, language_models)]
    if not stacked:
        raise ConfigError("a tagger or classifier needs embeddings: name a language model, or word vectors")
    return StackedEmbeddings(stacked)


def corpus_fingerprint(corpus: Corpus, label_type: str) -> str:
    """Stands for the words of a corpus and their labels in one layer, split by split."""
    digest = xxhash.xxh3_128()
    for sentences in (corpus.train, corpus.dev, corpus.test):
        digest.update(f"{len(sentences)} sentences\n".encode())
        for sentence in sentences:
            labels = [f"{label.data_point.start_position} {label.value}" for label in sentence.get_labels(label_type)]
            digest.update("\t".join([*sentence.words, *labels, "\n"]).encode())
    return digest.hexdigest()


def build_downstream_model(
    kind: ModelKind, corpus: Corpus, label_type: str, embeddings: StackedEmbeddings, config: DownstreamConfig
) -> DownstreamModel:
    """An untrained tagger or classifier for the labels of `corpus`, the same for the same seed.

    A classifier gives any number of labels where some text of the corpus has not exactly one.
    """
    torch.manual_seed(config.seed)
    if kind == "tagger":
        tags = corpus.make_tag_dictionary(label_type)
        return SequenceTagger(config.hidden_size, embeddings, tags, label_type, use_crf=config.use_crf)
    labels = corpus.make_label_dictionary(label_type)
    multi_label = any(len(sentence.get_labels(label_type)) != 1 for sentence in corpus.get_all_sentences())
    document_embeddings = DocumentRNNEmbeddings(embeddings, hidden_size=config.hidden_size)
    return TextClassifier(document_embeddings, labels, label_type, multi_label=multi_label)


def train_downstream_model(
    kind: ModelKind,
    corpus: Corpus,
    label_type: str,
    embeddings: StackedEmbeddings,
    config: DownstreamConfig,
    folder: Path,
    *,
    tokenizer: TokenizerIdentity | None = None,
    checkpoint: Path | None = None,
    keep_checkpoint: bool = True,
    observers: Iterable[DownstreamObserver] = (),
) -> tuple[DownstreamModel, DownstreamTrainingResult]:
    """The best model of a training in `folder`, and its scores; with `checkpoint`, the training continues there.

    The model remembers the tokenizer of its texts. It is trained on a GPU where there is one.
    """
    optimizer = _OPTIMIZERS[config.optimizer]
    if checkpoint is not None:
        trainer = ModelTrainer.load_checkpoint(checkpoint, corpus, optimizer)
    else:
        trainer = ModelTrainer(build_downstream_model(kind, corpus, label_type, embeddings, config), corpus, optimizer)
    trainer.model.tokenizer = tokenizer
    trainer.model.to(find_device())
    result = trainer.train(
        folder,
        checkpoint=keep_checkpoint,
        observers=observers,
        show_progress=False,  # the caller shows it in its own way
        save_final_model=config.train_with_dev or not corpus.dev,  # there is no best one then
        **config.training().to_json(),
    )
    return trainer.model, result


def known_labels(model: DownstreamModel) -> Sequence[str]:
    """The labels that a model can give: the values of tags where it finds spans."""
    if isinstance(model, TextClassifier):
        return model.labels
    assert isinstance(model, SequenceTagger)
    if not model.predict_spans:
        return [tag for tag in model.tags if tag != "O"]
    return sorted({tag.partition("-")[2] for tag in model.tags if tag != "O"})


class LabelJson(TypedDict):
    """A label, and the place in the text that it stands for, in characters."""

    text: str
    start: int
    end: int
    value: str
    confidence: float


class PredictionJson(TypedDict):
    """The words of a sentence and its labels."""

    tokens: list[str]
    labels: list[LabelJson]


def prediction_json(sentence: Sentence, label_type: str) -> PredictionJson:
    """The words of a sentence and its labels of one layer, each with the place in the text that it stands for."""
    labels: list[LabelJson] = [
        {
            "text": label.data_point.text,
            "start": label.data_point.start_position,
            "end": label.data_point.end_position,
            "value": label.value,
            "confidence": label.score,
        }
        for label in sentence.get_labels(label_type)
    ]
    return {"tokens": sentence.words, "labels": labels}
