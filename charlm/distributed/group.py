"""Several processes, on one machine or several, that train one model: each reads its share of the streams.

Gradients are averaged over the processes before each step (gradients.py). What only one process can know (a clock, a
signal, a score) is exchanged first, so that all take the same branch. The main process alone validates and writes
files; the others wait for it at barriers, which have no time limit, while heartbeats show that all are alive. A process
by itself is a group of one, for which nothing is sent.

A launcher, ours or torch's, starts the processes and passes each its rank through the environment.
"""

# B = mini-batch size of the whole group

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from charlm.config.durations import duration, minutes_of
from charlm.distributed.heartbeat import Heartbeat
from charlm.distributed.joining import MeetingPoint, prefixed
from charlm.errors import CharLMError, PeerLostError, PeerSilentError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

PEER_TIMEOUT_VARIABLE = "CHARLM_PEER_TIMEOUT_MINUTES"
_PEER_TIMEOUT_MINUTES = 0.75  # a lost machine shall end the training everywhere within a minute
_MESSAGE_BYTES = 64_000_000
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class ProcessGroup:
    """The place of this process among those that train one model."""

    rank: int = 0
    world_size: int = 1

    local_rank: int = 0
    """The rank among the processes of this machine, which is the number of its GPU."""

    local_world_size: int = 1
    """Processes of this machine, which share its cores."""

    meeting_point: "MeetingPoint | None" = field(default=None, repr=False, compare=False)
    barriers: "_Barriers | None" = field(default=None, repr=False, compare=False)

    @property
    def is_main(self) -> bool:
        """True in the process that validates and writes files."""
        return self.rank == 0

    @property
    def has_several_nodes(self) -> bool:
        return self.local_world_size < self.world_size

    def streams(self, count: int) -> slice:
        """This process's part of `count` streams, which the world size divides."""
        part = count // self.world_size
        return slice(self.rank * part, (self.rank + 1) * part)

    def all_reduce(self, value: Tensor, op: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> Tensor:
        """`value` reduced over all processes (their sum, by default)."""
        if self.world_size == 1:
            return value
        total = value.clone()
        with peer_errors():
            dist.all_reduce(total, op=op)
        return total

    def broadcast(self, value: float) -> float:
        """The `value` of the main process."""
        if self.world_size == 1:
            return value
        message = torch.tensor([value], dtype=torch.float64)
        with peer_errors():
            dist.broadcast(message, src=0)
        return float(message)

    def all_gather(self, value: Tensor, dim: int = 0) -> Tensor:
        """Every process's `value`, concatenated along `dim` in the order of ranks."""
        if self.world_size == 1:
            return value
        parts = [torch.empty_like(value) for _ in range(self.world_size)]
        with peer_errors():
            dist.all_gather(parts, value.contiguous())
        return torch.cat(parts, dim=dim)

    def own_part(self, value: Tensor, dim: int = 0) -> Tensor:
        """What this process gave to `all_gather`, in memory of its own: torch.set_rng_state crashes on a view."""
        return value.chunk(self.world_size, dim=dim)[self.rank].clone()

    def barrier(self) -> None:
        """Wait until all processes have arrived, however long that takes, as long as all are alive."""
        if self.world_size == 1:
            return
        if self.barriers is None:
            self.all_reduce(torch.zeros(1))
            return
        with peer_errors():
            self.barriers.wait()

    def agree(self, note: Mapping[str, object]) -> None:
        """Raise ConfigError in all processes unless all of them have the same note."""
        if self.meeting_point is not None:
            with peer_errors():
                self.meeting_point.agree(note, step="agreement")

    def broadcast_bytes(self, value: bytes | None) -> bytes:
        """The `value` of the main process, in messages that are short enough for the peer timeout."""
        if self.world_size == 1:
            assert value is not None
            return value
        message = bytearray(int(self.broadcast(len(value or b""))))
        if value is not None:
            message[:] = value
        whole = torch.frombuffer(message, dtype=torch.uint8) if message else torch.empty(0, dtype=torch.uint8)
        for part in torch.split(whole, _MESSAGE_BYTES):
            with peer_errors():
                dist.broadcast(part, src=0)
        return bytes(message)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the main process, and then in all others; it ends when all have done it."""
        if not self.is_main:
            self.barrier()
        yield
        if self.is_main:
            self.barrier()
        self.barrier()


class _Barriers:
    """Counts arrivals in the store, because a message of torch waits no longer than the peer timeout."""

    def __init__(self, store: "Store", world_size: int) -> None:
        self._store = store
        self._world_size = world_size
        self._number = 0

    def wait(self) -> None:
        self._number += 1
        key = f"barrier/{self._number}"
        if self._store.add(key, 1) == self._world_size:  # nobody is at an earlier one any more
            self._store.delete_key(f"barrier/{self._number - 2}")
        while self._store.add(key, 0) < self._world_size:
            time.sleep(_POLL_SECONDS)


@contextmanager
def process_group() -> Iterator[ProcessGroup]:
    """The group that a launcher has put this process in; a group of one when it was started by itself.

    Raises ConfigError when the others do not come or are of another training, PeerLostError when they are lost.
    """
    if not is_launched():
        yield ProcessGroup()
        return
    rank, world_size, local_rank = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    limit = 60 * peer_timeout_minutes()
    with peer_errors():
        point = MeetingPoint(rank, world_size)
        point.arrive(local_world_size)
        timeout = timedelta(seconds=limit)
        heartbeat = Heartbeat(point.client(timeout), rank=rank, world_size=world_size, limit=limit)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"  # only gradients may be on GPUs
        store = prefixed("torch", point.store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)
        dist.barrier()  # each has shown its first beat
    heartbeat.start()
    try:
        yield ProcessGroup(
            rank,
            world_size,
            local_rank,
            local_world_size=local_world_size,
            meeting_point=point,
            barriers=_Barriers(point.store, world_size),
        )
    except BaseException as error:
        heartbeat.stop(error)
        dist.destroy_process_group()
        raise
    heartbeat.stop(None)
    with suppress(RuntimeError):
        point.leave()
    dist.destroy_process_group()


def is_launched() -> bool:
    """True in a process that a launcher, ours or torch's, has started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def peer_timeout_minutes() -> float:
    """How long a process may show no sign of life before it counts as lost; CHARLM_PEER_TIMEOUT_MINUTES."""
    return minutes_of(PEER_TIMEOUT_VARIABLE, _PEER_TIMEOUT_MINUTES)


@contextmanager
def peer_errors() -> Iterator[None]:
    """Raise PeerSilentError when another process does not answer in time, PeerLostError when it has ended.

    Torch raises various RuntimeErrors for both.
    """
    try:
        yield
    except CharLMError:
        raise
    except RuntimeError as error:
        if "timed out" in str(error).lower() or "timeout" in str(error).lower():
            raise PeerSilentError(
                f"another process of this training has not answered for {duration(peer_timeout_minutes())}"
            ) from error
        raise PeerLostError("another process of this training has ended") from error
