"""One vector for a whole sentence: the largest answers of convolutions over its words (Kim 2014)."""

# B = sentences, N = tokens of the longest, D = width of token embeddings, K = words that a convolution sees, C = its
# number of answers

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.data.sentence import Sentence
from charlm.embeddings.base import DocumentEmbeddings, Embeddings, TokenEmbeddings
from charlm.embeddings.batches import token_matrix
from charlm.embeddings.stacked import stacked, token_embeddings_from_json
from charlm.errors import ConfigError
from charlm.nn.bf16_linear import Linear
from charlm.nn.dropout import Dropout, LockedDropout, WordDropout
from charlm.storage.atomic import JsonObject


class DocumentCNNEmbeddings(DocumentEmbeddings):
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
        self.embeddings = stacked(embeddings)
        self.static_embeddings = not fine_tune
        width = self.embeddings.embedding_length
        self.word_reprojection_map: Linear | None = None
        if reproject_words:
            self.word_reprojection_map = Linear(width, reproject_words_dimension or width)
            nn.init.xavier_uniform_(self.word_reprojection_map.weight)
            width = self.word_reprojection_map.out_features
        self.kernels = [(count, size) for count, size in kernels]
        self.convs = nn.ModuleList(nn.Conv1d(width, count, size) for count, size in self.kernels)
        self.dropout = Dropout(dropout)
        self.locked_dropout = LockedDropout(locked_dropout)
        self.word_dropout = WordDropout(word_dropout)
        self.name = "document_cnn"

    @property
    def embedding_length(self) -> int:
        return sum(count for count, _ in self.kernels)

    def frozen_parts(self) -> list[Embeddings]:
        return super().frozen_parts() or self.embeddings.frozen_parts()

    def all_names(self) -> list[str]:
        return [self.name, *self.embeddings.all_names()]

    def _settings(self) -> JsonObject:
        reprojection = self.word_reprojection_map
        return {
            "embeddings": self.embeddings.to_json(),
            "kernels": [list(kernel) for kernel in self.kernels],
            "reproject_words": reprojection is not None,
            "reproject_words_dimension": None if reprojection is None else reprojection.out_features,
            "dropout": self.dropout.share,
            "word_dropout": self.word_dropout.share,
            "locked_dropout": self.locked_dropout.share,
            "fine_tune": not self.static_embeddings,
        }

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        return cls(**settings | {"embeddings": token_embeddings_from_json(settings["embeddings"])})

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        device = next(self.convs.parameters()).device
        full = [sentence for sentence in sentences if len(sentence)]
        for sentence in sentences:
            if not len(sentence):
                sentence.set_embedding(self.name, torch.zeros(self.embedding_length, device=device))
        if not full:
            return
        self.embeddings.embed(full)
        rows = token_matrix(full, self.embeddings.get_names(), device)
        lengths = [len(sentence) for sentence in full]
        vectors = self._answers(nn.utils.rnn.pad_sequence(list(torch.split(rows, lengths)), batch_first=True), lengths)
        if self.static_embeddings:
            vectors = vectors.detach()
        for sentence, vector in zip(full, vectors, strict=True):
            sentence.set_embedding(self.name, vector)

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
