"""Truncated back-propagation through time: what one optimizer step does.

State is carried from one sequence of a stream to the next; gradients stop at the sequence's beginning.
"""

# T = sequence length in units, B = mini-batch size of the whole group, R = rows of a shard, K = clusters of the softmax

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from charlm.config import TrainingConfig
from charlm.distributed.gradients import GradientBuckets
from charlm.distributed.group import ProcessGroup
from charlm.language_models.language_model import Hidden, LanguageModel
from charlm.nn.mixed_precision import MixedPrecision
from charlm.nn.penalties import activation_penalties
from charlm.trainers.lm.averaging import WeightAverage
from charlm.trainers.lm.optimization import build_optimizer


@dataclass(frozen=True)
class ShardStreams:
    """The streams of a shard, or of this process's part of it."""

    ids: np.ndarray | Tensor
    """(R, B)"""

    cluster_counts: np.ndarray | None = None
    """How many ids of all rows before each one are in no cluster of the softmax and in each of them, (R + 1, 1 + K).
    With them a step on a GPU needs not ask it. None where there are no clusters, and on a CPU."""

    def __len__(self) -> int:
        return len(self.ids)

    def cluster_sizes(self, start: int, end: int) -> list[int] | None:
        """How many ids of the rows from `start` to `end` are in no cluster, and in each of them."""
        if self.cluster_counts is None:
            return None
        sizes: list[int] = (self.cluster_counts[end] - self.cluster_counts[start]).tolist()
        return sizes


class TruncatedBPTT:
    """Takes optimizer steps on the rows of a shard's streams.

    Args:
        model: its weights are trained in place, on the device where they are.
        config: sequences per step, clipping, update rule.
        group: the processes that share the streams.
        precision: `fp32`, `bf16` or `fp16`.
    """

    def __init__(self, model: LanguageModel, config: TrainingConfig, group: ProcessGroup, precision: str) -> None:
        self.model = model
        self.config = config
        self.group = group
        self.mixed = MixedPrecision(model.device, precision)
        self.optimizer = build_optimizer(config, model)
        self._gradients = GradientBuckets(model.parameters(), group)
        self.hidden: Hidden | None = None
        """State of this process's streams; None at the start of a shard."""

        self.average: WeightAverage | None = None
        """The average of the weights, once it has begun."""

        self.sequence_length = config.sequence_length
        """Of the last step."""

        self._nats = self._zero_nats()

    @property
    def learning_rate(self) -> float:
        """The rate of the last step."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    @property
    def precision(self) -> str:
        return self.mixed.precision

    def prepare(self, streams: np.ndarray) -> ShardStreams:
        """This process's part of a shard's streams (R, B); for a GPU in pinned memory. Runs in the reader's thread."""
        streams = streams[:, self.group.streams(self.config.mini_batch_size)]
        if self.model.device.type == "cpu":
            return ShardStreams(streams)
        pinned = torch.from_numpy(_signed(np.ascontiguousarray(streams))).pin_memory()
        return ShardStreams(pinned, _cluster_counts(streams, self.model.cutoffs))

    def load(self, streams: ShardStreams) -> ShardStreams:
        """What `prepare` has made, on the device: all at once, in small integers, while the GPU computes."""
        if not isinstance(streams.ids, Tensor):
            return streams
        return replace(streams, ids=streams.ids.to(self.model.device, non_blocking=True))

    def step(self, streams: ShardStreams, row: int, *, sequence_length: int, learning_rate: float) -> int:
        """Learn from `gradient_accumulation` sequences that begin at `row`, or what the shard has left of them.

        The gradient is that of the mean loss of all their units. Returns the rows that were read.
        """
        config = self.config
        self.sequence_length = sequence_length
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        # The last row is only ever a target.
        rows = min(config.gradient_accumulation * sequence_length, len(streams) - 1 - row)
        for start in range(row, row + rows, sequence_length):
            length = min(sequence_length, row + rows - start)
            ids = _to_ids(streams.ids[start : start + length + 1])  # (T + 1, B / processes)
            loss, minimised = self._loss(ids[:-1], ids[1:], streams.cluster_sizes(start + 1, start + length + 1))
            with self._gradients.averaged() if start + length == row + rows else nullcontext():
                self.mixed.backward(minimised / (rows / length))
            self._nats += loss.detach().double() * (length * ids.shape[1])
        self.mixed.step(self.optimizer, self.model.parameters(), config.clip)
        if self.average is not None:
            self.average.add(self.model)
        return rows

    def _loss(self, inputs: Tensor, targets: Tensor, cluster_sizes: Sequence[int] | None) -> tuple[Tensor, Tensor]:
        """Mean cross entropy of targets (T, B) after inputs (T, B), and what is minimised; carries the state on."""
        config = self.config
        with self.mixed.autocast():
            output, dropped, hidden = self.model.read(inputs, self.hidden)
            minimised = loss = self.model.mean_nats(dropped, targets, cluster_sizes=cluster_sizes)
            if config.activation_penalty or config.slowness_penalty:
                minimised = loss + activation_penalties(
                    output, dropped, activation=config.activation_penalty, slowness=config.slowness_penalty
                )
        if isinstance(hidden, tuple):  # of an LSTM
            self.hidden = (hidden[0].detach(), hidden[1].detach())
        else:
            self.hidden = hidden.detach()
        return loss, minimised

    def take_nats(self) -> float:
        """The cross entropy of all units that the group has learned from since the last call."""
        nats = float(self.group.all_reduce(self._nats))
        self._nats = self._zero_nats()
        return nats

    def wait(self) -> None:
        """Wait until a GPU has done all steps, so that a clock counts them."""
        if self.model.device.type == "cuda":
            torch.cuda.synchronize(self.model.device)

    def drop_nats(self) -> None:
        """Forget it, after a rollback."""
        self._nats = self._zero_nats()

    def _zero_nats(self) -> Tensor:
        # It stays on the device, because reading it waits for a GPU.
        return torch.zeros((), dtype=torch.float64, device=self.model.device)

    # ---- the state of the streams ------------------------------------------------------------------------------

    def gathered_hidden(self) -> list[Tensor] | None:
        """The states of all processes' streams, (nlayers, B, H) each; None at the start of a shard."""
        if self.hidden is None:
            return None
        states = self.hidden if isinstance(self.hidden, tuple) else (self.hidden,)
        return [self.group.all_gather(state, dim=1) for state in states]

    def restore_hidden(self, states: list[Tensor] | None) -> None:
        """Take this process's part of what `gathered_hidden` has returned, maybe on another kind of device.

        Layers that compute in fp32 refuse a state of fp16, which a GPU leaves, or bf16; autocast casts it.
        """
        dtype = torch.float32 if self.precision == "fp32" else None
        own = [
            self.group.own_part(state, dim=1).to(device=self.model.device, dtype=dtype or state.dtype)
            for state in states or ()
        ]
        self.hidden = None if not own else own[0] if len(own) == 1 else (own[0], own[1])


def _signed(ids: np.ndarray) -> np.ndarray:
    """Ids in an integer type in which every GPU computes: bytes, or signed. (Few ids need the wider copy.)"""
    if ids.dtype == np.uint16:
        return ids.view(np.int16) if not ids.size or ids.max() < 2**15 else ids.astype(np.int32)
    return ids.view(np.int32) if ids.dtype == np.uint32 else ids


def _cluster_counts(streams: np.ndarray, cutoffs: Sequence[int]) -> np.ndarray | None:
    """The `cluster_counts` of streams (R, B)."""
    if not cutoffs:
        return None
    counts = np.zeros((len(streams) + 1, 1 + len(cutoffs)), dtype=np.int64)
    below = np.stack([np.count_nonzero(streams < cutoff, axis=1) for cutoff in cutoffs], axis=1)  # (R, K)
    counts[1:] = np.diff(below, axis=1, prepend=0, append=streams.shape[1])
    return counts.cumsum(axis=0)


def _to_ids(rows: np.ndarray | Tensor) -> Tensor:
    """Rows of small integers as int64 on their device."""
    return rows.long() if isinstance(rows, Tensor) else torch.from_numpy(rows.astype(np.int64))
