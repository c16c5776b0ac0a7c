"""Several processes that train one model: each reads its share of the streams, and all take the same steps.

Gradients are averaged over the processes before each step. What only one process can know (a clock, a signal, a score)
is exchanged first, so that all take the same branch. The main process alone validates and writes files. A process by
itself is a group of one, for which nothing is sent.

Torch's launcher starts the processes and passes each its rank through the environment.
"""

# B = mini-batch size of the whole group

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from charlm.errors import ConfigError, PeerLostError, PeerSilentError

PEER_TIMEOUT_VARIABLE = "CHARLM_PEER_TIMEOUT_MINUTES"
_PEER_TIMEOUT_MINUTES = 60.0  # the longest wait is for the main process to validate, or to encode a bare corpus


@dataclass(frozen=True)
class ProcessGroup:
    """The place of this process among those that train one model."""

    rank: int = 0
    world_size: int = 1

    local_rank: int = 0
    """The rank among the processes of this machine, which is the number of its GPU."""

    @property
    def is_main(self) -> bool:
        """True in the process that validates and writes files."""
        return self.rank == 0

    def streams(self, count: int) -> slice:
        """This process's part of `count` streams, which the world size divides."""
        part = count // self.world_size
        return slice(self.rank * part, (self.rank + 1) * part)

    def all_reduce(self, value: Tensor, op: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> Tensor:
        """`value` reduced over all processes (their sum, by default)."""
        if self.world_size == 1:
            return value
        total = value.clone()
        with _peer_errors():
            dist.all_reduce(total, op=op)
        return total

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients by their mean over the group, in one message."""
        if self.world_size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        with _peer_errors():
            dist.all_reduce(flat)
        flat /= self.world_size
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def broadcast(self, value: float) -> float:
        """The `value` of the main process."""
        if self.world_size == 1:
            return value
        message = torch.tensor([value], dtype=torch.float64)
        with _peer_errors():
            dist.broadcast(message, src=0)
        return float(message)

    def all_gather(self, value: Tensor, dim: int = 0) -> Tensor:
        """Every process's `value`, concatenated along `dim` in the order of ranks."""
        if self.world_size == 1:
            return value
        parts = [torch.empty_like(value) for _ in range(self.world_size)]
        with _peer_errors():
            dist.all_gather(parts, value.contiguous())
        return torch.cat(parts, dim=dim)

    def own_part(self, value: Tensor, dim: int = 0) -> Tensor:
        """What this process gave to `all_gather`, in memory of its own: torch.set_rng_state crashes on a view."""
        return value.chunk(self.world_size, dim=dim)[self.rank].clone()

    def barrier(self) -> None:
        """Wait until all processes have arrived."""
        if self.world_size > 1:
            self.all_reduce(torch.zeros(1))

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the main process, and then in all others."""
        if not self.is_main:
            self.barrier()
        yield
        if self.is_main:
            self.barrier()


@contextmanager
def process_group() -> Iterator[ProcessGroup]:
    """The group that torch's launcher has put this process in; a group of one when it was started by itself.

    Raises PeerLostError when the others do not come.
    """
    if not is_launched():
        yield ProcessGroup()
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"  # gradients may be on GPUs, the rest is not
    timeout = timedelta(minutes=peer_timeout_minutes())
    with _peer_errors():
        dist.init_process_group(backend, timeout=timeout)
    try:
        yield ProcessGroup(dist.get_rank(), dist.get_world_size(), int(os.environ["LOCAL_RANK"]))
    finally:
        dist.destroy_process_group()


def is_launched() -> bool:
    """True in a process that torch's launcher has started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def peer_timeout_minutes() -> float:
    """How long a process waits for another one before it gives up; CHARLM_PEER_TIMEOUT_MINUTES, by default 60.

    Raises ConfigError when the variable is not a number greater than 0.
    """
    text = os.environ.get(PEER_TIMEOUT_VARIABLE) or str(_PEER_TIMEOUT_MINUTES)
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise ConfigError(f"{PEER_TIMEOUT_VARIABLE} is a number of minutes greater than 0, got {text!r}")
    return minutes


@contextmanager
def _peer_errors() -> Iterator[None]:
    """Raise PeerSilentError when another process does not answer in time, PeerLostError when it has ended.

    Torch raises various RuntimeErrors for both.
    """
    try:
        yield
    except RuntimeError as error:
        if "timed out" in str(error).lower() or "timeout" in str(error).lower():
            raise PeerSilentError(
                f"another process of this training has not answered for {peer_timeout_minutes():g} minutes"
            ) from error
        raise PeerLostError("another process of this training has ended") from error
