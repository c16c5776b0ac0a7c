"""The sentences that a tagger or classifier learns from, in the order of each epoch."""

from collections.abc import Iterator

import numpy as np
import xxhash

from charlm.config import DownstreamTrainingConfig
from charlm.data.corpus import Corpus
from charlm.data.sentence import Sentence
from charlm.errors import DatasetError
from charlm.models.downstream_model import DownstreamModel
from charlm.trainers.downstream.options import TrainingOptions


class TrainSet:
    """The train sentences of a corpus that have words, and their targets.

    Raises DatasetError when there is none, or when the model does not know a label.
    """

    def __init__(
        self, corpus: Corpus, model: DownstreamModel, config: DownstreamTrainingConfig, options: TrainingOptions
    ) -> None:
        dev = corpus.dev if config.train_with_dev else []
        test = corpus.test if options.train_with_test else []
        self.sentences: list[Sentence] = [sentence for sentence in (*corpus.train, *dev, *test) if len(sentence)]
        if not self.sentences:
            raise DatasetError(f"the corpus {corpus.name} has no train sentences with words")
        self.targets = list(map(model.encode_labels, self.sentences))
        self._config = config
        self._sampler = options.sampler() if isinstance(options.sampler, type) else options.sampler
        if self._sampler is not None:
            self._sampler.set_dataset(self.sentences)

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def num_batches(self) -> int:
        """Mini-batches of an epoch without a sampler."""
        return -(-len(self.sentences) // self._config.mini_batch_size)

    def batches(self, epoch: int) -> list[list[int]]:
        """The places of the sentences of each mini-batch of an epoch, drawn from the seed and the epoch's number."""
        if self._sampler is not None:
            return list(_cut([int(place) for place in self._sampler], self._config.mini_batch_size))
        order = np.arange(len(self.sentences))
        if self._config.shuffle:
            np.random.default_rng([self._config.seed, epoch]).shuffle(order)
        return list(_cut(order.tolist(), self._config.mini_batch_size))

    def chunks(self, batch: list[int]) -> Iterator[list[int]]:
        """The parts of a mini-batch that are computed at once."""
        return _cut(batch, self._config.mini_batch_chunk_size or len(batch))

    def sample(self, size: float) -> list[Sentence]:
        """A share (below 1) or number of the sentences, evenly spread; the same after every epoch."""
        count = round(size * len(self.sentences)) if size < 1 else int(size)
        places = np.unique(np.linspace(0, len(self.sentences) - 1, min(count, len(self.sentences)), dtype=np.int64))
        return [self.sentences[place] for place in places]

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
