"""Cross entropy over large dictionaries: exact, or clustered, with memory that does not grow with the dictionary.

A clustered softmax (Goodman 2001, "Classes for fast maximum entropy training"; Grave et al. 2017, "Efficient softmax
approximation for GPUs") predicts one of the most frequent words or a cluster of rarer ones, and then the word within
that cluster. It stays a proper distribution, but most targets need few rows of the weights. Unlike Grave's, rare words
keep rows of full width, so that the rows can be those of the embedding (Press and Wolf 2017, "Using the output
embedding to improve language models"). Without cutoffs it is the exact softmax.

The gradient is made together with the loss, while the probabilities of some rows are at hand, and goes into one buffer:
automatic differentiation would keep all logits, and make a buffer of the size of all weights for each cluster.
"""

# N = targets, D = width of the output, V = dictionary size, K = clusters, F = frequent words, which are in no cluster

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from charlm.nn.kernel import kernel_of

LOGITS_AT_ONCE = 1 << 24
"""Logits that a training computes at a time: 64 MB of fp32."""

_FP32_COLUMNS = 1024
_ROW_GRID = 32  # oneDNN compiles a bf16 product for its exact shape, so batches of rows come in few sizes


class ClusteredSoftmax(nn.Module):
    """A bias for each word, and a weight and a bias for each cluster; the words' weights are those of an embedding.

    Args:
        size: V.
        width: D.
        cutoffs: the id where each cluster begins, ascending (see cutoffs.py); ids below the first one are in no
            cluster. Without cutoffs the softmax is exact.
    """

    def __init__(self, size: int, width: int, cutoffs: Sequence[int] = ()) -> None:
        super().__init__()
        self.cutoffs = tuple(cutoffs)
        self.bias = nn.Parameter(torch.zeros(size))
        self.register_buffer("_bounds", torch.tensor(self.cutoffs, dtype=torch.int64), persistent=False)
        if self.cutoffs:
            self.cluster_weight = nn.Parameter(torch.zeros(len(self.cutoffs), width))
            self.cluster_bias = nn.Parameter(torch.zeros(len(self.cutoffs)))
        else:
            self.register_parameter("cluster_weight", None)
            self.register_parameter("cluster_bias", None)

    _bounds: Tensor

    @torch.no_grad()
    def start_at(self, counts: np.ndarray) -> None:
        """Set the biases so that small weights predict each word as often as it occurs, (V,)."""
        logarithms = torch.from_numpy(np.log(np.maximum(counts, 0.5) / max(counts.sum(), 1.0))).to(self.bias)
        self.bias.copy_(logarithms)
        for number, part in enumerate(torch.tensor_split(logarithms, self.cutoffs)[1:]):
            self.cluster_bias[number] = part.logsumexp(0)

    def loss(self, x: Tensor, weight: Tensor, targets: Tensor, *, cluster_sizes: Sequence[int] | None = None) -> Tensor:
        """Mean cross entropy of targets (N,) after outputs (N, D), nats, with the words' weights (V, D).

        `cluster_sizes`, how many targets are in no cluster and in each of them (1 + K), spares a wait for a GPU.
        """
        if not torch.is_grad_enabled():
            return self.nats(x, weight, targets).mean()
        clusters = Clusters(self.cutoffs, self._bounds, cluster_sizes)
        return softmax_loss(x, weight, self.bias, targets, self.cluster_weight, self.cluster_bias, clusters)

    @torch.no_grad()
    def nats(self, x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy of each target, (N,) of at least fp32, without a gradient."""
        nats = torch.zeros(len(targets), dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
        clusters = Clusters(self.cutoffs, self._bounds)
        parts = _Parts(weight, self.bias, self.cluster_weight, self.cluster_bias, clusters)
        low, memory = _compute_type(x), _memory(x, parts, _scored_at_once)
        for part, places, expected in parts.of(targets):
            rows = part.weight.to(low)
            for chunk in _chunks(places, _scored_at_once(len(rows))):
                logits = _logits(x[places[chunk]].to(low), rows, part.bias, memory)  # (n, rows)
                nats[places[chunk]] += _exponentials(logits, expected[chunk, None])[1].squeeze(1)
        return nats

    def log_probabilities(self, x: Tensor, weight: Tensor) -> Tensor:
        """The logarithm of the probability of every word, (N, V), for few outputs (N, D)."""
        if not self.cutoffs:
            return at_least_fp32(x @ weight.t() + self.bias).log_softmax(1)
        clusters = Clusters(self.cutoffs, self._bounds)
        head, *tails = _Parts(weight, self.bias, self.cluster_weight, self.cluster_bias, clusters).all
        of_head = at_least_fp32(x @ head.weight.t() + head.bias).log_softmax(1)
        words, chosen = torch.split(of_head, [self.cutoffs[0], len(self.cutoffs)], dim=1)
        within = [at_least_fp32(x @ part.weight.t() + part.bias).log_softmax(1) for part in tails]
        return torch.cat([words, *(chosen[:, k, None] + part for k, part in enumerate(within))], dim=1)


@dataclass(frozen=True)
class Clusters:
    """Which words are in which cluster."""

    cutoffs: tuple[int, ...] = ()
    """The id where each of the K clusters begins."""

    bounds: Tensor | None = None
    """The same (K,), on the device of the targets."""

    sizes: Sequence[int] | None = None
    """How many targets are in no cluster and in each of them, (1 + K), where that is known."""


NO_CLUSTERS = Clusters()


def softmax_loss(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    cluster_weight: Tensor | None = None,
    cluster_bias: Tensor | None = None,
    clusters: Clusters = NO_CLUSTERS,
) -> Tensor:
    """Mean cross entropy of targets (N,) after outputs (N, D), nats, whose gradients are ready when it returns.

    Under autocast products are in its type; probabilities and their logarithms are fp32 always.

    Args:
        x: outputs (N, D).
        weight: of the words (V, D).
        bias: of the words (V,).
        targets: ids (N,).
        cluster_weight: of the clusters (K, D).
        cluster_bias: of the clusters (K,).
        clusters: the words in them.
    """
    loss: Tensor = _SoftmaxLoss.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, cluster_weight, cluster_bias, targets, clusters
    )
    return loss


# ---- the parts of a softmax ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """One softmax: that of the frequent words and the clusters, or that of the words in one cluster."""

    weight: Tensor
    bias: Tensor
    words: slice
    """Its words."""


class _Parts:
    """The softmaxes that a distribution over all words is made of."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        cluster_weight: Tensor | None,
        cluster_bias: Tensor | None,
        clusters: Clusters,
    ) -> None:
        self.clusters = clusters
        ends = (*clusters.cutoffs, len(weight))
        head = slice(0, ends[0])
        if cluster_weight is None or cluster_bias is None:
            self.all = [_Part(weight, bias, head)]
            return
        self.all = [_Part(torch.cat([weight[head], cluster_weight]), torch.cat([bias[head], cluster_bias]), head)]
        for start, end in itertools.pairwise(ends):
            self.all.append(_Part(weight[start:end], bias[start:end], slice(start, end)))

    def of(self, targets: Tensor) -> Iterator[tuple[_Part, Tensor, Tensor]]:
        """Each softmax, the places of the targets that need it (n,), and what it has to predict there (n,)."""
        places = torch.arange(len(targets), device=targets.device)
        cutoffs, bounds, sizes = self.clusters.cutoffs, self.clusters.bounds, self.clusters.sizes
        if bounds is None or not cutoffs:
            yield self.all[0], places, targets
            return
        cluster = torch.bucketize(targets, bounds, right=True)  # 0 for a frequent word
        num_frequent = cutoffs[0]
        yield self.all[0], places, torch.where(cluster == 0, targets, num_frequent - 1 + cluster)
        by_cluster = torch.argsort(cluster, stable=True)
        if sizes is None:
            sizes = torch.bincount(cluster, minlength=len(self.all)).tolist()
        for part, own in zip(self.all[1:], torch.split(by_cluster, list(sizes))[1:], strict=True):
            yield part, own, targets[own] - part.words.start


def _trained_at_once(size: int) -> int:
    """Targets whose logits, `size` for each, are in memory together when a gradient is made."""
    return max(1, LOGITS_AT_ONCE // size)


def _scored_at_once(size: int) -> int:
    """The same without a gradient, where a few more products cost nothing."""
    return max(_trained_at_once(4 * size), min(_trained_at_once(size), 128))


def _chunks(places: Tensor, step: int) -> Iterator[slice]:
    for start in range(0, len(places), step):
        yield slice(start, start + step)


def _compute_type(x: Tensor) -> torch.dtype:
    """The type that products are computed in."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def at_least_fp32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _logits(x: Tensor, weight: Tensor, bias: Tensor, memory: Tensor) -> Tensor:
    """Logits (n, rows), at least fp32, of outputs (n, D) in the type of the weights (rows, D), in `memory`."""
    product = _product(x, weight, memory)
    if product.dtype != memory.dtype:
        product = memory[: product.numel()].view_as(product).copy_(product)
    return product.add_(bias)


def _product(x: Tensor, weight: Tensor, memory: Tensor) -> Tensor:
    """`x` (n, D) times `weight` (rows, D) transposed, in their type; in `memory` where that is its type too."""
    if x.dtype != memory.dtype:
        return torch.mm(x, weight.t())
    stride = _stride(len(weight))
    product = memory[: len(x) * stride].view(len(x), stride)[:, : len(weight)]
    if x.device.type != "cpu" or len(weight) <= _FP32_COLUMNS:
        return torch.mm(x, weight.t(), out=product)
    # A product that is much wider than high takes nearly twice as long at once (MKL on AVX-512).
    for start in range(0, len(weight), _FP32_COLUMNS):
        end = start + _FP32_COLUMNS
        torch.mm(x, weight[start:end].t(), out=product[:, start:end])
    return product


def _stride(size: int) -> int:
    """The distance of two rows of `size` logits in memory."""
    if size <= _FP32_COLUMNS:
        return size
    # Products write and read rows that begin on a cache line up to twice as fast, and not at a multiple of 2 KB, where
    # all rows meet in few lines of the cache (MKL on AVX2).
    stride = (size + 31) // 32 * 32
    return stride + 32 * (stride % 512 == 0)


def _memory(x: Tensor, parts: "_Parts", at_once: Callable[[int], int]) -> Tensor:
    """Room for the logits of any chunk of (N, D), and for the rows that _on_grid adds."""
    sizes = [len(part.weight) for part in parts.all]
    most = max((min(len(x), at_once(size)) + _ROW_GRID) * _stride(size) for size in sizes)
    return torch.empty(most, dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)


# ---- loss and gradient ---------------------------------------------------------------------------------------------


_FP16_SCALE = 2.0**16
"""What gradients in fp16 are computed with and divided by: those of a mean over many targets are too small for it."""


class _Context(torch.autograd.function.FunctionCtx):
    has_clusters: bool
    scale: float
    gradients: list[Tensor] | None


class _SoftmaxLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Context,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        cluster_weight: Tensor | None,
        cluster_bias: Tensor | None,
        targets: Tensor,
        clusters: Clusters,
    ) -> Tensor:
        low = _compute_type(x)
        ctx.scale = _FP16_SCALE if low == torch.float16 else 1.0
        with torch.autocast(x.device.type, enabled=False):
            loss, gradients = _loss_and_gradients(
                x, _Parts(weight, bias, cluster_weight, cluster_bias, clusters), targets, low, len(weight), ctx.scale
            )
        ctx.has_clusters = cluster_weight is not None
        ctx.gradients = gradients
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None  # they are used up: nothing else may hold them
        assert gradients is not None
        if ctx.scale != 1 or gradient.device.type != "cpu" or float(gradient) != 1:
            gradients = [part.mul_(gradient / ctx.scale) for part in gradients]
        return (*gradients, *(() if ctx.has_clusters else (None, None)), None, None)


def _loss_and_gradients(
    x: Tensor, parts: _Parts, targets: Tensor, low: torch.dtype, size: int, scale: float
) -> tuple[Tensor, list[Tensor]]:
    """Mean nats, and `scale` times the gradients of outputs, weights and biases: of the words, then of the clusters."""
    num_targets, width = x.shape
    rows = x.to(low)
    nats = x.new_zeros((), dtype=torch.float64)
    to_x: Tensor | None = None
    to_weight = torch.empty(size, width, dtype=parts.all[0].weight.dtype, device=x.device)
    to_bias = torch.empty(size, dtype=parts.all[0].bias.dtype, device=x.device)
    of_clusters: list[Tensor] = []
    memory = _memory(x, parts, _trained_at_once)
    kernel = kernel_of(low, x.device)
    for part, places, expected in parts.of(targets):
        weight = part.weight.to(low)
        has_clusters = bool(parts.clusters.cutoffs) and part is parts.all[0]
        if has_clusters:
            into, into_bias = torch.empty_like(part.weight), torch.empty_like(part.bias)
        else:
            into, into_bias = to_weight[part.words], to_bias[part.words]
        if not len(places):
            into.zero_(), into_bias.zero_()
        for chunk in _chunks(places, _trained_at_once(len(weight))):
            is_all = len(places) == num_targets and chunk.start == 0 and chunk.stop >= num_targets
            own = rows if is_all else rows[places[chunk]]
            padded = own if is_all else _on_grid(own)  # all targets are equally many in nearly every step
            if kernel is None:
                logits = _logits(padded, weight, part.bias, memory)[: len(own)]  # (n, rows)
                chunk_nats, scores = _scores(logits, expected[chunk, None], scale / num_targets)
                to_part_bias, scores = scores.sum(0), scores.to(low)
                scores = scores if is_all else _on_grid(scores)
            else:
                scores = _product(padded, weight, memory)  # (n, rows)
                found, to_part_bias = kernel.softmax(
                    scores[: len(own)], part.bias, expected[chunk], scale=scale / num_targets
                )
                chunk_nats = torch.tensor(found, dtype=torch.float64)
                scores[len(own) :] = 0
            nats += chunk_nats
            _add_product(to_part_bias, into_bias, is_first=chunk.start == 0)
            if padded.dtype == into.dtype:
                torch.addmm(into, scores.t(), padded, beta=int(chunk.start > 0), out=into)
            else:
                _add_product(scores.t() @ padded, into, is_first=chunk.start == 0)
            to_own = (scores @ weight)[: len(own)]
            if is_all and len(parts.all) == 1:
                to_x = to_own
                break
            if to_x is None:
                to_x = x.new_zeros(num_targets, width, dtype=torch.promote_types(x.dtype, torch.float32))
            to_x.index_add_(0, places[chunk], to_own.to(to_x.dtype))
        if has_clusters:
            frequent = part.words.stop
            to_weight[:frequent], to_bias[:frequent] = into[:frequent], into_bias[:frequent]
            of_clusters = [into[frequent:].clone(), into_bias[frequent:].clone()]
    assert to_x is not None
    loss = (nats / num_targets).to(torch.promote_types(x.dtype, torch.float32))
    return loss, [to_x.to(x.dtype), to_weight, to_bias, *of_clusters]


def _scores(logits: Tensor, targets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Summed cross entropy of the targets (n, 1), and `scale` times its gradient for the logits (n, rows)."""
    sums, nats = _exponentials(logits, targets)
    scores = logits.mul_((sums / scale).reciprocal_())  # probabilities, less the targets
    return nats.sum(dtype=torch.float64), scores.scatter_add_(1, targets, scores.new_full(targets.shape, -scale))


def _exponentials(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Make exponentials of `logits` (n, rows) in their place, free of overflow; their sums and the nats of `targets`.

    All but `logits` are (n, 1): `logsumexp` would need memory for as many exponentials again.
    """
    logits.sub_(logits.amax(1, keepdim=True))
    of_targets = logits.gather(1, targets)
    sums = logits.exp_().sum(1, keepdim=True)
    return sums, sums.log() - of_targets


def _add_product(product: Tensor, into: Tensor, *, is_first: bool) -> None:
    if is_first:
        into.copy_(product)
    else:
        into.add_(product)


def _on_grid(x: Tensor) -> Tensor:
    """`x` with rows of zeros after it up to a multiple of the grid, where products are compiled for their shape."""
    missing = -len(x) % _ROW_GRID
    if x.device.type != "cpu" or x.dtype != torch.bfloat16 or not missing:
        return x
    return torch.cat([x, x.new_zeros(missing, x.shape[1])])
