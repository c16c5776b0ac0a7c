"""What CUDA's runtime does for the simulated devices: memory, random numbers, events, and what torch.cuda reports."""

import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor


class Allocator:
    """The memory of each device, pinned memory of the CPU, and the generators."""

    def __init__(self) -> None:
        self.reset(1, 2**34)

    def reset(self, devices: int, memory_bytes: int) -> None:
        self.num_devices = devices
        self.memory_bytes = memory_bytes
        self.allocated: Counter[int] = Counter()
        self.peak: Counter[int] = Counter()
        self.generators = [torch.Generator().manual_seed(number) for number in range(devices)]
        self._users: Counter[tuple[int, int]] = Counter()  # tensors by device and storage
        self._references: dict[int, weakref.ref[Any]] = {}
        self._pinned: set[int] = set()

    # ---- memory ------------------------------------------------------------------------------------------------

    def add(self, tensor: Any) -> None:
        """Count the memory of a new tensor until it is gone; raises OutOfMemoryError as CUDA does."""
        storage = tensor.inner.untyped_storage()
        index, size, key = tensor.index, storage.nbytes(), (tensor.index, storage._cdata)
        if not self._users[key] and self.allocated[index] + size > self.memory_bytes:
            del self._users[key]
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {size / 2**20:.2f} MiB. GPU {index} has a total capacity of "
                f"{self.memory_bytes / 2**30:.2f} GiB of which {self.free(index) / 2**20:.2f} MiB is free."
            )
        if not self._users[key]:
            self.allocated[index] += size
            self.peak[index] = max(self.peak[index], self.allocated[index])
        self._users[key] += 1
        users, references, allocated = self._users, self._references, self.allocated

        def release(reference: weakref.ref[Any]) -> None:
            references.pop(id(reference), None)
            users[key] -= 1
            if not users[key]:
                del users[key]
                allocated[index] -= size

        reference = weakref.ref(tensor, release)
        references[id(reference)] = reference

    def free(self, index: int) -> int:
        return self.memory_bytes - self.allocated[index]

    def pinned(self, tensor: Tensor) -> Tensor:
        """A copy in pinned memory, which a GPU reads by itself."""
        copy = tensor.clone()
        self._pinned.add(copy.untyped_storage()._cdata)
        return copy

    def is_pinned(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._pinned

    # ---- random numbers ----------------------------------------------------------------------------------------

    @contextmanager
    def random_numbers(self, index: int | None) -> Iterator[None]:
        """For the block torch draws from the generator of a device; with None from that of the CPU."""
        if index is None:
            yield
            return
        before = torch.get_rng_state()
        torch.set_rng_state(self.generators[index].get_state())
        try:
            yield
        finally:
            self.generators[index].set_state(torch.get_rng_state())
            torch.set_rng_state(before)

    def seed(self, seed: int) -> None:
        for number, generator in enumerate(self.generators, 1):
            generator.manual_seed(seed + number)  # a GPU draws other numbers than the CPU from an equal seed

    def set_state(self, state: Tensor, device: Any = None) -> None:
        if not isinstance(state, Tensor) or type(state) is not Tensor or state.dtype != torch.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        self.generators[index_of(device)].set_state(state)


class Event:
    """A point in the work of a device, which has done all work as soon as it gets it."""

    def __init__(self, enable_timing: bool = False, **_: Any) -> None:
        self._time: float | None = None
        self.has_timing = enable_timing

    def record(self, stream: Any = None) -> None:
        self._time = time.perf_counter()

    def query(self) -> bool:
        return True

    def elapsed_time(self, end: "Event") -> float:
        """Milliseconds."""
        if self._time is None or end._time is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        return 1000 * (end._time - self._time)


def index_of(device: Any) -> int:
    if device is None or isinstance(device, int):
        return device or 0
    return torch.device(device).index or 0


def runtime(allocator: Allocator, wait: Callable[..., None]) -> dict[str, Any]:
    """What stands in for the functions of torch.cuda."""

    class WaitingEvent(Event):
        def synchronize(self) -> None:
            wait()

    def reset_peak(device: Any = None) -> None:
        allocator.peak[index_of(device)] = allocator.allocated[index_of(device)]

    def free_and_total(device: Any = None) -> tuple[int, int]:
        return allocator.free(index_of(device)), allocator.memory_bytes

    return {
        "_lazy_init": lambda: None,
        "_is_in_bad_fork": lambda: False,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: allocator.num_devices,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "get_device_properties": lambda device=None: SimpleNamespace(total_memory=allocator.memory_bytes),
        "get_device_name": lambda device=None: "simulated GPU",
        "get_device_capability": lambda device=None: (9, 0),
        "is_bf16_supported": lambda including_emulation=True: True,
        "current_stream": lambda device=None: None,
        "synchronize": wait,
        "Event": WaitingEvent,
        "empty_cache": lambda: None,
        "mem_get_info": free_and_total,
        "memory_allocated": lambda device=None: allocator.allocated[index_of(device)],
        "max_memory_allocated": lambda device=None: allocator.peak[index_of(device)],
        "max_memory_reserved": lambda device=None: allocator.peak[index_of(device)],
        "reset_peak_memory_stats": reset_peak,
        "manual_seed_all": allocator.seed,
        "get_rng_state": lambda device=None: allocator.generators[index_of(device)].get_state(),
        "set_rng_state": allocator.set_state,
    }


def mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """Nested tuples, lists and dicts with `change` done to what is in them. (torch's own takes ten times as long.)"""
    if isinstance(value, tuple):
        return tuple([mapped(change, part) for part in value])
    if isinstance(value, list):
        return [mapped(change, part) for part in value]
    if isinstance(value, dict):
        return {name: mapped(change, part) for name, part in value.items()}
    return change(value)


def leaves_of(value: Any) -> list[Any]:
    """What is in nested tuples, lists and dicts."""
    if isinstance(value, tuple | list):
        return [leaf for part in value for leaf in leaves_of(part)]
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves_of(part)]
    return [value]
