"""The sentences that a tagger or classifier learns from, in the order of each epoch."""

from collections.abc import Iterator

import numpy as np
import xxhash

from charlm.config import DownstreamTrainingConfig
from charlm.data.corpus import Corpus
from charlm.errors import DatasetError
from charlm.models.downstream_model import DownstreamModel


class TrainSet:
    """The train sentences of a corpus that have words, and what the model has to learn of each.

    Raises DatasetError when there is none, or when the model does not know a label.
    """

    def __init__(self, corpus: Corpus, model: DownstreamModel, config: DownstreamTrainingConfig) -> None:
        sentences = [*corpus.train, *corpus.dev] if config.train_with_dev else corpus.train
        self.sentences = [sentence for sentence in sentences if len(sentence)]
        if not self.sentences:
            raise DatasetError(f"the corpus {corpus.name} has no train sentences with words")
        self.targets = list(map(model.encode_labels, self.sentences))
        self._config = config

    def __len__(self) -> int:
        return len(self.sentences)

    def batches(self, epoch: int) -> list[list[int]]:
        """The places of the sentences of each mini-batch of an epoch, drawn from the seed and the epoch's number."""
        order = np.arange(len(self.sentences))
        if self._config.shuffle:
            np.random.default_rng([self._config.seed, epoch]).shuffle(order)
        return list(_cut(order.tolist(), self._config.mini_batch_size))

    def chunks(self, batch: list[int]) -> Iterator[list[int]]:
        """The parts of a mini-batch that are computed at once."""
        return _cut(batch, self._config.mini_batch_chunk_size or len(batch))

    def fingerprint(self) -> str:
        """Stands for the words and labels of the sentences, in their order."""
        digest = xxhash.xxh3_128()
        for sentence, target in zip(self.sentences, self.targets, strict=True):
            digest.update("\t".join(sentence.words).encode())
            digest.update(target.numpy().tobytes())
        return digest.hexdigest()


def _cut(places: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(places), size):
        yield places[start : start + size]
