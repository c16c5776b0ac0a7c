"""Text as batches for language models: a few long streams side by side, cut into pieces that follow one another."""

# N = words of a text, T = words of each stream in a batch, B = streams

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, overload

import torch
from torch import Tensor

from charlm.errors import ConfigError, CorpusError

if TYPE_CHECKING:
    from charlm.word.vocab import Vocab


class CorpusBatchify:
    """Turns the words of a text into `batch_size` streams; words that do not fill a last row are left out."""

    def __init__(self, vocab: "Vocab", batch_size: int) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        self._vocab = vocab
        self._batch_size = batch_size

    def __call__(self, data: Sequence[str]) -> Tensor:
        """The ids of the words, int64 (N // B, B): each column is a stream."""
        ids = _ids(self._vocab, data)
        length = len(ids) // self._batch_size
        return ids[: length * self._batch_size].view(self._batch_size, length).t()  # (N // B, B)


class CorpusBPTTBatchify:
    """Turns the words of a text into batches for truncated back-propagation through time.

    Args:
        vocab: gives the ids.
        seq_len: words of each stream in a batch.
        batch_size: number of streams.
        last_batch: `keep` fills the last batch with the padding token of the dictionary, `discard` leaves it out.
    """

    def __init__(
        self, vocab: "Vocab", seq_len: int, batch_size: int, last_batch: Literal["keep", "discard"] = "keep"
    ) -> None:
        if seq_len < 1 or batch_size < 1:
            raise ConfigError(f"seq_len and batch_size must be at least 1, got {seq_len} and {batch_size}")
        if last_batch not in ("keep", "discard"):
            raise ConfigError(f"last_batch is keep or discard, got {last_batch!r:.60}")
        if last_batch == "keep" and vocab.padding_token is None:
            raise ConfigError("last_batch='keep' fills the last batch with the padding token, and this vocab has none")
        self._vocab = vocab
        self._seq_len = seq_len
        self._batch_size = batch_size
        self._keeps_last = last_batch == "keep"

    def __call__(self, data: Sequence[str]) -> "BPTTBatches":
        """The batches; raises CorpusError where the text is too short for one."""
        ids = _ids(self._vocab, data)
        if self._keeps_last:
            length = math.ceil(len(ids) / self._batch_size)
            length += -(length - 1) % self._seq_len  # the first word of a stream is no target
            padding = ids.new_full((length * self._batch_size - len(ids),), self._vocab[self._vocab.padding_token])
            ids = torch.cat([ids, padding])
        else:
            length = len(ids) // self._batch_size
        if length <= (0 if self._keeps_last else self._seq_len):
            raise CorpusError(
                f"a text of {len(data)} words gives {self._batch_size} streams of {length}, and a batch takes"
                f" {self._seq_len + 1}; lower batch_size or seq_len"
            )
        return BPTTBatches(ids[: length * self._batch_size].view(self._batch_size, length).t(), self._seq_len)


class BPTTBatches(Sequence[tuple[Tensor, Tensor]]):
    """The pairs of words and the words that follow them, (T, B) each, in the order in which they are to be read."""

    def __init__(self, streams: Tensor, seq_len: int) -> None:  # (length of a stream, B)
        self._streams = streams
        self._seq_len = seq_len

    def __len__(self) -> int:
        return (len(self._streams) - 1) // self._seq_len

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return (self[number] for number in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]: ...

    @overload
    def __getitem__(self, index: slice) -> list[tuple[Tensor, Tensor]]: ...

    def __getitem__(self, index: int | slice) -> tuple[Tensor, Tensor] | list[tuple[Tensor, Tensor]]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        start = range(len(self))[index] * self._seq_len
        streams = self._streams[start : start + self._seq_len + 1]
        return streams[:-1].contiguous(), streams[1:].contiguous()


def _ids(vocab: "Vocab", data: Sequence[str]) -> Tensor:
    if data and not isinstance(data[0], str):
        raise ConfigError("a text for batches is one list of words: make the CorpusDataset with flatten=True")
    return torch.tensor(vocab[list(data)], dtype=torch.int64)  # (N,)
