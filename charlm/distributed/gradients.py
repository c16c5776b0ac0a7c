"""Gradients averaged over a process group, in buckets that travel while the backward pass goes on.

Each bucket is one buffer. A hook copies a gradient into it as soon as autograd has accumulated it, and a full bucket
is sent at once: that of the decoder while the recurrent layers still compute theirs. Buckets are filled from the last
parameter to the first, which is about the order of the backward pass, and sent in that order in every process. The
design is that of torch's DistributedDataParallel (Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating
Data Parallel Training"), without its wrapper around the model.

What is summed does not depend on when it is sent, so a training gives the same weights each time, in all processes.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from charlm.distributed.group import ProcessGroup, peer_errors

BUCKET_BYTES = 4_000_000
"""Small enough that the first one leaves early, large enough that its latency does not count."""


class GradientBuckets:
    """Averages the gradients of `parameters` over `group` during the last backward pass of a step.

    A parameter without a gradient must be without one in all processes; it stays without.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], group: ProcessGroup, *, bucket_bytes: int = BUCKET_BYTES
    ) -> None:
        self._group = group
        self._is_open = False
        self._next = 0  # the bucket to send next
        self._buckets: list[_Bucket] = []
        if group.world_size == 1:
            return
        self._bucket_of: dict[nn.Parameter, _Bucket] = {}
        for chunk in _chunks([parameter for parameter in parameters if parameter.requires_grad], bucket_bytes):
            bucket = _Bucket(chunk)
            self._buckets.append(bucket)
            for parameter in chunk:
                self._bucket_of[parameter] = bucket
                parameter.register_post_accumulate_grad_hook(self._accumulated)  # type: ignore[no-untyped-call]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """After the block, which is the last backward pass before a step, the gradients are their mean over the group.

        Raises what `ProcessGroup.all_reduce` raises.
        """
        if not self._buckets:
            yield
            return
        self._next, self._is_open = 0, True
        for bucket in self._buckets:
            bucket.clear()
        try:
            yield
            self._send(force=True)
            with peer_errors():
                for bucket in self._buckets:
                    bucket.receive(self._group.world_size)
        finally:
            self._is_open = False

    def _accumulated(self, parameter: Tensor) -> None:
        if self._is_open:
            assert isinstance(parameter, nn.Parameter)
            self._bucket_of[parameter].add(parameter)
            self._send()

    def _send(self, *, force: bool = False) -> None:
        """Send the buckets that are complete, with `force` all, in the one order of all processes."""
        while self._next < len(self._buckets) and (force or self._buckets[self._next].is_complete):
            with peer_errors():
                self._buckets[self._next].send()
            self._next += 1


class _Bucket:
    """Some parameters, and a buffer for all their gradients."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        sizes = [parameter.numel() for parameter in parameters]
        self._buffer = torch.zeros(sum(sizes), dtype=parameters[0].dtype, device=parameters[0].device)
        self._parts = {
            parameter: part.view_as(parameter)
            for parameter, part in zip(parameters, torch.split(self._buffer, sizes), strict=True)
        }
        self._added: list[nn.Parameter] = []
        self._work: dist.Work | None = None

    @property
    def is_complete(self) -> bool:
        return len(self._added) == len(self._parts)

    def clear(self) -> None:
        self._added.clear()

    def add(self, parameter: nn.Parameter) -> None:
        assert parameter.grad is not None
        self._parts[parameter].copy_(parameter.grad)
        self._added.append(parameter)

    def send(self) -> None:
        if not self.is_complete:  # what has no gradient adds nothing
            for parameter in self._parts.keys() - set(self._added):
                self._parts[parameter].zero_()
        self._work = dist.all_reduce(self._buffer, async_op=True)

    def receive(self, world_size: int) -> None:
        """Wait for the sum; the gradients are then parts of the buffer, until the next step."""
        if self._work is not None:
            self._work.wait()
            self._work = None
        self._buffer /= world_size
        for parameter in self._added:
            parameter.grad = self._parts[parameter]


def _chunks(parameters: list[nn.Parameter], limit: int) -> Iterator[list[nn.Parameter]]:
    """The parameters from the last to the first, in chunks of one type and of `limit` bytes, or of one parameter."""
    chunk: list[nn.Parameter] = []
    size = 0
    for parameter in reversed(parameters):
        own = parameter.numel() * parameter.element_size()
        is_like = not chunk or (parameter.dtype, parameter.device) == (chunk[0].dtype, chunk[0].device)
        if chunk and (size + own > limit or not is_like):
            yield chunk
            chunk, size = [], 0
        chunk.append(parameter)
        size += own
    if chunk:
        yield chunk
