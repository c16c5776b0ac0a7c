"""What a cache folder has of a unit: the version, and how each file looked when it was equal to the store's.

Writes .remote/index/UNIT.json    in the cache folder
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from charlm.errors import StoreError
from charlm.remote.units import content_of, is_remade
from charlm.storage.atomic import read_json, write_json


@dataclass(frozen=True)
class KnownFile:
    """A file that is equal to the object of this digest as long as it looks like this."""

    sha256: str
    size: int
    changed: int
    """Time of the last change, nanoseconds."""

    inode: int

    @classmethod
    def of(cls, path: Path, sha256: str) -> Self:
        found = path.stat()
        return cls(sha256, found.st_size, found.st_mtime_ns, found.st_ino)


@dataclass(kw_only=True)
class UnitIndex:
    """The content of one index file; with version 0 nothing has come from the store, or gone to it."""

    version: int = 0
    is_whole: bool = True
    """False where only some files have come."""

    is_coming: bool = False
    """True while files come; a process that is killed then leaves some of them."""

    files: dict[str, KnownFile] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Self:
        if not path.is_file():
            return cls()
        values = read_json(path, remedy="delete it", error=StoreError)
        try:
            files = {name: KnownFile(*known) for name, known in values.pop("files").items()}
            return cls(**values, files=files)
        except (TypeError, AttributeError, KeyError) as error:
            raise StoreError(f"{path} is damaged ({error}); delete it") from error

    def save(self, path: Path) -> None:
        values = asdict(self)
        write_json(path, {**values, "files": {name: list(known.values()) for name, known in values["files"].items()}})

    def known(self, name: str, path: Path) -> KnownFile | None:
        """What is known of a file, unless it has changed since."""
        known = self.files.get(name)
        try:
            return known if known is not None and KnownFile.of(path, known.sha256) == known else None
        except FileNotFoundError:
            return None

    def differs_from(self, folder: Path) -> bool:
        """True where the files in a unit's folder are not those that it had when it was equal to the store's."""
        if self.is_coming:
            return False
        here = {name: path for name, path in content_of(folder) if not is_remade(name)}
        if any(self.known(name, path) is None for name, path in here.items()):
            return True
        expected = {name for name in self.files if not is_remade(name)}
        return self.is_whole and bool(expected - here.keys())
