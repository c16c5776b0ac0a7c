"""Find raw text and read its bytes: files, folders, globs, fsspec addresses and Hugging Face datasets.

Reads  anything a user calls RAW; `.gz`, `.xz` and `.zst` are unpacked on the way
Writes nothing

Bytes come in blocks of `BLOCK_BYTES`; no file is ever held whole, and none is trusted to be what its name says.
"""

import glob
import gzip
import hashlib
import io
import lzma
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, Protocol

import pyarrow as pa

from charlm.config import ReadConfig
from charlm.errors import SourceError

BLOCK_BYTES = 1 << 20
_HUB_PREFIX = "hf:"
_COMPRESSIONS = (".gz", ".xz", ".zst")
_ARCHIVES = (".tar", ".tgz", ".txz", ".zip", ".7z", ".rar", ".bz2")
# Ratios of the first megabytes say little: a short file of spaces is no bomb.
_RATIO_APPLIES_FROM_BYTES = 16 << 20

Kind = Literal["text", "jsonl", "parquet", "hub"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One piece of raw text: a file here or elsewhere, or a Hugging Face dataset."""

    name: str
    """Its name below the folder that was given; it stands in the manifest."""

    address: str
    """Path, fsspec address or `hf:…`; it stands in messages."""

    size: int | None
    """Bytes as stored; none where that cannot be known beforehand."""

    stamp: int = 0
    """Time of the last change in nanoseconds, for telling whether a source changed between two tries."""

    @property
    def compression(self) -> str:
        suffix = PurePosixPath(self.address).suffix.lower()
        return suffix if suffix in _COMPRESSIONS and self.kind != "hub" else ""

    @property
    def kind(self) -> Kind:
        if self.address.startswith(_HUB_PREFIX):
            return "hub"
        path = PurePosixPath(self.address.lower())
        if path.suffix in _COMPRESSIONS:
            path = path.with_suffix("")
        if path.suffix in (".jsonl", ".ndjson"):
            return "jsonl"
        return "parquet" if path.suffix == ".parquet" else "text"

    @property
    def is_remote(self) -> bool:
        return "://" in self.address


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
    if item.startswith(_HUB_PREFIX):
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
        raise SourceError(f"{item} is a link to {path.readlink()}, which does not exist; mend the link or leave it out")
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
        raise SourceError(f"cannot read {path}: {error.strerror}; mend it or leave it out") from error
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"{path} is not a regular file; leave it out")
    name = os.fsencode(name).decode(errors="replace")  # the manifest is UTF-8, a file name need not be
    return Source(name=name, address=str(path), size=status.st_size, stamp=status.st_mtime_ns)


def _expand_remote(item: str) -> list[Source]:
    fsspec = _import_fsspec(item)
    try:
        filesystem, path = fsspec.core.url_to_fs(item)
        if glob.has_magic(path):
            parts = PurePosixPath(path).parts
            base, paths = "/".join(parts[: _first_magic(parts)]).replace("//", "/"), filesystem.glob(path)
        else:
            base, paths = path, filesystem.find(path)
        files = [(found, filesystem.info(found)) for found in sorted(paths)]
    except Exception as error:  # each file system raises its own kinds
        raise SourceError(f"cannot read {item}: {_one_line(error)}") from error
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


def _import_fsspec(item: str) -> Any:
    try:
        import fsspec
    except ImportError as error:
        raise SourceError(f"{item} needs the package fsspec; install charlm[pipeline]") from error
    return fsspec


def _refuse_archive(source: Source) -> None:
    name = source.address.lower().removesuffix(source.compression)
    if source.kind == "text" and name.endswith(_ARCHIVES):
        raise SourceError(f"{source.address} is an archive; unpack it and name the folder")


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class RawStream(AbstractContextManager["RawStream"]):
    """The unpacked bytes of a source, and the digest of the bytes as stored.

    Attributes:
        num_stored: bytes read so far, as stored.
        num_read: bytes handed out so far, unpacked.
    """

    def __init__(self, source: Source, reading: ReadConfig) -> None:
        self.source = source
        self.reading = reading
        self.num_stored = 0
        self.num_read = 0
        self._digest = hashlib.sha256()
        self._resources = ExitStack()
        try:
            self._file = self._resources.enter_context(open_stored(source))
            self._unpacked: Readable = self._unpack() if source.compression else self._file
        except BaseException:
            self._resources.close()
            raise

    def __exit__(self, *exception: object) -> None:
        self._resources.close()

    def blocks(self) -> Iterator[bytes]:
        """The unpacked bytes, a block at a time; raises SourceError when the source is damaged or a bomb."""
        while block := self._read_block():
            self.num_read += len(block)
            if self.source.compression:
                self._refuse_bomb()
            else:
                self._take_stored(block)
            yield block
        while block := self._read_stored(BLOCK_BYTES):  # what stands behind the packed data belongs to the digest
            del block

    @property
    def sha256(self) -> str:
        """Digest of the bytes as stored, once `blocks` has ended."""
        return self._digest.hexdigest()

    def _read_block(self) -> bytes:
        try:
            return self._unpacked.read(BLOCK_BYTES)
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, pa.ArrowException, ValueError) as error:
            raise self._damage(error) from error
        except OSError as error:
            if self.source.compression and error.errno is None:  # how Arrow and isal report damaged data
                raise self._damage(error) from error
            raise SourceError(
                f"cannot read {self.source.address} at byte {self.num_stored}: {_one_line(error)}"
            ) from error

    def _damage(self, error: Exception) -> SourceError:
        return SourceError(
            f"{self.source.address} is cut short or damaged within its first {self.num_stored} bytes "
            f"({_one_line(error)}); fetch the file again"
        )

    def _refuse_bomb(self) -> None:
        ratio = self.num_read / max(self.num_stored, 1)
        if self.num_read > self.reading.max_unpacked_bytes:
            raise SourceError(
                f"{self.source.address} unpacks to more than {self.reading.max_unpacked_bytes} bytes; "
                "raise --max-unpacked-size if so meant"
            )
        if self.num_read > _RATIO_APPLIES_FROM_BYTES and ratio > self.reading.max_ratio:
            raise SourceError(
                f"{self.source.address} unpacks to {ratio:.0f} times its size after {self.num_read} bytes, which looks "
                f"like a decompression bomb; unpack it yourself if it is meant"
            )

    def _unpack(self) -> Readable:
        packed = _StoredBytes(self._read_stored)
        match self.source.compression:
            case ".gz":
                return _open_gzip(packed)
            case ".xz":
                return lzma.LZMAFile(packed)  # type: ignore[arg-type]
            case _:
                return pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), "zstd")  # type: ignore[no-any-return]

    def _read_stored(self, size: int) -> bytes:
        block = self._file.read(size)
        self._take_stored(block)
        return block

    def _take_stored(self, block: bytes) -> None:
        self.num_stored += len(block)
        self._digest.update(block)


class _StoredBytes(io.RawIOBase):
    """A file object whose bytes come from a function, for the unpacking libraries."""

    def __init__(self, read: Any) -> None:
        self._read = read

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block: bytes = self._read(size if size >= 0 else BLOCK_BYTES)
        return block

    def readinto(self, buffer: Any) -> int:
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


def _open_gzip(packed: _StoredBytes) -> Readable:
    try:
        from isal import igzip
    except ImportError:  # the same result, 3.5 times slower
        return gzip.GzipFile(fileobj=packed, mode="rb")
    unpacked: Readable = igzip.IGzipFile(fileobj=packed, mode="rb")  # type: ignore[no-untyped-call]
    return unpacked


def open_stored(source: Source) -> IO[bytes]:
    """The bytes of a file as stored; raises SourceError when it cannot be opened."""
    try:
        if source.is_remote:
            opened: IO[bytes] = _import_fsspec(source.address).open(source.address, "rb").open()
            return opened
        return Path(source.address).open("rb", buffering=0)
    except Exception as error:  # remote file systems raise their own kinds
        raise SourceError(f"cannot read {source.address}: {_one_line(error)}; mend it or leave it out") from error


def sha256_of_source(source: Source) -> str:
    """The digest of a file as stored."""
    digest = hashlib.sha256()
    with open_stored(source) as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _one_line(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:300]
