"""Find raw text: files, folders, globs, fsspec addresses and Hugging Face datasets."""

import glob
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from charlm.errors import SourceError
from charlm.text.sources.raw import HUB_PREFIX, Source, import_fsspec, one_line

_ARCHIVES = (".tar", ".tgz", ".txz", ".zip", ".7z", ".rar", ".bz2")


def find_sources(raw: Iterable[str | os.PathLike[str]]) -> list[Source]:
    """Every source that `raw` names, each once: in the order given, within folders and globs by name.

    Raises SourceError for an address that leads to nothing, to something unreadable, or out of its folder.
    """
    found: dict[str, Source] = {}
    for item in raw:
        for source in _expand(os.fspath(item)):
            found.setdefault(source.address, source)
    if not found:
        raise SourceError("no raw text was named; give files, folders, globs, addresses or hf:NAME")
    for source in found.values():
        _refuse_archive(source)
    return list(found.values())


def _expand(item: str) -> list[Source]:
    if item.startswith(HUB_PREFIX):
        return [Source(name=item, address=item, size=None)]
    if "://" in item:
        return _expand_remote(item)
    path = Path(item).expanduser()
    if path.is_dir():
        return _expand_folder(path)
    if path.exists():
        return [_local_source(path, path.name)]
    if glob.has_magic(item):
        # What a pattern leaves out is the part of the path that its matches share in the manifest.
        base = Path(*path.parts[: _first_magic(path.parts)])
        # Path.glob knows no absolute patterns.
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        files = [_local_source(match, match.relative_to(base).as_posix()) for match in matches if not match.is_dir()]
        if files:
            return files
        raise SourceError(f"no file matches {item!r}; check the pattern and the folder")
    if path.is_symlink():
        raise SourceError(f"{item} is a link to {path.readlink()}, which does not exist; fix the link or leave it out")
    raise SourceError(f"there is no file or folder {item!r}; check the path")


def _first_magic(parts: Sequence[str]) -> int:
    return next(index for index, part in enumerate(parts) if glob.has_magic(part))


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
    return Source(name=name, address=str(path), size=status.st_size, stamp=status.st_mtime_ns)


def _expand_remote(item: str) -> list[Source]:
    fsspec = import_fsspec(item)
    try:
        filesystem, path = fsspec.core.url_to_fs(item)
        if glob.has_magic(path):
            parts = PurePosixPath(path).parts
            base, paths = "/".join(parts[: _first_magic(parts)]).replace("//", "/"), filesystem.glob(path)
        else:
            base, paths = path, filesystem.find(path)
        files = [(found, filesystem.info(found)) for found in sorted(paths)]
    except Exception as error:  # each file system raises its own kinds
        raise SourceError(f"cannot read {item}: {one_line(error)}") from error
    if not files:
        raise SourceError(f"there is no file at {item}; check the address")
    return [
        Source(
            name=found.removeprefix(base).lstrip("/") or PurePosixPath(found).name,
            address=filesystem.unstrip_protocol(found),
            size=info.get("size"),
        )
        for found, info in files
        if info.get("type") == "file"
    ]


def _refuse_archive(source: Source) -> None:
    name = source.address.lower().removesuffix(source.compression)
    if source.kind == "text" and name.endswith(_ARCHIVES):
        raise SourceError(f"{source.address} is an archive; unpack it and name the folder")
