"""Find raw text: files, folders, globs, fsspec addresses and Hugging Face datasets."""

import errno
import glob
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from charlm.errors import SourceError
from charlm.storage.user_paths import user_path
from charlm.text.sources.raw import HUB_PREFIX, Source
from charlm.text.sources.remote import find_remote

_ARCHIVES = (".tar", ".tgz", ".txz", ".zip", ".7z", ".rar", ".bz2")


def find_sources(raw: Iterable[str | os.PathLike[str]]) -> list[Source]:
    """Every source that `raw` names, each once: in the order given, within folders and globs by name.

    Raises SourceError for an address that leads to nothing, to something unreadable, or out of its folder.
    """
    found: dict[tuple[str, tuple[str, str] | None], Source] = {}
    for item in raw:
        for source in _expand(os.fspath(item)):
            found.setdefault((source.address, source.remote), source)
    if not found:
        raise SourceError("no raw text was named; give files, folders, globs, addresses or hf:NAME")
    for source in found.values():
        _refuse_archive(source)
    return list(found.values())


def _expand(item: str) -> list[Source]:
    """What `item` leads to: a file or folder of that name, then an address, then a pattern."""
    if not item:
        raise SourceError("one of the names of raw text is empty; give a file, a folder or an address")
    path = user_path(item)
    try:
        if path.is_dir():
            return _expand_folder(path)
        if path.exists():
            return [_local_source(path, path.name)]
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG or "://" not in item:
            raise SourceError(f"cannot read {item}: {error.strerror}; check the path") from error
    if item.startswith(HUB_PREFIX):
        return [Source(name=item, address=item, size=None)]
    if "://" in item:
        return find_remote(item)
    if glob.has_magic(item):
        return _expand_pattern(path, item)
    if path.is_symlink():
        raise SourceError(f"{item} is a link to {path.readlink()}, which does not exist; fix the link or leave it out")
    raise SourceError(f"there is no file or folder {item!r}; check the path")


def _expand_pattern(path: Path, item: str) -> list[Source]:
    """The files that match; folders that exist are taken by name, whatever characters it has."""
    base, *rest = path.parts
    folder = Path(base) if Path(base).is_dir() else Path()
    rest = rest if Path(base).is_dir() else [base, *rest]
    while len(rest) > 1 and (folder / rest[0]).is_dir():
        folder /= rest.pop(0)
    # Path.glob knows no hidden files. What a pattern leaves out is the part of the path that its matches share in the
    # manifest.
    names = sorted(glob.glob("/".join(rest), root_dir=folder, recursive=True))  # noqa: PTH207
    files = [_local_source(folder / name, name) for name in names if not (folder / name).is_dir()]
    if files:
        return files
    raise SourceError(f"no file matches {item!r}; check the pattern and the folder")


def _expand_folder(folder: Path) -> list[Source]:
    """The files below `folder`, hidden ones left out; a link may not lead out of the folder."""
    root = folder.resolve()
    sources: list[Source] = []
    for parent, folders, names in os.walk(folder, onerror=_refuse_folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in [*folders, *names]:
            path = Path(parent, name)
            if name.startswith("."):
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise SourceError(f"{path} is a link out of the folder, to {path.resolve()}; replace it by a copy")
            if not path.is_dir():
                sources.append(_local_source(path, (folder.name / path.relative_to(folder)).as_posix()))
    if not sources:
        raise SourceError(f"the folder {folder} holds no files; put text into it")
    return sorted(sources, key=lambda source: source.name)


def _refuse_folder(error: OSError) -> None:
    raise SourceError(f"cannot read the folder {error.filename}: {error.strerror}; check its permissions") from error


def _local_source(path: Path, name: str) -> Source:
    try:
        status = path.stat()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; fix that or leave it out") from error
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"{path} is not a regular file; leave it out")
    name = os.fsencode(name).decode(errors="replace")  # the manifest is UTF-8, a file name need not be
    address = str(path)
    if address.startswith(HUB_PREFIX):
        address = f"./{address}"
    return Source(name=name, address=address, size=status.st_size, stamp=status.st_mtime_ns)


def _refuse_archive(source: Source) -> None:
    name = source.address.lower().removesuffix(source.compression)
    if source.kind == "text" and name.endswith(_ARCHIVES):
        raise SourceError(f"{source.address} is an archive; unpack it and name the folder")
