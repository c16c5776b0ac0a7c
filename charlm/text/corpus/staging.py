"""The files of a revision in the making: appended to, checkpointed, and moved to their places at once.

Reads and writes .staging/*    files that grow, and state.json

A checkpoint syncs every file and then records its size, so a run that is killed finds the state of its last checkpoint
by cutting the files back. The commit is a list of moves, which is recorded first, so that the next run can repeat it.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

from charlm.storage.atomic import SYNCS_AT_ONCE, JsonObject, read_json, sync_folder, write_json

_STATE = "state.json"
_MOST_WAITING = 256  # files that are open until the disk has them


class Staging:
    """A folder of growing files.

    Attributes:
        state: what the last checkpoint of the same `identity` recorded, or None at a fresh start.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self.identity = identity
        self.state: JsonObject | None = None
        self._sizes: dict[str, int] = {}
        self._files: dict[str, IO[bytes]] = {}
        self._syncs = ThreadPoolExecutor(SYNCS_AT_ONCE, thread_name_prefix="charlm-sync")
        self._waiting: list[Future[None]] = []
        saved = _read_state(folder) or {}
        if saved.get("identity") == identity:
            self.state, self._sizes = saved["state"], saved["sizes"]
            self._cut_back(saved["others"])
        else:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)

    def _cut_back(self, others: Iterable[str]) -> None:
        for path in self.folder.iterdir():
            if path.name in self._sizes:
                os.truncate(path, self._sizes[path.name])
            elif path.name not in {_STATE, *others}:
                path.unlink()

    def path(self, name: str) -> Path:
        return self.folder / name

    def size(self, name: str) -> int:
        return self._sizes.get(name, 0)

    def append(self, name: str, data: bytes | memoryview) -> None:
        if name not in self._files:
            self._files[name] = self.path(name).open("ab", buffering=0)
        self._files[name].write(data)
        self._sizes[name] = self.size(name) + len(data)

    def append_file(self, name: str, path: Path) -> None:
        """Append the content of another file."""
        self.append(name, b"")
        with path.open("rb") as source:
            shutil.copyfileobj(source, self._files[name], 1 << 20)
        self._sizes[name] += path.stat().st_size

    def begin_syncing(self) -> None:
        """Let the disk take what has been written, beside what follows, so that a checkpoint need not wait for all."""
        for file in self._files.values():
            self._sync_beside(os.fdopen(os.dup(file.fileno()), "ab"))  # for the other may be closed before its turn

    def close(self, name: str) -> None:
        """Sync a file that will not grow any more, beside what follows."""
        if file := self._files.pop(name, None):
            self._sync_beside(file)

    def close_all(self) -> None:
        for name in list(self._files):
            self.close(name)
        self._wait()

    def _sync_beside(self, file: IO[bytes]) -> None:
        self._waiting.append(self._syncs.submit(_sync_and_close, file))
        if len(self._waiting) >= _MOST_WAITING:
            self._wait()

    def _wait(self) -> None:
        """Wait until the disk has every file that has been closed, and what was to be synced of the others."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.result()

    def checkpoint(self, state: JsonObject, others: Iterable[str] = ()) -> None:
        """Make the present sizes and `state` what a killed run returns to; `others` are files that do not grow."""
        for file in self._files.values():
            os.fsync(file.fileno())
        self._wait()
        others = list(others)
        write_json(
            self.path(_STATE), {"identity": self.identity, "sizes": self._sizes, "others": others, "state": state}
        )
        for path in self.folder.iterdir():  # files that the state before this one needed
            if path.name not in {_STATE, *self._sizes, *others}:
                path.unlink()

    def commit(self, moves: dict[str, str]) -> None:
        """Move every file to its place below the folder's parent; `moves` maps names to places."""
        self.close_all()
        sync_folder(self.folder)
        write_json(self.path(_STATE), {"moves": moves})
        finish_commit(self.folder)


def _sync_and_close(file: IO[bytes]) -> None:
    with file:
        os.fsync(file.fileno())


def _read_state(folder: Path) -> JsonObject | None:
    path = folder / _STATE
    return read_json(path, remedy=f"delete {folder} and prepare again") if path.is_file() else None


def finish_commit(folder: Path) -> None:
    """Carry out the moves that a run recorded, also when that run was killed among them; else do nothing."""
    moves = (_read_state(folder) or {}).get("moves")
    if moves is None:
        return
    *others, last = moves.items()
    _move(folder, dict(others))
    _move(folder, dict([last]))  # it names the others, which are where they belong by then
    shutil.rmtree(folder)


def _move(folder: Path, moves: Mapping[str, str]) -> None:
    targets = {name: folder.parent / place for name, place in moves.items()}
    parents = {target.parent for target in targets.values()}
    for parent in parents:
        parent.mkdir(parents=True, exist_ok=True)
    left = {path.name for path in folder.iterdir()}
    for name, target in targets.items():
        if name in left:
            (folder / name).replace(target)
    for parent in parents:
        sync_folder(parent)
