"""One vector for a whole sentence: the largest answers of convolutions over its words (Kim 2014)."""

# B = sentences, N = tokens of the longest, D = width of token embeddings, K = words that a convolution sees, C = its
# number of answers

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.data.sentence import Sentence
from charlm.embeddings.base import TokenEmbeddings
from charlm.embeddings.batches import token_matrix
from charlm.embeddings.document_network import DocumentNetworkEmbeddings
from charlm.errors import ConfigError
from charlm.storage.atomic import JsonObject


class DocumentCNNEmbeddings(DocumentNetworkEmbeddings):
    """The largest answer of each convolution over the words of a sentence; zeros for a sentence without words.

    Arguments and numbers are Flair's for a sentence that is embedded alone. Here the vectors do not depend on the
    other sentences of a batch.

    Args:
        embeddings: token embeddings, stacked.
        kernels: of each convolution the number of its answers and the number of words that it sees.
        reproject_words: put a linear layer before the convolutions.
        reproject_words_dimension: its width; that of the token vectors by default.
        dropout: share of the values dropped before and after the convolutions.
        word_dropout: share of the words dropped.
        locked_dropout: share of the values dropped at all places of a sentence.
        fine_tune: train with the downstream model; otherwise the vectors carry no gradient.
    """

    def __init__(
        self,
        embeddings: TokenEmbeddings | Sequence[TokenEmbeddings],
        kernels: Sequence[tuple[int, int]] = ((100, 3), (100, 4), (100, 5)),
        reproject_words: bool = True,
        reproject_words_dimension: int | None = None,
        dropout: float = 0.5,
        word_dropout: float = 0.0,
        locked_dropout: float = 0.0,
        fine_tune: bool = True,
    ) -> None:
        super().__init__()
        if not kernels or not all(count > 0 and size > 0 for count, size in kernels):
            raise ConfigError(f"kernels are pairs of positive numbers, as in ((100, 3), (100, 4)); got {kernels!r}")
        width = self._set_up(
            embeddings,
            reproject_words=reproject_words,
            reproject_words_dimension=reproject_words_dimension,
            dropout=dropout,
            word_dropout=word_dropout,
            locked_dropout=locked_dropout,
            fine_tune=fine_tune,
        )
        self.kernels = [(count, size) for count, size in kernels]
        self.convs = nn.ModuleList(nn.Conv1d(width, count, size) for count, size in self.kernels)
        self.name = "document_cnn"

    @property
    def embedding_length(self) -> int:
        return sum(count for count, _ in self.kernels)

    @property
    def _network(self) -> nn.Module:
        return self.convs

    def _settings(self) -> JsonObject:
        return super()._settings() | {"kernels": [list(kernel) for kernel in self.kernels]}

    def _vectors(self, sentences: list[Sentence], device: torch.device) -> Tensor:
        lengths = [len(sentence) for sentence in sentences]
        rows = token_matrix(sentences, self.embeddings.get_names(), device)
        return self._answers(nn.utils.rnn.pad_sequence(list(torch.split(rows, lengths)), batch_first=True), lengths)

    def _answers(self, x: Tensor, lengths: list[int]) -> Tensor:
        """The largest answers, (B, C of all), over words (B, N, D), of which each sentence has its length."""
        least = max(size for _, size in self.kernels)
        x = F.pad(x, (0, 0, 0, max(0, least - x.shape[1])))
        x = self.word_dropout(self.locked_dropout(self.dropout(x)))
        if self.word_reprojection_map is not None:
            x = self.word_reprojection_map(x)
        ends = torch.tensor([max(length, least) for length in lengths], device=x.device)  # (B,)
        found = []
        for conv, (_, size) in zip(self.convs, self.kernels, strict=True):
            answers = torch.relu(conv(x.transpose(1, 2)))  # (B, C, N - K + 1)
            places = torch.arange(answers.shape[2], device=x.device)
            is_outside = places[None] > ends[:, None] - size
            found.append(answers.masked_fill(is_outside[:, None], 0.0).amax(dim=2))
        vectors: Tensor = self.locked_dropout(self.dropout(torch.cat(found, dim=1))[:, None])
        return vectors.flatten(1)
