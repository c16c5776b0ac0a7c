"""Truncated back-propagation through time: what one optimizer step does.

State is carried from one sequence of a stream to the next; gradients stop at the sequence's beginning.
"""

# T = sequence length in units, B = mini-batch size of the whole group, R = rows of a shard

from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor, nn

from charlm.config import TrainingConfig
from charlm.distributed.group import ProcessGroup
from charlm.language_models.language_model import Hidden, LanguageModel
from charlm.nn.penalties import activation_penalties
from charlm.trainers.lm.averaging import WeightAverage
from charlm.trainers.lm.optimization import build_optimizer


class TruncatedBPTT:
    """Takes optimizer steps on the rows of a shard's streams.

    Args:
        model: its weights are trained in place, on the device where they are.
        config: sequences per step, clipping, update rule.
        group: the processes that share the streams.
        precision: `bf16` for autocast, or `fp32`.
    """

    def __init__(self, model: LanguageModel, config: TrainingConfig, group: ProcessGroup, precision: str) -> None:
        self.model = model
        self.config = config
        self.group = group
        self.precision = precision
        self.optimizer = build_optimizer(config, model)
        self.hidden: Hidden | None = None
        """State of this process's streams; None at the start of a shard."""

        self.average: WeightAverage | None = None
        """The average of the weights, once it has begun."""

        self._nats = self._zero_nats()

    @property
    def learning_rate(self) -> float:
        """The rate of the last step."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    def load(self, streams: np.ndarray) -> np.ndarray | Tensor:
        """This process's part of a shard's streams (R, B), on a GPU all at once and in their small integers."""
        streams = streams[:, self.group.streams(self.config.mini_batch_size)]
        if self.model.device.type == "cpu":
            return streams
        return torch.from_numpy(np.ascontiguousarray(streams)).to(self.model.device)

    def step(self, streams: np.ndarray | Tensor, row: int, *, sequence_length: int, learning_rate: float) -> int:
        """Learn from `gradient_accumulation` sequences that begin at `row`, or what the shard has left of them.

        The gradient is that of the mean loss of all their units. Returns the rows that were read.
        """
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        # The last row is only ever a target.
        rows = min(config.gradient_accumulation * sequence_length, len(streams) - 1 - row)
        for start in range(row, row + rows, sequence_length):
            length = min(sequence_length, row + rows - start)
            ids = _to_ids(streams[start : start + length + 1])  # (T + 1, B / processes)
            loss, minimised = self._loss(ids[:-1], ids[1:])
            (minimised / (rows / length)).backward()  # type: ignore[no-untyped-call]
            self._nats += loss.detach().double() * (length * ids.shape[1])
        self.group.average_gradients(self.model.parameters())
        nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.add(self.model)
        return rows

    def _loss(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross entropy of targets (T, B) after inputs (T, B), and what is minimised; carries the state on."""
        config = self.config
        with self._autocast():
            if config.activation_penalty or config.slowness_penalty:
                output, dropped, hidden = self.model.read(inputs, self.hidden)
                loss = self.model.mean_nats(dropped, targets)
                minimised = loss + activation_penalties(
                    output, dropped, activation=config.activation_penalty, slowness=config.slowness_penalty
                )
            else:
                loss, hidden = self.model.loss(inputs, targets, self.hidden)
                minimised = loss
        if isinstance(hidden, tuple):  # of an LSTM
            self.hidden = (hidden[0].detach(), hidden[1].detach())
        else:
            self.hidden = hidden.detach()
        return loss, minimised

    def _autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self.model.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def take_nats(self) -> float:
        """The cross entropy of all units that the group has learned from since the last call."""
        nats = float(self.group.all_reduce(self._nats))
        self._nats = self._zero_nats()
        return nats

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
        """Take this process's part of what `gathered_hidden` has returned."""
        own = [self.group.own_part(state, dim=1).to(self.model.device) for state in states or ()]
        self.hidden = None if not own else own[0] if len(own) == 1 else (own[0], own[1])


def _to_ids(rows: np.ndarray | Tensor) -> Tensor:
    """Rows of small integers as int64 on their device."""
    return rows.long() if isinstance(rows, Tensor) else torch.from_numpy(rows.astype(np.int64))
