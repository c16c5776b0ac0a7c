"""A unit of a workspace in an object store: one corpus, one run, one report; and which of its files are content.

A unit is named by its folder in the workspace, such as `corpora/books`. What the store knows of it is a manifest, which
lists files by digest; each change is a manifest of the next version.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from typing import Self

from charlm.artifacts import CorpusFiles, DownstreamRunFiles, RunFiles
from charlm.errors import StoreError
from charlm.storage.atomic import JsonObject

_FORMAT = "charlm.unit/1"
_VERSION_DIGITS = 8
_ANYWHERE = Path()
HEADS = (
    CorpusFiles(_ANYWHERE).manifest.name,
    RunFiles(_ANYWHERE).manifest.name,
    DownstreamRunFiles(_ANYWHERE).manifest.name,
)
"""What makes a folder a corpus or a run: it comes last, so that what has not come whole is nothing yet."""
_GROWING = (
    RunFiles(_ANYWHERE).journal,
    RunFiles(_ANYWHERE).loss_tsv,
    RunFiles(_ANYWHERE).training_log,
    DownstreamRunFiles(_ANYWHERE).weights,
)
_FIRST = RunFiles(_ANYWHERE).checkpoint
_REMADE = (CorpusFiles(_ANYWHERE).encoded_root,)
_LOCAL = (CorpusFiles(_ANYWHERE).baseline_dir, CorpusFiles(_ANYWHERE).held_out_scores_dir)


@dataclass(frozen=True)
class StoredFile:
    """One file of a unit."""

    size: int
    sha256: str
    key: str
    """Where the store has its content."""

    xxh3: str = ""
    """Its XXH3-128, which tells damage on the way ten times as fast; empty where it was stored without."""


@dataclass(frozen=True, kw_only=True)
class UnitManifest:
    """All files of a unit at one version."""

    unit: str
    version: int
    writer: str
    """The cache that has written it."""

    files: dict[str, StoredFile] = field(default_factory=dict)
    """By path in the unit."""

    removed: bool = False
    """True where the unit has been removed."""

    since: int
    """The first version with this content: what is based on it, is based on this one."""

    def to_bytes(self) -> bytes:
        files = [{"path": path, **asdict(file)} for path, file in self.files.items()]
        value = {
            "format": _FORMAT,
            "unit": self.unit,
            "writer": self.writer,
            "removed": self.removed,
            "since": self.since,
            "files": files,
        }
        return json.dumps(value, indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, content: bytes, version: int, place: str) -> Self:
        """Raises StoreError, which names `place`, for what is no manifest."""
        try:
            value: JsonObject = json.loads(content)
            if value["format"] != _FORMAT:
                raise ValueError(f"its format is {value['format']!r}")
            files = {
                file["path"]: StoredFile(
                    int(file["size"]), str(file["sha256"]), str(file["key"]), str(file.get("xxh3", ""))
                )
                for file in value["files"]
            }
            if any(Path(path).is_absolute() or ".." in Path(path).parts for path in files):
                raise ValueError("it names files outside of its folder")
            return cls(
                unit=value["unit"],
                version=version,
                writer=value["writer"],
                files=files,
                removed=value["removed"],
                since=int(value["since"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{place} is damaged ({error}); restore it from a backup") from error


def manifest_key(unit: str, version: int) -> str:
    return f"{manifest_folder(unit)}/{version:0{_VERSION_DIGITS}d}.json"


def manifest_folder(unit: str) -> str:
    return f"refs/{unit}"


def unit_and_version(key: str) -> tuple[str, int] | None:
    """`"refs/corpora/books/00000002.json" -> ("corpora/books", 2)`; None for other objects."""
    folder, _, name = key.rpartition("/")
    digits = name.removesuffix(".json")
    if not folder.startswith("refs/") or len(digits) != _VERSION_DIGITS or not digits.isdecimal():
        return None
    return folder.removeprefix("refs/"), int(digits)


def content_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a unit that the store gets, by path in it; what is read first must not be newer than what follows.

    Left out are hidden files (locks, drafts) and what each machine makes for itself.
    """
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    relative = {path.relative_to(folder): path for path in found}
    for name in sorted(relative, key=lambda name: (name != _FIRST, str(name))):
        if not any(part.startswith(".") for part in name.parts) and not is_below(name, _LOCAL):
            yield name.as_posix(), relative[name]


def is_no_train_text(path: str) -> bool:
    """True for all of a corpus but the text that most of its training reads as ids."""
    return not is_below(PurePath(path), [CorpusFiles(_ANYWHERE).train_dir])


def is_head(path: str) -> bool:
    return path in HEADS


def is_growing(path: str) -> bool:
    """True for a file that is appended to while it is read; all others are replaced whole."""
    return Path(path) in _GROWING


def is_remade(path: str) -> bool:
    """True for a file that may be missing, or come, without a change of the unit: it is made from the others."""
    return is_below(Path(path), _REMADE)


def is_below(path: PurePath, folders: Iterable[PurePath | str]) -> bool:
    """True for one of `folders`, and what is in one."""
    return any(path.is_relative_to(folder) for folder in folders)
