"""Torch's two file formats, read and written as plain data: nothing in a file is executed, no size in it is believed.

Reads  the zip format   ARCHIVE/data.pkl, ARCHIVE/data/KEY, torch 1.6 and later
Reads  the old format   five pickles, then the numbers of every storage, up to torch 1.5
Writes the zip format, so that `torch.load` opens it. Equal content gives equal bytes.

`torch.load(weights_only=True)` is no help here: it refuses the class that Flair's files name, and cannot read pickle
protocol 4, in which Flair writes them (torch 2.13).
"""

import io
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch

from charlm.errors import CharLMError, ModelFileError
from charlm.storage.atomic import atomic_write
from charlm.storage.plain_pickle import Call, External, Name, Value, read_pickle, write_pickle

_TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_STORAGE_CLASSES = frozenset(Name("torch", name) for name in _TYPES)
_REBUILD_TENSOR = Name("torch._utils", "_rebuild_tensor_v2")
_LARGEST_PICKLE = 256 * 2**20
_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_ARCHIVE = "archive"


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor's numbers lie; nothing of it is in memory."""

    storage: External
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class TorchFile:
    """The content of a torch file: `value` holds `StoredTensor`s, which `tensor` turns into real ones."""

    value: Value
    _read_storage: Callable[[str, int], bytes]  # key and size in bytes -> content

    def tensor(self, stored: StoredTensor) -> torch.Tensor:
        """The tensor on the CPU, contiguous; raises ModelFileError when the file does not contain it."""
        kind, key, numel = _storage_parts(stored.storage)
        shape, stride = stored.shape, stored.stride
        numbers = (stored.offset, *shape, *stride)
        if not all(type(number) is int and number >= 0 for number in numbers) or len(shape) != len(stride):
            raise ModelFileError("a tensor in it has an impossible shape")
        last = stored.offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        if 0 in shape or last >= numel or math.prod(shape) > numel:
            raise ModelFileError(f"a tensor of shape {list(shape)} does not fit the {numel} numbers stored for it")
        flat = torch.frombuffer(bytearray(self._read_storage(key, numel * kind.itemsize)), dtype=kind)
        return flat.as_strided(shape, stride, stored.offset).contiguous()


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Turns whatever reading `path` raises into a ModelFileError of one line that names the file."""
    try:
        yield
    except CharLMError as error:
        raise ModelFileError(f"{path} is not a model file we trust: {error}") from error
    except OSError as error:
        raise ModelFileError(f"cannot read the model file {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file raises almost anything
        reason = " ".join((str(error) or type(error).__name__).split())
        raise ModelFileError(f"{path} is damaged or not a model file ({reason:.200})") from error


def read_torch_file(path: Path, *, classes: frozenset[Name]) -> TorchFile:
    """The content of a torch file in either format, where objects may only be of `classes`.

    Raises ModelFileError when it names anything else, and almost anything when it is damaged: see `errors_name`.
    """
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            return _read_zip(path, classes)
        file.seek(0)
        return _read_old(path, file, classes)


def _read_zip(path: Path, classes: frozenset[Name]) -> TorchFile:
    with zipfile.ZipFile(path) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}

        if "byteorder" in names and _read_entry(path, names["byteorder"], None) != b"little":
            raise ModelFileError("its numbers are big-endian; save it again on a usual machine")
        if "data.pkl" not in names:
            raise ModelFileError("it is a zip file without data.pkl, so torch did not write it")
        content = _read_entry(path, names["data.pkl"], None)

    def read_storage(key: str, size: int) -> bytes:
        if f"data/{key}" not in names:
            raise ModelFileError(f"the numbers of storage {key!r} are missing")
        return _read_entry(path, names[f"data/{key}"], size)

    return TorchFile(_unpickle(io.BytesIO(content), classes), read_storage)


def _read_entry(path: Path, name: str, size: int | None) -> bytes:
    """An entry of a zip file, of `size` bytes where that is known. Torch compresses nothing, so neither may a bomb."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(name)
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > path.stat().st_size:
            raise ModelFileError(f"its entry {name} is compressed or larger than the file")
        if size is None and entry.file_size > _LARGEST_PICKLE:
            raise ModelFileError(f"its entry {name} has {entry.file_size} bytes, which no model needs")
        if size is not None and entry.file_size != size:
            raise ModelFileError(f"its entry {name} has {entry.file_size} bytes where {size} are declared")
        return archive.read(entry)


def _read_old(path: Path, file: IO[bytes], classes: frozenset[Name]) -> TorchFile:
    if _unpickle(file, classes) != _OLD_MAGIC:
        raise ModelFileError("it is no file of torch's")
    _protocol, _system, value = (_unpickle(file, classes) for _ in range(3))
    keys = _unpickle(file, classes)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ModelFileError("it has no list of storages")
    kinds = {key: kind for kind, key, _ in map(_storage_parts, _storages(value))}
    positions: dict[str, tuple[int, int]] = {}
    end = os.fstat(file.fileno()).st_size
    for key in keys:
        (numel,) = struct.unpack("<q", file.read(8))
        start = file.tell()
        size = numel * kinds[key].itemsize
        if numel < 0 or start + size > end:
            raise ModelFileError(f"storage {key!r} declares {numel} numbers, more than the file holds")
        positions[key] = (start, size)
        file.seek(start + size)

    def read_storage(key: str, size: int) -> bytes:
        start, stored = positions[key]
        if stored != size:
            raise ModelFileError(f"storage {key!r} has {stored} bytes where {size} are declared")
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size)

    return TorchFile(value, read_storage)


def _unpickle(file: IO[bytes], classes: frozenset[Name]) -> Value:
    functions: dict[Name, Callable[..., Value]] = {
        _REBUILD_TENSOR: _stored_tensor,
        Name("torch._utils", "_rebuild_tensor"): _stored_tensor,
        Name("torch._utils", "_rebuild_parameter"): _parameter,
    }
    return read_pickle(file, functions=functions, classes=classes | _STORAGE_CLASSES)


def _stored_tensor(storage: Value, offset: Value, shape: Value, stride: Value, *_gradient: Value) -> StoredTensor:
    if not isinstance(storage, External):
        raise ModelFileError("a tensor in it has no storage")
    return StoredTensor(storage, offset, tuple(shape), tuple(stride))


def _parameter(tensor: Value, *_gradient: Value) -> Value:
    return tensor


def _storage_parts(storage: External) -> tuple[torch.dtype, str, int]:
    """Type, key and number of elements from torch's identity `("storage", class, key, device, numel, …)`."""
    tag, kind, key, _device, numel = storage.identity[:5]
    if tag != "storage" or kind not in _STORAGE_CLASSES or not isinstance(key, str) or type(numel) is not int:
        raise ModelFileError("a tensor in it has a storage of an unknown kind")
    if storage.identity[5:] not in ((), (None,)):
        raise ModelFileError("a storage in it is a view of another, which no model needs")
    return _TYPES[kind.name], key, numel


def _storages(value: Value) -> list[External]:
    """Every storage under `value`, each container visited once."""
    found, waiting, seen = [], [value], set()
    while waiting:
        item = waiting.pop()
        if isinstance(item, StoredTensor):
            found.append(item.storage)
        elif isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            waiting.extend(item.values() if isinstance(item, dict) else item)
    return found


def write_torch_file(path: Path, value: dict[str, Value]) -> None:
    """Write `value` (plain data, `PickledObject`s, and float32 tensors at any depth) so that `torch.load` opens it."""
    tensors: list[torch.Tensor] = []
    content = write_pickle(_with_stored_tensors(value, tensors))
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:

        def write(name: str, entry: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(f"{_ARCHIVE}/{name}"), entry)  # dated 1980: equal content, equal bytes

        write("data.pkl", content)
        write("byteorder", b"little")
        for key, tensor in enumerate(tensors):
            write(f"data/{key}", tensor.numpy().tobytes())
        write("version", b"3\n")


def _with_stored_tensors(value: Value, tensors: list[torch.Tensor]) -> Value:
    if isinstance(value, dict):
        return {key: _with_stored_tensors(entry, tensors) for key, entry in value.items()}
    if not isinstance(value, torch.Tensor):
        return value
    tensor = value.detach().to("cpu", torch.float32).contiguous()
    storage = External(("storage", Name("torch", "FloatStorage"), str(len(tensors)), "cpu", tensor.numel()))
    tensors.append(tensor)
    hooks = Call(Name("collections", "OrderedDict"))
    return Call(_REBUILD_TENSOR, (storage, 0, tuple(tensor.shape), tuple(tensor.stride()), False, hooks))
