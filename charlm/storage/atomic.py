"""Write files and folders so that they are there whole or not at all."""

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from charlm.errors import CharLMError, CorpusError

JsonObject = dict[str, Any]
"""A JSON object whose values are checked where they are used."""

_TEMPORARY_PREFIX = ".tmp-"
_LONGEST_NAME = 255  # bytes, on every common file system
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that gets the name `path` when the block ends well, and is deleted when it raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


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
