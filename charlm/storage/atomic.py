"""Write files and folders so that they are there whole or not at all."""

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from charlm.errors import CharLMError, CorpusError

JsonObject = dict[str, Any]
"""A JSON object whose values are checked where they are used."""

_TEMPORARY_PREFIX = ".tmp-"
_LONGEST_NAME = 255  # bytes, on every common file system
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux
SYNCS_AT_ONCE = 8  # a journal writes what several wait for at one go; more bring nothing


class _Syncs:
    """Files that are whole, and get their names as soon as the disk has them."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._waiting: list[Future[None]] = []
        self._folders: set[Path] = set()

    def add(self, temporary: Path, path: Path) -> None:
        self._waiting.append(self._pool.submit(_name, temporary, path))
        self._folders.add(path.parent)

    def finish(self) -> None:
        for future in self._waiting:
            future.result()
        for folder in sorted(self._folders):
            sync_folder(folder)


_SYNCS: ContextVar[_Syncs | None] = ContextVar("syncs", default=None)


@contextmanager
def syncing_together() -> Iterator[None]:
    """Of many small files that `atomic_write` writes in the block, let several wait for the disk at a time.

    When the block has ended, all of them have their names. A disk needs milliseconds for one file, and not much more
    for eight.
    """
    with ThreadPoolExecutor(SYNCS_AT_ONCE, thread_name_prefix="charlm-sync") as pool:
        syncs = _Syncs(pool)
        token = _SYNCS.set(syncs)
        try:
            yield
        finally:
            _SYNCS.reset(token)
            syncs.finish()


def _name(temporary: Path, path: Path) -> None:
    try:
        sync_file(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_file(path: Path) -> None:
    """Write what has been written to a file, by whatever process, to the disk."""
    with path.open("rb+", buffering=0) as file:
        os.fsync(file.fileno())


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that gets the name `path` when the block ends well, and is deleted when it raises.

    Within `syncing_together` it gets the name a little later.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, syncs = _temporary_name(path), _SYNCS.get()
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            if syncs is None:
                os.fsync(file.fileno())
        if syncs is None:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if syncs is None:
        sync_folder(path.parent)
    else:
        syncs.add(temporary, path)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder that gets the name `path` when the block ends well, and replaces an old one of that name.

    The two are exchanged in one step, so that there is a whole folder at every moment. A file system that cannot do
    that (NFS) renames the old one away first: a process killed at that moment leaves it beside `path`, as `.tmp-…`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(path)
    try:
        temporary.mkdir()
        yield temporary
        if path.exists():
            _exchange(temporary, path)
            shutil.rmtree(temporary)
        else:
            temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(path.parent)


def _exchange(new: Path, old: Path) -> None:
    """Give each of two folders the name of the other."""
    if _renameat2(new, old):
        return
    aside = _temporary_name(old)
    old.replace(aside)
    try:
        new.replace(old)
    except BaseException:
        aside.replace(old)
        raise
    aside.replace(new)


def _renameat2(new: Path, old: Path) -> bool:
    """Exchange two names in one step; False where the C library or the file system does not know how."""
    import ctypes  # takes milliseconds of every start

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, TypeError):  # not Linux; Windows has no library of the process itself
        return False
    return bool(call(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE) == 0)


def _temporary_name(path: Path) -> Path:
    unique = f"-{uuid.uuid4().hex[:12]}"
    room = _LONGEST_NAME - len(_TEMPORARY_PREFIX) - len(unique)
    name = os.fsencode(path.name)[:room].decode(errors="ignore")  # a name of the full length leaves no room for more
    return path.with_name(f"{_TEMPORARY_PREFIX}{name}{unique}")


def remove_temporaries(folder: Path, *, unused_seconds: float = 0) -> None:
    """Delete what killed writers left in `folder`, if it has not changed for so long.

    Where no lock keeps other writers out, allow them enough time: a living writer changes its file again and again.
    """
    oldest = time.time() - unused_seconds
    for path in folder.glob(f"{_TEMPORARY_PREFIX}*"):
        try:
            is_used = path.stat().st_mtime > oldest
        except FileNotFoundError:  # it has got its name
            continue
        if is_used:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Write the names in `folder` to the disk, so that a rename survives a power cut."""
    if os.name == "nt":  # Windows opens no folder, and orders renames itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: object) -> None:
    """Write JSON that people can read too: indented, keys in the order given, one newline at the end."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(
    path: Path, *, remedy: str = "restore it from a backup", error: type[CharLMError] = CorpusError
) -> Any:  # what a file holds is known only when it is looked at
    """The JSON in `path`.

    When it is damaged, raises `error` with the file, the place in it, and `remedy`: what the user should do about such
    a file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as found:
        raise error(f"{path} is damaged ({found}); {remedy}") from found
