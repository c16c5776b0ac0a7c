"""A lock that machines hold through an object store, and that another one gets when its holder has died.

Reads and writes
    locks/WORK/00000007.json    the holder of a generation; who creates it has the lease
    locks/WORK/00000007.beat    a number that the holder changes all the time
    locks/WORK/00000007.free    the holder is done

Nobody compares clocks: who waits watches `beat`, and takes the next generation where it has seen no change for as long
as a lease lasts, by its own stopwatch. Of several that do so, one creates the object. A holder that was cut off learns
by the higher generation that it has lost the lease; what it sends then is refused by the versions of its units.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from charlm.errors import StoreError
from charlm.remote.object_store import ObjectStore
from charlm.remote.settings import lease_seconds

_BEATS_IN_LEASE = 4
_DIGITS = 8


class Lease:
    """One generation of a lock, held until `release`."""

    def __init__(self, store: ObjectStore, work: str, generation: int) -> None:
        self._store = store
        self._work = work
        self._generation = generation
        self._is_lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="charlm-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise StoreError where another machine has the lease."""
        if self._is_lost:
            raise StoreError(
                f"this machine did not reach {self._store.address} for so long that another one has taken over"
                f" {self._work}; run the command again"
            )

    def release(self) -> None:
        """Let others have it; where the store does not answer, they get it when it has run out."""
        self._stop.set()
        self._thread.join()
        if not self._is_lost:
            try:
                self._store.write(_key(self._work, self._generation, "free"), b"")
            except StoreError:
                return

    def _keep(self) -> None:
        number = 0
        while not self._stop.wait(lease_seconds() / _BEATS_IN_LEASE):
            number += 1
            try:
                if max(_generations(self._store, self._work), default=0) > self._generation:
                    self._is_lost = True
                    return
                self._store.write(_key(self._work, self._generation, "beat"), str(number).encode())
            except StoreError:  # it may be back before the lease has run out
                continue


@contextmanager
def leased(
    store: ObjectStore, work: str, *, on_wait: Callable[[str], None], is_stopped: Callable[[], bool] = lambda: False
) -> Iterator[Lease | None]:
    """Hold the lock `work` for the block, alone among all machines.

    While another one holds it, this waits, after a call of `on_wait` with its name. None where `is_stopped` ends that.
    """
    lease = _wait_for(store, work, on_wait, is_stopped)
    try:
        yield lease
    finally:
        if lease is not None:
            lease.release()


def _wait_for(
    store: ObjectStore, work: str, on_wait: Callable[[str], None], is_stopped: Callable[[], bool]
) -> Lease | None:
    seen: tuple[int, bytes | None] | None = None
    since, has_waited = time.monotonic(), False
    while not is_stopped():
        generations = _generations(store, work)
        newest = max(generations, default=0)
        beat = (newest, store.read(_key(work, newest, "beat")))
        if beat != seen:
            seen, since = beat, time.monotonic()
        is_free = newest == 0 or "free" in generations[newest]
        if is_free or time.monotonic() - since >= lease_seconds():
            if (lease := _take(store, work, newest + 1)) is not None:
                return lease
            continue
        if not has_waited:
            on_wait(_holder(store, work, newest))
            has_waited = True
        time.sleep(min(1.0, lease_seconds() / 10))
    return None


def _take(store: ObjectStore, work: str, generation: int) -> Lease | None:
    """The lease of a generation, unless another machine is faster."""
    holder = {"host": socket.gethostname(), "process": os.getpid()}
    if not store.create(_key(work, generation, "json"), json.dumps(holder).encode()):
        return None
    generations = _generations(store, work)
    if max(generations) > generation:  # it has been taken, and cleared away, long ago
        return None
    store.delete(_key(work, old, kind) for old, kinds in generations.items() if old < generation for kind in kinds)
    return Lease(store, work, generation)


def _generations(store: ObjectStore, work: str) -> dict[int, list[str]]:
    """The objects of each generation, by what they are."""
    found: dict[int, list[str]] = {}
    for key in store.keys(f"locks/{work}"):
        number, _, kind = key.rpartition("/")[2].partition(".")
        if number.isdecimal() and len(number) == _DIGITS:
            found.setdefault(int(number), []).append(kind)
    return found


def _holder(store: ObjectStore, work: str, generation: int) -> str:
    content = store.read(_key(work, generation, "json")) or b"{}"
    try:
        return str(json.loads(content)["host"])
    except (ValueError, KeyError, TypeError):
        return "another machine"


def _key(work: str, generation: int, kind: str) -> str:
    return f"locks/{work}/{generation:0{_DIGITS}d}.{kind}"
