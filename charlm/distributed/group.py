"""Several processes that train one model: each reads its share of the streams, and all take the same steps.

Gradients are averaged over the processes before a step. What only one of them can know (a clock, a signal, a score) is
agreed on first, so that all go the same way. The first process alone validates and writes files. A process by itself
is a team of one, for which nothing is sent.

The processes are started by torch's launcher, which tells each its place through the environment.
"""

# B = mini-batch size of the whole team

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from charlm.errors import PeerLostError

# A process that dies is seen at once; this long the others may wait for a validation of the first one.
_PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Team:
    """The place of this process among those that train one model."""

    rank: int = 0
    size: int = 1

    local_rank: int = 0
    """The place among those of this machine, which is the number of its GPU."""

    @property
    def is_lead(self) -> bool:
        """True in the process that validates and writes files."""
        return self.rank == 0

    def share(self, length: int) -> slice:
        """This process's part of `length` streams, which the size of the team divides."""
        part = length // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients by their mean over the team, in one message."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        with _watched_peers():
            dist.all_reduce(flat)
        flat /= self.size
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def sum(self, value: Tensor) -> Tensor:
        """The sum of every process's `value`."""
        if self.size == 1:
            return value
        total = value.clone()
        with _watched_peers():
            dist.all_reduce(total)
        return total

    def agree(self, seconds: float, is_stopping: bool) -> tuple[float, bool]:
        """The clock of the first process, and whether any process wants to stop: the same answer in all."""
        if self.size == 1:
            return seconds, is_stopping
        values = torch.tensor([seconds if self.is_lead else 0.0, float(is_stopping)], dtype=torch.float64)
        with _watched_peers():
            dist.all_reduce(values, op=dist.ReduceOp.MAX)
        return float(values[0]), bool(values[1])

    def from_lead(self, value: float) -> float:
        """The `value` of the first process."""
        if self.size == 1:
            return value
        message = torch.tensor([value], dtype=torch.float64)
        with _watched_peers():
            dist.broadcast(message, src=0)
        return float(message)

    def gather(self, value: Tensor, dim: int = 0) -> Tensor:
        """Every process's `value`, joined along `dim` in their order."""
        if self.size == 1:
            return value
        parts = [torch.empty_like(value) for _ in range(self.size)]
        with _watched_peers():
            dist.all_gather(parts, value.contiguous())
        return torch.cat(parts, dim=dim)

    def part(self, value: Tensor, dim: int = 0) -> Tensor:
        """What this process gave to `gather`, in memory of its own: torch.set_rng_state crashes on a view."""
        return value.chunk(self.size, dim=dim)[self.rank].clone()

    @contextmanager
    def lead_first(self) -> Iterator[None]:
        """The block in the first process, and then in all others."""
        if self.size > 1 and not self.is_lead:
            self._wait_for_all()
        yield
        if self.size > 1 and self.is_lead:
            self._wait_for_all()

    def _wait_for_all(self) -> None:
        self.from_lead(0.0)


@contextmanager
def join_team() -> Iterator[Team]:
    """The team that torch's launcher has put this process in; a team of one where it was started by itself.

    Raises PeerLostError when the others do not come.
    """
    if not is_launched():
        yield Team()
        return
    # Gradients travel between GPUs, decisions between CPUs.
    with _watched_peers():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE)
    try:
        yield Team(dist.get_rank(), dist.get_world_size(), int(os.environ["LOCAL_RANK"]))
    finally:
        dist.destroy_process_group()


def is_launched() -> bool:
    """True in a process that torch's launcher has started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def _watched_peers() -> Iterator[None]:
    """Raise PeerLostError where another process has gone; torch tells it by various RuntimeErrors."""
    try:
        yield
    except RuntimeError as error:
        raise PeerLostError("another process of this training has ended") from error
