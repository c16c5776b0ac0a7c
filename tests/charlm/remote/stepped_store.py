"""An object store in memory, and machines that take one step each in an order that a test decides."""

import random
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from charlm.remote.object_store import ObjectStore


class KilledError(BaseException):
    """What ends a machine at any operation."""


class Machine:
    """Some work that stops before each operation of a store."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.is_done = False
        self.error: BaseException | None = None
        self._work = work
        self._may_go, self._has_stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._is_killed = False
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self.thread.start()
        self._has_stopped.acquire()

    def step(self, *, kill: bool = False) -> None:
        """Let it do the operation that it has stopped before, up to the next one."""
        self._is_killed = kill
        self._may_go.release()
        self._has_stopped.acquire()

    def stop(self) -> None:
        """Called in its own thread."""
        self._has_stopped.release()
        self._may_go.acquire()
        if self._is_killed:
            raise KilledError

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error
        self.is_done = True
        self._has_stopped.release()


class SteppedStore(ObjectStore):
    """Each operation is one step of the machine whose thread calls it; other threads need not wait."""

    def __init__(self) -> None:
        self.address = "s3://memory"
        self.content: dict[str, bytes] = {}
        self.times: dict[str, datetime] = {}
        self.machines: list[Machine] = []
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def run(self, choose: random.Random, check: Callable[[], None], kills: int) -> None:
        """Let all machines finish; `check` is called after every step."""
        for machine in self.machines:
            machine.start()
        steadiness = choose.choice([0, 0.5, 0.9])  # how often the same machine goes on, while others sleep
        machine = self.machines[0]
        while waiting := [machine for machine in self.machines if not machine.is_done]:
            if machine.is_done or choose.random() >= steadiness:
                machine = choose.choice(waiting)
            kill = kills > 0 and choose.randrange(40) == 0
            kills -= kill
            machine.step(kill=kill)
            self._now += timedelta(seconds=1)
            check()

    def _step(self) -> None:
        for machine in self.machines:
            if machine.thread is threading.current_thread():
                machine.stop()

    def _put(self, key: str, content: bytes) -> None:
        self.content[key], self.times[key] = content, self._now

    def read(self, key: str) -> bytes | None:
        self._step()
        return self.content.get(key)

    def create(self, key: str, content: bytes) -> bool:
        self._step()
        if key in self.content:
            return False
        self._put(key, content)
        return True

    def write(self, key: str, content: bytes) -> None:
        self._step()
        self._put(key, content)

    def upload(self, path: Path, key: str) -> None:
        self._step()
        self._put(key, path.read_bytes())

    def download(self, key: str, path: Path) -> None:
        self._step()
        path.write_bytes(self.content[key])

    def changed(self, key: str) -> datetime | None:
        self._step()
        return self.times[key] if key in self.content else None

    def sizes(self, folder: str, *, prefix: str = "") -> dict[str, int]:
        self._step()
        return {key: len(value) for key, value in self.content.items() if key.startswith(f"{folder}/{prefix}")}

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._step()
            self.content.pop(key, None)
