"""A source of raw text and its bytes: a file here or elsewhere; `.gz`, `.xz` and `.zst` are unpacked.

Bytes come in blocks of `BLOCK_BYTES`: no file is ever held in memory as a whole, and no file is trusted to be what its
name promises.
"""

import gzip
import hashlib
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, Protocol

import pyarrow as pa

from charlm.config import ReadConfig
from charlm.errors import SourceError
from charlm.text.sources.filesystems import open_filesystem

BLOCK_BYTES = 1 << 20
HUB_PREFIX = "hf:"
_COMPRESSIONS = (".gz", ".xz", ".zst")
# The ratio of the first megabytes means little: a short file of spaces is no bomb.
_RATIO_APPLIES_FROM_BYTES = 16 << 20

Kind = Literal["text", "jsonl", "parquet", "hub"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One piece of raw text: a local or remote file, or a Hugging Face dataset."""

    name: str
    """Its name below the given folder; it is written to the manifest."""

    address: str
    """Path, fsspec address or `hf:…`, as messages show it."""

    size: int | None
    """Bytes as stored; none where that is not known beforehand."""

    stamp: int = 0
    """Time of the last change in nanoseconds: it shows whether a source changed between two runs."""

    remote: tuple[str, str] | None = None
    """Of a remote file: the address that was given, which leads to a file system, and the path in it."""

    @property
    def compression(self) -> str:
        suffix = PurePosixPath(self.address).suffix.lower()
        return suffix if suffix in _COMPRESSIONS and self.kind != "hub" else ""

    @property
    def kind(self) -> Kind:
        if self.address.startswith(HUB_PREFIX):
            return "hub"
        path = PurePosixPath(self.address.lower())
        if path.suffix in _COMPRESSIONS:
            path = path.with_suffix("")
        if path.suffix in (".jsonl", ".ndjson", ".json"):
            return "jsonl"
        return "parquet" if path.suffix == ".parquet" else "text"


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
        while block := self._read_stored(BLOCK_BYTES):  # what follows the packed data belongs to the digest
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
                f"cannot read {self.source.address} at byte {self.num_stored}: {one_line(error)}"
            ) from error

    def _damage(self, error: Exception) -> SourceError:
        return SourceError(
            f"{self.source.address} is cut short or damaged within its first {self.num_stored} bytes "
            f"({one_line(error)}); fetch the file again"
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

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._read(size if size >= 0 else BLOCK_BYTES)

    def readinto(self, buffer: Any) -> int:  # any writable buffer, which has no type before Python 3.12
        target = memoryview(buffer)
        block = self.read(len(target))
        target[: len(block)] = block
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
        if source.remote:
            address, path = source.remote
            opened: IO[bytes] = open_filesystem(address)[0].open(path, "rb")
            return opened
        return Path(source.address).open("rb", buffering=0)
    except Exception as error:  # remote file systems raise their own kinds
        raise SourceError(f"cannot read {source.address}: {one_line(error)}; fix that or leave it out") from error


def sha256_of_source(source: Source) -> str:
    """The digest of a file as stored."""
    digest = hashlib.sha256()
    with open_stored(source) as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def one_line(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:300]
