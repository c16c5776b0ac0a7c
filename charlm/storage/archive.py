"""One file for a whole model, or for a training that can be resumed: a zip of JSON and safetensors.

Reads and writes   PART.json         settings of a part of the file
                   PART.safetensors  its tensors

Nothing is compressed and nothing is executed. Equal content gives equal bytes.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from charlm.errors import ModelFileError
from charlm.storage.atomic import JsonObject, atomic_write
from charlm.storage.torch_file import errors_name

_FORMAT = "charlm.archive/1"
_HEAD = "archive"
_JSON, _TENSORS = ".json", ".safetensors"


@dataclass(frozen=True)
class Part:
    """Plain JSON and named tensors that belong together."""

    settings: JsonObject
    tensors: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)


def write_archive(path: Path, parts: Mapping[str, Part]) -> None:
    """Write `parts` to `path`, atomically."""
    from safetensors.torch import save

    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:

        def write(name: str, content: bytes) -> None:
            entry = zipfile.ZipInfo(name)  # dated 1980: equal content, equal bytes
            with archive.open(entry, "w", force_zip64=True) as stream:
                stream.write(content)

        write(_HEAD + _JSON, _to_json({"format": _FORMAT, "parts": list(parts)}))
        for name, part in parts.items():
            write(name + _JSON, _to_json(part.settings))
            write(name + _TENSORS, save(_apart(part.tensors)))


def read_archive(path: Path | str) -> dict[str, Part]:
    """The parts of the file, tensors on the CPU.

    Raises ModelFileError, one line that names the file, when it is missing, damaged, or written by nobody we know.
    """
    from safetensors.torch import load

    path = Path(path)
    with errors_name(path), _opened(path) as archive:
        size = path.stat().st_size
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > size:
                raise ModelFileError(f"its entry {entry.filename} is compressed or larger than the file")
        if _HEAD + _JSON not in archive.namelist():
            raise ModelFileError("it is no zip of JSON and safetensors; models of other programs cannot be read here")
        head = json.loads(archive.read(_HEAD + _JSON))
        if head["format"] != _FORMAT:
            raise ModelFileError(f"its format is not {_FORMAT!r}; a newer charlm may have written it")
        return {
            name: Part(json.loads(archive.read(name + _JSON)), load(archive.read(name + _TENSORS)))
            for name in head["parts"]
        }


def is_pickled(path: Path) -> bool:
    """Whether torch.save wrote the file, in its new format or in the old one, as Flair does."""
    with path.open("rb") as file:
        if file.read(1) == b"\x80":
            return True
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


def _opened(path: Path) -> zipfile.ZipFile:
    """The file as a zip; ModelFileError for what torch.save wrote."""
    if is_pickled(path):
        raise ModelFileError("it is a pickle of torch, as Flair writes models; a training of charlm is none")
    return zipfile.ZipFile(path)


def _to_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors on the CPU, each with memory of its own, as safetensors needs them."""
    apart: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        stored = tensor.detach().to("cpu").contiguous()
        if stored.untyped_storage().data_ptr() in seen or stored.untyped_storage().nbytes() > stored.nbytes:
            stored = stored.clone()
        seen.add(stored.untyped_storage().data_ptr())
        apart[name] = stored
    return apart
