"""What an object store knows of a workspace: its format, and the manifest of each unit at each version.

Reads and writes
    format.json                 the format
    refs/UNIT/00000001.json     the manifest of a unit at a version

A manifest is created last, and only where no other machine has created that version: an interrupted push leaves nothing
that can be seen, and of two machines that change one unit, the second one is refused (docs/adr/0026-object-store.md).
"""

import json

from charlm.errors import StoreError
from charlm.remote.object_store import ObjectStore
from charlm.remote.units import UnitManifest, manifest_folder, manifest_key, unit_and_version

_FORMAT_KEY, _FORMAT_NAME, _FORMAT_NUMBER = "format.json", "charlm.workspace", 1
_KEPT_MANIFESTS = 2  # a reader that has just listed one version still gets it


class Catalogue:
    """The units of one workspace, as the store has them."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._has_format = False

    def check_format(self) -> None:
        """Raise StoreError for a workspace that a newer charlm has written; a new one has no format yet."""
        content = self._store.read(_FORMAT_KEY)
        if content is None:
            return
        try:
            name, _, number = str(json.loads(content)["format"]).partition("/")
            is_newer = int(number) > _FORMAT_NUMBER
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self._store.address}/{_FORMAT_KEY} is damaged; restore it from a backup") from error
        if name != _FORMAT_NAME or is_newer:
            raise StoreError(
                f"the workspace {self._store.address} has the format {name}/{number}, and this charlm knows"
                f" {_FORMAT_NAME}/{_FORMAT_NUMBER}; install the newer charlm that has written it"
            )
        self._has_format = True

    def make(self) -> None:
        """Note the format of a new workspace; raises StoreError where `check_format` does."""
        if not self._has_format:
            self.check_format()
        if not self._has_format:
            value = json.dumps({"format": f"{_FORMAT_NAME}/{_FORMAT_NUMBER}"}) + "\n"
            self._store.create(_FORMAT_KEY, value.encode())
            self._has_format = True

    def versions(self, kind: str = "") -> dict[str, int]:
        """The newest version of every unit, or of those of a kind, such as `corpora`, in the store."""
        newest: dict[str, int] = {}
        for key in self._store.keys(f"refs/{kind}".rstrip("/")):
            if (found := unit_and_version(key)) is not None:
                newest[found[0]] = max(found[1], newest.get(found[0], 0))
        return newest

    def latest(self, unit: str) -> UnitManifest | None:
        """The newest manifest of a unit; None where the store has none."""
        for _ in range(5):  # another machine may remove a version that has just been listed
            newest = max(self._versions_of(unit), default=0)
            if newest == 0:
                return None
            key = manifest_key(unit, newest)
            if (content := self._store.read(key)) is not None:
                return UnitManifest.from_bytes(content, newest, f"{self._store.address}/{key}")
        raise StoreError(f"{self._store.address}/{manifest_folder(unit)} changes all the time; try again")

    def old_manifests(self) -> list[str]:
        """The keys of all manifests that newer versions have replaced."""
        found = {key: one for key in self._store.keys("refs") if (one := unit_and_version(key)) is not None}
        newest: dict[str, int] = {}
        for unit, version in found.values():
            newest[unit] = max(version, newest.get(unit, 0))
        return [key for key, (unit, version) in found.items() if version < newest[unit]]

    def _versions_of(self, unit: str) -> list[int]:
        found = map(unit_and_version, self._store.keys(manifest_folder(unit)))
        return [one[1] for one in found if one is not None and one[0] == unit]

    def create(self, manifest: UnitManifest) -> bool:
        """Add the next version of a unit; False where another machine has done that."""
        key = manifest_key(manifest.unit, manifest.version)
        if not self._store.create(key, manifest.to_bytes()):
            return False
        versions = self._versions_of(manifest.unit)
        if max(versions) > manifest.version:  # it has been there, and was replaced and cleared away
            self._store.delete([key])
            return False
        old = [one for one in versions if one <= manifest.version - _KEPT_MANIFESTS]
        self._store.delete(manifest_key(manifest.unit, one) for one in old)
        return True
