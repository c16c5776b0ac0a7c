"""Two kinds of dropout for sequences of word vectors, as in Flair.

Locked dropout is Gal and Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural
Networks".
"""

# B = sentences, N = tokens, D = width of a vector

import torch
from torch import Tensor, nn


class LockedDropout(nn.Module):
    """Drops the same values of the vectors at all places of a sentence."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:  # (B, N, D) -> (B, N, D)
        if not self.training or self.share == 0:
            return x
        kept = torch.empty(x.shape[0], 1, x.shape[2], device=x.device, dtype=x.dtype).bernoulli_(1 - self.share)
        return x * kept / (1 - self.share)


class WordDropout(nn.Module):
    """Drops whole words: their vectors become zero."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:  # (B, N, D) -> (B, N, D)
        if not self.training or self.share == 0:
            return x
        return x * torch.empty(*x.shape[:2], 1, device=x.device, dtype=x.dtype).bernoulli_(1 - self.share)
