"""Linear-chain conditional random field: how likely a sequence of tags is as a whole (Lafferty et al. 2001).

A sequence's score is the sum of the emissions of its tags, of the transitions between neighbours, of the start of its
first and of the stop of its last tag. Forward and backward probabilities run through all sentences at once, in both
directions at once, scaled at each step so that no logarithm is needed (Rabiner 1989). They give the marginals, and
expected minus observed counts are the gradient, so no graph is kept through time.
"""

# W = rows (tokens of all sentences, see ragged.py), B = sentences, T = tokens of the longest, K = tags

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from charlm.nn.ragged import Ragged


class ConditionalRandomField(nn.Module):
    """Scores of tag sequences; `transitions[i, j]` is that of tag `j` right after tag `i`.

    All sequences begin equally likely. Random scores, with which Flair begins, take epochs to unlearn where they
    happen to prefer a rare tag (docs/lab-notebook.md).
    """

    def __init__(self, num_tags: int) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(num_tags, num_tags))
        self.start = nn.Parameter(torch.zeros(num_tags))
        self.stop = nn.Parameter(torch.zeros(num_tags))

    def loss(self, emissions: Tensor, tags: Tensor, ragged: Ragged) -> Tensor:
        """Negative log likelihood, summed over the sentences, of `tags` (W,) under `emissions` (W, K)."""
        parameters = (self.transitions, self.start, self.stop)
        with torch.autocast(emissions.device.type, enabled=False):  # sums over many steps need float32
            value: Tensor = _NegativeLogLikelihood.apply(emissions, *parameters, tags, ragged)  # type: ignore[no-untyped-call]
        return value

    @torch.no_grad()
    def marginals(self, emissions: Tensor, ragged: Ragged) -> Tensor:
        """Probability of every tag at every row, (W, K), over all sequences of tags."""
        return _expectations(emissions, self.transitions, self.start, self.stop, ragged).marginals

    @torch.no_grad()
    def viterbi(self, emissions: Tensor, ragged: Ragged) -> Tensor:
        """The tags (W,) of the likeliest sequence of each sentence."""
        places = ragged.tensor(ragged.forward_places(ragged.steps))  # (T, B)
        scores = emissions[places]  # (T, B, K)
        origins = torch.zeros(scores.shape, dtype=torch.int64, device=scores.device)
        best = self.start + scores[0]  # (B, K): of all sequences up to here, by their last tag
        for time, count in enumerate(ragged.active[1:], 1):
            reached, origins[time, :count] = (best[:count, :, None] + self.transitions).max(dim=1)
            best = torch.cat([reached + scores[time, :count], best[count:]])
        tag = (best + self.stop).argmax(dim=1)  # (B,)
        tags = torch.zeros_like(places)
        for time in range(ragged.steps - 1, -1, -1):
            count = ragged.active[time]
            tags[time, :count] = tag[:count]
            tag[:count] = origins[time, :count].gather(1, tag[:count, None]).squeeze(1)
        return tags[ragged.tensor(ragged.place), ragged.sequence]


@dataclass(frozen=True)
class _Expectations:
    """What follows from the scores of all tag sequences of every sentence."""

    log_partition: Tensor
    """Logarithm of the sum over all sequences of exp(score), (B,)."""

    marginals: Tensor
    """Probability of every tag at every row, (W, K)."""

    transitions: Tensor
    """Expected number of times that each tag follows each other one, in all sentences together, (K, K)."""


def _expectations(emissions: Tensor, transitions: Tensor, start: Tensor, stop: Tensor, ragged: Ragged) -> _Expectations:
    """Forward and backward probabilities; the backward ones are those of the reversed sentences.

    Index 0 of a dimension of size 2 is the forward direction. Everything is divided by its largest value or its sum,
    and `log_partition` gets the logarithms back.
    """
    steps, num_sentences, num_tags = ragged.steps, len(ragged.lengths), len(start)
    places = torch.stack(
        [ragged.tensor(table(steps)) for table in (ragged.forward_places, ragged.backward_places)], dim=1
    )  # (T, 2, B)
    scores = emissions.index_select(0, places.flatten()).view(steps, 2, num_sentences, num_tags)
    peaks = scores.amax(dim=3, keepdim=True)
    likelihoods = (scores - peaks).exp()
    highest = transitions.max()
    moves = (transitions - highest).exp()
    both_moves = torch.stack([moves, moves.T])  # (2, K, K)
    ends = torch.stack([start, stop])
    highest_ends = ends.amax(dim=1, keepdim=True)
    ends_shares = (ends - highest_ends).exp()

    predicted = torch.zeros_like(scores)  # probability of a tag before its own emission is known
    filtered = torch.zeros_like(scores)  # and after
    sums = torch.ones_like(peaks)
    for time, count in enumerate(ragged.active):
        if time:
            torch.bmm(filtered[time - 1, :, :count], both_moves, out=predicted[time, :, :count])
        else:
            predicted[0] = ends_shares[:, None]
        reached = torch.mul(predicted[time, :, :count], likelihoods[time, :, :count], out=filtered[time, :, :count])
        reached.div_(torch.sum(reached, dim=2, keepdim=True, out=sums[time, :, :count]))

    times = ragged.tensor(ragged.place)
    mirrored = ragged.tensor(ragged.lengths)[ragged.sequence] - 1 - times
    before = filtered[times, 0, ragged.sequence]  # (W, K): from the words up to this one
    after = filtered[mirrored, 1, ragged.sequence]  # from this word and those after it
    marginals = before * predicted[mirrored, 1, ragged.sequence]
    marginals = marginals / marginals.sum(dim=1, keepdim=True)
    here = ragged.not_last
    pairs = (predicted[times, 0, ragged.sequence][here + 1] * after[here + 1]).sum(dim=1, keepdim=True)
    log_sums = (sums[times, 0, ragged.sequence].log() + peaks[times, 0, ragged.sequence]).squeeze(1)
    log_partition = emissions.new_zeros(num_sentences).index_add_(0, ragged.sequence, log_sums)
    log_partition += highest * (ragged.tensor(ragged.lengths) - 1) + highest_ends.sum()
    log_partition += (before[ragged.last] * ends_shares[1]).sum(dim=1).log()
    return _Expectations(
        log_partition=log_partition,
        marginals=marginals,
        transitions=moves * ((before[here] / pairs).T @ after[here + 1]),
    )


def _counts(ids: Tensor, size: int) -> Tensor:
    """How often each id below `size` comes, (size,). (torch.bincount waits for a GPU.)"""
    return torch.zeros(size, device=ids.device).index_add_(0, ids, torch.ones(len(ids), device=ids.device))


class _NegativeLogLikelihood(torch.autograd.Function):
    """The loss, whose gradient is what the model expects minus what the sentences have."""

    @staticmethod
    def forward(
        ctx: Any, emissions: Tensor, transitions: Tensor, start: Tensor, stop: Tensor, tags: Tensor, ragged: Ragged
    ) -> Tensor:
        expected = _expectations(emissions, transitions, start, stop, ragged)
        num_tags = len(start)
        rows, here = torch.arange(len(tags), device=tags.device), ragged.not_last
        first, last, moves = tags[ragged.first], tags[ragged.last], (tags[here], tags[here + 1])
        score = emissions[rows, tags].sum() + transitions[moves].sum() + start[first].sum() + stop[last].sum()
        observed = _counts(moves[0] * num_tags + moves[1], num_tags**2).view(num_tags, num_tags)
        gradient = expected.marginals.clone()
        gradient[rows, tags] -= 1
        ctx.save_for_backward(
            gradient,
            expected.transitions - observed,
            expected.marginals[ragged.first].sum(dim=0) - _counts(first, num_tags),
            expected.marginals[ragged.last].sum(dim=0) - _counts(last, num_tags),
        )
        return expected.log_partition.sum() - score

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (*(gradient * saved for saved in ctx.saved_tensors), None, None)
