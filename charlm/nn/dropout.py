"""Two kinds of dropout for sequences of word vectors, as in Flair.

Locked dropout is Gal and Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural
Networks".
"""

# B = sentences, N = tokens, D = width of a vector, W = rows of all sentences (see ragged.py)

import torch
from torch import Tensor, nn


class LockedDropout(nn.Module):
    """Drops the same values of the vectors at all places of a sentence."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor, sequence: Tensor | None = None) -> Tensor:
        """The same shape: (B, N, D), or (W, D) where `sequence` (W,) has the number of each row's sentence."""
        if not self.training or self.share == 0:
            return x
        shape = (x.shape[0], 1, x.shape[2]) if sequence is None else (int(sequence[-1]) + 1, x.shape[1])
        kept = torch.empty(shape, device=x.device, dtype=x.dtype).bernoulli_(1 - self.share).div_(1 - self.share)
        return x * (kept if sequence is None else kept.index_select(0, sequence))


class WordDropout(nn.Module):
    """Drops whole words: their vectors become zero."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:  # (B, N, D) or (W, D) -> the same
        if not self.training or self.share == 0:
            return x
        return x * torch.empty(*x.shape[:-1], 1, device=x.device, dtype=x.dtype).bernoulli_(1 - self.share)
