"""Kinds of dropout for sequences of vectors, and for weights; those of word vectors as in Flair.

Locked dropout is Gal and Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural
Networks".
"""

# B = sentences, N = tokens, D = width of a vector, W = rows of all sentences (see ragged.py)

import torch
from torch import Tensor, nn

from charlm.nn.ragged import Ragged


class _Dropout(nn.Module):
    """Drops a share of the input while training."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    @property
    def is_active(self) -> bool:
        return self.training and self.share > 0

    def kept(self, x: Tensor, *shape: int) -> Tensor:
        """Ones where something is kept, else zeros. (`bernoulli_` takes five times as long on a CPU, torch 2.13.)"""
        return (torch.rand(shape, device=x.device) >= self.share).to(x.dtype)


def is_active(dropout: nn.Module) -> bool:
    """Whether a dropout, of ours or torch's, drops anything now."""
    if isinstance(dropout, nn.Dropout):
        return dropout.training and dropout.p > 0
    assert isinstance(dropout, _Dropout)
    return dropout.is_active


class Dropout(_Dropout):
    """Drops single values."""

    def forward(self, x: Tensor) -> Tensor:  # any shape -> the same
        return x * self.kept(x, *x.shape).div_(1 - self.share) if self.is_active else x


class LockedDropout(_Dropout):
    """Drops the same values of the vectors at all places of a sentence."""

    def forward(self, x: Tensor, ragged: Ragged | None = None) -> Tensor:
        """The same shape: (B, N, D), or (W, D) where `ragged` has the sentence of each row."""
        if not self.is_active:
            return x
        if ragged is None:
            return x * self.kept(x, x.shape[0], 1, x.shape[2]).div_(1 - self.share)
        kept = self.kept(x, len(ragged.lengths), x.shape[1]).div_(1 - self.share)
        return x * kept.index_select(0, ragged.sequence)


class WordDropout(_Dropout):
    """Drops whole words: their vectors become zero."""

    def forward(self, x: Tensor) -> Tensor:  # (B, N, D) or (W, D) -> the same
        return x * self.kept(x, *x.shape[:-1], 1) if self.is_active else x


# ---- of language models, which read time first (T, B, …) -------------------------------------------------------------


class TimeLockedDropout(_Dropout):
    """Drops the same values of the vectors at all times of a sequence."""

    def forward(self, x: Tensor) -> Tensor:  # (T, B, D) -> the same
        return x * self.kept(x, 1, *x.shape[1:]).div_(1 - self.share) if self.is_active else x


class EmbeddingDropout(_Dropout):
    """Drops words of the dictionary: all their vectors in a mini-batch become zero (Gal and Ghahramani 2016).

    It works on what was looked up, so that rows that are also the weights of a softmax lose nothing there.
    """

    def __init__(self, share: float, size: int) -> None:
        super().__init__(share)
        self.size = size

    def forward(self, embedded: Tensor, ids: Tensor) -> Tensor:  # (T, B, D) and (T, B) -> (T, B, D)
        if not self.is_active:
            return embedded
        kept = self.kept(embedded, self.size).div_(1 - self.share)
        return embedded * kept[ids].unsqueeze(-1)


class WeightDropout(_Dropout):
    """Drops single weights for a whole mini-batch (Wan et al. 2013, "Regularization of Neural Networks using
    DropConnect"; Merity et al. 2018, "Regularizing and Optimizing LSTM Language Models").
    """

    def forward(self, weight: Tensor) -> Tensor:  # any shape -> the same
        return weight * self.kept(weight, *weight.shape).div_(1 - self.share) if self.is_active else weight
