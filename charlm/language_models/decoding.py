"""What a language model makes of its outputs: logits, and the cross entropy of targets.

A decoder is a linear layer with weights of its own, or a softmax that shares those of the embedding. Whichever it is,
no more logits are in memory at a time than the constants here and in softmax.py allow.
"""

# T = sequence length in units, B = mini-batch size, D = width of the output, V = dictionary size

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.nn.kernel import kernel_for
from charlm.nn.softmax import LOGITS_AT_ONCE, ClusteredSoftmax, at_least_fp32, softmax_loss

Decoder = nn.Linear | ClusteredSoftmax

MOST_TRAINED_LOGITS = 1 << 28
"""Logits of a sequence that are all in memory while a linear decoder is trained: 1 GB of fp32."""


def logits_of(decoder: Decoder, embedding: Tensor, output: Tensor) -> Tensor:
    """Logits (…, V) from outputs (…, D), with the weights of the embedding (V, D) where they are shared."""
    if isinstance(decoder, nn.Linear):
        logits: Tensor = decoder(output)
        return logits
    rows = output.reshape(-1, output.shape[-1])
    return decoder.log_probabilities(rows, embedding).view(*output.shape[:-1], -1)


def mean_nats(
    decoder: Decoder,
    embedding: Tensor,
    output: Tensor,
    targets: Tensor,
    *,
    cluster_sizes: Sequence[int] | None = None,
) -> Tensor:
    """Mean cross entropy of the targets (T, B) after outputs (T, B, D), in nats, for training.

    `cluster_sizes` are those of `ClusteredSoftmax.loss`.
    """
    rows, expected = output.flatten(0, 1), targets.flatten()
    if isinstance(decoder, ClusteredSoftmax):
        return decoder.loss(rows, embedding, expected, cluster_sizes=cluster_sizes)
    is_large = len(rows) * decoder.out_features > MOST_TRAINED_LOGITS
    if torch.is_grad_enabled() and (is_large or kernel_for(rows) is not None):
        return softmax_loss(rows, decoder.weight, decoder.bias, expected)
    return F.cross_entropy(at_least_fp32(decoder(rows)), expected)


def target_nats(decoder: Decoder, embedding: Tensor, output: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy of each of the targets (T, B) after outputs (T, B, D), in nats, (T, B)."""
    rows, expected = output.flatten(0, 1), targets.flatten()
    if isinstance(decoder, ClusteredSoftmax):
        return decoder.nats(rows, embedding, expected).view_as(targets)
    rows_at_once = max(1, LOGITS_AT_ONCE // decoder.out_features)
    nats = [
        F.cross_entropy(at_least_fp32(decoder(part)), target, reduction="none")
        for part, target in zip(torch.split(rows, rows_at_once), torch.split(expected, rows_at_once), strict=True)
    ]
    return torch.cat(nats).view_as(targets)
