"""How long the device that trains was busy with optimizer steps.

On a GPU the program only launches the steps, so the GPU itself takes the time, by events between its kernels.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class StepTimer:
    """Adds up the seconds of steps."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def step(self) -> Iterator[None]:
        """The block is a step."""
        if self._device.type == "cuda":
            begin = self._recorded()
            yield
            self._events.append((begin, self._recorded()))
            return
        started = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - started

    def take(self) -> float:
        """The seconds of all steps since the last call. Waits until a GPU has done them."""
        if self._events:
            self._events[-1][1].synchronize()
            self._seconds += sum(begin.elapsed_time(end) for begin, end in self._events) / 1000
        seconds, self._seconds = self._seconds, 0.0
        self._events.clear()
        return seconds

    def _recorded(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event
