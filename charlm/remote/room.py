"""Room in a cache folder: which units are in use, and which go when it becomes too large.

Writes .remote/use/UNIT in the cache folder: held by every process that has named the unit, as long as it runs; the time
of its last change is when that was.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from charlm.errors import RunError, StoreError
from charlm.remote.index import UnitIndex
from charlm.remote.settings import cache_bytes
from charlm.remote.units import HEADS
from charlm.storage.locks import exclusive_lock


class CacheRoom:
    """The units in one cache folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._own = root / ".remote"
        self._held: dict[str, int] = {}

    def use(self, unit: str) -> None:
        """Keep a unit until this process ends."""
        path = self._own / "use" / unit
        if unit not in self._held:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            with suppress(ImportError):  # not on Windows, where no unit is ever removed
                import fcntl

                fcntl.flock(descriptor, fcntl.LOCK_SH)
            self._held[unit] = descriptor
        os.utime(path)

    def leave(self) -> None:
        """Let others remove what this process has used, as its end does."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def make(self, needed: int, on_event: Callable[[str], None]) -> None:
        """Remove units that nobody uses until `needed` bytes fit below the limit, those first that rest the longest.

        Kept are units in use, and those that hold what the store lacks; so there may be too little room even so.
        """
        sizes = {unit: sum(file.size for file in index.files.values()) for unit, index in self._units()}
        limit = cache_bytes(self._root, sum(sizes.values()))
        excess = sum(sizes.values()) + needed - limit
        for unit in sorted(sizes, key=self._last_use):
            if excess <= 0:
                return
            if unit not in self._held and self._remove(unit):
                excess -= sizes[unit]
                on_event(f"- {unit} left the cache folder, which may hold {limit / 1e9:,.1f} GB; the store has it")

    def _units(self) -> Iterator[tuple[str, UnitIndex]]:
        folder = self._own / "index"
        for path in folder.rglob("*.json"):
            try:
                yield path.relative_to(folder).as_posix().removesuffix(".json"), UnitIndex.load(path)
            except (StoreError, FileNotFoundError):  # it is reported where the unit is named
                continue

    def _last_use(self, unit: str) -> float:
        path = self._own / "use" / unit
        return path.stat().st_mtime if path.is_file() else 0.0

    def _remove(self, unit: str) -> bool:
        """Remove a unit that nobody uses and that the store has whole; True if it is gone."""
        folder, index = self._root / unit, self._own / "index" / f"{unit}.json"
        try:
            with exclusive_lock(self._own / "locks" / f"{unit}.lock", busy="in use"), self._unused(unit):
                if UnitIndex.load(index).differs_from(folder):
                    return False
                for head in HEADS:  # what is left if this process is killed is no corpus and no run
                    (folder / head).unlink(missing_ok=True)
                index.unlink(missing_ok=True)
                shutil.rmtree(folder, ignore_errors=True)
        except (RunError, BlockingIOError, ImportError):
            return False
        return True

    @contextmanager
    def _unused(self, unit: str) -> Iterator[None]:
        """Raises BlockingIOError where a process uses the unit."""
        import fcntl  # which Windows lacks

        path = self._own / "use" / unit
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)
