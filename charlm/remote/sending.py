"""Send files to an object store by their digest, in a state that does not change while they are sent."""

import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from charlm.remote.index import KnownFile
from charlm.remote.object_store import ObjectStore
from charlm.remote.units import StoredFile, is_growing
from charlm.storage.fingerprints import sha256_of


class Sender:
    """Sends the files of one unit; `known` are digests of objects that the store has."""

    def __init__(self, store: ObjectStore, outgoing: Path, known: Collection[str]) -> None:
        self._store = store
        self._outgoing = outgoing
        self._known = known

    def send(self, name: str, path: Path, known: KnownFile | None) -> KnownFile | None:
        """What was sent of a file, which the store need not get again; None where it is gone.

        `known` says that the file is equal to the object of that digest.
        """
        if known is not None and known.sha256 in self._known:
            return known
        try:
            before = path.stat()
            with self._still(name, path) as still:
                digest, size = sha256_of(still) if known is None else known.sha256, still.stat().st_size
                stored = StoredFile(size, digest)
                if digest not in self._known and not self._store.has(stored.key):
                    self._store.upload(still, stored.key)
        except FileNotFoundError:  # replaced between two looks, or removed
            return None
        # A file that has grown or been replaced since the first look is unlike this, and is sent again next time.
        return KnownFile(digest, size, before.st_mtime_ns, before.st_ino)

    @contextmanager
    def _still(self, name: str, path: Path) -> Iterator[Path]:
        """The file under another name, where it stays what it is: a copy, or a link where files are only replaced."""
        self._outgoing.mkdir(parents=True, exist_ok=True)
        still = self._outgoing / uuid.uuid4().hex
        try:
            if is_growing(name):
                shutil.copyfile(path, still)
            else:
                try:
                    os.link(path, still)
                except FileNotFoundError:
                    raise
                except OSError:  # a file system without links
                    shutil.copyfile(path, still)
            yield still
        finally:
            still.unlink(missing_ok=True)
