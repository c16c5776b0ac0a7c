"""Scores a model on the splits of a corpus during its training."""

from pathlib import Path

from charlm.artifacts import DownstreamRunFiles
from charlm.config import DownstreamTrainingConfig
from charlm.data.corpus import Corpus
from charlm.data.sentence import Sentence
from charlm.embeddings.store import EmbeddingStore
from charlm.models.downstream_model import DownstreamModel
from charlm.models.evaluation import Evaluation
from charlm.trainers.downstream.options import TrainingOptions


class SplitScorer:
    """The dev and test sentences of a training, and a sample of its train sentences.

    Writes dev.tsv and test.tsv, the predictions beside the true labels.
    """

    def __init__(
        self,
        model: DownstreamModel,
        corpus: Corpus,
        train_sample: list[Sentence],
        config: DownstreamTrainingConfig,
        options: TrainingOptions,
        files: DownstreamRunFiles,
    ) -> None:
        self.splits = {
            "dev": [] if config.train_with_dev else list(corpus.dev),
            "test": [] if options.train_with_test else list(corpus.test),
        }
        self._model = model
        self._train_sample = train_sample
        self._config = config
        self._options = options
        self._files = files

    def scores(self) -> dict[str, Evaluation]:
        """The scores after an epoch: dev, and on request test and the sample of train."""
        wanted = ("dev", "test") if self._config.monitor_test else ("dev",)
        scores = {split: self.score(split) for split in wanted if self.splits[split]}
        if self._train_sample:
            scores["train"] = self._evaluate(self._train_sample)
        return scores

    def score(self, split: str) -> Evaluation:
        self.attach(self.splits[split])
        return self._evaluate(self.splits[split], self._files.predictions(split))

    def attach(self, sentences: list[Sentence], *, in_bf16: bool = False) -> None:
        """Put the vectors that never change on the sentences, once for the whole training."""
        mode = self._config.embeddings_storage_mode
        for part in [] if mode == "none" else self._model.embeddings.frozen_parts():
            if waiting := [sentence for sentence in sentences if not part.is_on(sentence)]:
                store = EmbeddingStore(part.in_bf16() if in_bf16 else part)
                store.attach(waiting, self._model.device if mode == "gpu" else None)

    def _evaluate(self, sentences: list[Sentence], out_path: Path | None = None) -> Evaluation:
        return self._model.evaluate(
            sentences,
            out_path=out_path,
            mini_batch_size=self._config.eval_batch_size,
            embedding_storage_mode=self._config.embeddings_storage_mode,
            main_evaluation_metric=self._options.metric,
            exclude_labels=self._options.exclude_labels,
        )
