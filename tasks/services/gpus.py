"""The GPUs that the trainings of a session share."""

import contextlib
import threading
from collections.abc import Iterator, Sequence

SHARED_SHARE = 0.8
"""Share of a GPU's memory that trainings which share it may plan to need together."""


class GpuPool:
    """Gives each training a GPU of its own while there is one, then one whose memory holds it too, and else a turn.

    Two trainings on one GPU take turns in its kernels, so sharing only fills the gaps between them.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[int, list[int]] = {}
        """What trainings plan to need, in bytes, by the number of the GPU."""

    @contextlib.contextmanager
    def hold(
        self,
        memory: Sequence[int],
        *,
        needed: int | None = None,
        count: int = 1,
        only: int | None = None,
    ) -> Iterator[tuple[int, ...]]:
        """For the block, hold some GPUs; waits until they are free.

        Args:
            memory: bytes of each GPU.
            needed: bytes that the training plans to need on each; None to share with no other.
            count: number of GPUs; more than there are means all of them.
            only: number of the one GPU that will do.
        """
        count = min(count, len(memory))
        with self._changed:
            chosen = self._changed.wait_for(lambda: self._choose(memory, needed, count, only))
            for number in chosen:
                self._held.setdefault(number, []).append(memory[number] if needed is None else needed)
        try:
            yield chosen
        finally:
            with self._changed:
                for number in chosen:
                    self._held[number].remove(memory[number] if needed is None else needed)
                self._changed.notify_all()

    def _choose(self, memory: Sequence[int], needed: int | None, count: int, only: int | None) -> tuple[int, ...]:
        """The numbers of the GPUs to take now, those that are free first; none where there are too few."""
        numbers = range(len(memory)) if only is None else [only]
        fitting = [number for number in numbers if self._fits(memory[number], self._held.get(number, []), needed)]
        chosen = sorted(fitting, key=lambda number: len(self._held.get(number, [])))[:count]
        return tuple(sorted(chosen)) if len(chosen) == count else ()

    @staticmethod
    def _fits(memory: int, held: list[int], needed: int | None) -> bool:
        return not held or (needed is not None and sum(held) + needed <= SHARED_SHARE * memory)
