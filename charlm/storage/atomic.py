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

from charlm.errors import CorpusError

_TEMPORARY_PREFIX = ".tmp-"


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the name `path` when the block ends well, and vanishes when it does not."""
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
    """A folder that takes the name `path` when the block ends well; an old one of that name gives way to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(path)
    try:
        temporary.mkdir()
        yield temporary
        if path.exists():
            old = _temporary_name(path)
            path.replace(old)
            temporary.replace(path)
            shutil.rmtree(old)
        else:
            temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(path.parent)


def _temporary_name(path: Path) -> Path:
    return path.with_name(f"{_TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex[:12]}")


def remove_temporaries(folder: Path, *, unused_seconds: float = 0) -> None:
    """Delete what writers that were killed have left in `folder` and not touched for so long.

    Where others may write too, as no lock keeps them out, give them time: a living writer goes on writing.
    """
    oldest = time.time() - unused_seconds
    for path in folder.glob(f"{_TEMPORARY_PREFIX}*"):
        try:
            is_used = path.stat().st_mtime > oldest
        except FileNotFoundError:  # whole by now
            continue
        if is_used:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON for eyes and machines: indented, keys in the order given, one newline at the end."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON in `path`; raises CorpusError naming the file and the line when it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path} is damaged ({error}); delete it to have it made anew") from error
