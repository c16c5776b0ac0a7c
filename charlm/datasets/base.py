"""Data sets in memory, and batches of them, under the names that they have in Flair."""

import random
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from charlm.data.data_point import DataPoint
from charlm.data.sentence import Sentence
from charlm.data.token_sequence import Tokenizer

Item = TypeVar("Item", bound=DataPoint)


class FlairDatapointDataset(list[Item]):
    """One data point or several, as a list that a Corpus takes for a split."""

    def __init__(self, datapoints: Item | Iterable[Item]) -> None:
        super().__init__([datapoints] if isinstance(datapoints, DataPoint) else datapoints)

    def is_in_memory(self) -> bool:
        return True


class SentenceDataset(FlairDatapointDataset[Sentence]):
    """One sentence or several, under the name of older versions of Flair."""

    def __init__(self, sentences: Sentence | Iterable[Sentence]) -> None:
        warnings.warn("SentenceDataset is called FlairDatapointDataset now", DeprecationWarning, stacklevel=2)
        super().__init__(sentences)


class StringDataset(FlairDatapointDataset[Sentence]):
    """Sentences of one text or several; words stand between spaces unless a tokenizer is named."""

    def __init__(self, texts: str | Iterable[str], use_tokenizer: bool | str | Tokenizer = False) -> None:
        texts = [texts] if isinstance(texts, str) else texts
        super().__init__([Sentence(text, use_tokenizer=use_tokenizer) for text in texts])


class DataLoader(Generic[Item]):
    """The batches of a data set, each a list.

    Args:
        dataset: what has a length and items.
        batch_size: items of a batch.
        shuffle: whether the order is drawn anew, from Python's `random`, at each pass.
        drop_last: whether a last batch of fewer items is left out.
    """

    def __init__(
        self, dataset: Sequence[Item], batch_size: int = 1, shuffle: bool = False, drop_last: bool = False
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[Item]]:
        order = list(range(len(self.dataset)))
        if self.shuffle:
            random.shuffle(order)
        for batch in range(len(self)):
            places = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [self.dataset[place] for place in places]

    def __len__(self) -> int:
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + bool(rest and not self.drop_last)
