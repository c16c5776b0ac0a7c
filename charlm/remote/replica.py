"""The cache folder of a workspace in an object store: bring units here, and send what has changed.

Reads and writes objects/AB/SHA256 in the store, content by its digest; and in the cache folder the unit itself, and
what is equal to the store's (.remote/).
"""

import errno
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from charlm.errors import StoreError
from charlm.remote.catalogue import Catalogue
from charlm.remote.index import KnownFile, UnitIndex
from charlm.remote.object_store import ObjectStore
from charlm.remote.room import CacheRoom
from charlm.remote.sending import Sender
from charlm.remote.units import (
    HEADS,
    StoredFile,
    UnitManifest,
    content_of,
    is_head,
    is_remade,
)
from charlm.storage.atomic import write_text
from charlm.storage.fingerprints import sha256_of
from charlm.storage.locks import exclusive_lock

TRANSFERS_AT_ONCE = 8
_SENT_WHEN_WHOLE = "corpora/"
R = TypeVar("R")
T = TypeVar("T")


class Replica:
    """The units of the workspace at one address, in one cache folder."""

    def __init__(self, store: ObjectStore, root: Path, on_event: Callable[[str], None] = lambda line: None) -> None:
        """`on_event` gets a line about what people should know."""
        self.store = store
        self.catalogue = Catalogue(store)
        self.root = root
        self._own = root / ".remote"
        self._room = CacheRoom(root)
        self._on_event = on_event
        self._fresh: dict[str, bool] = {}  # units that this process has compared, and whether they are whole
        self._unsent: set[str] = set()
        self._lock = threading.RLock()

    def refresh(self, unit: str | None = None) -> None:
        """Compare a unit, or all, with the store again from now on."""
        with self._lock:
            if unit is None:
                self._fresh.clear()
            else:
                self._fresh.pop(unit, None)

    def folder(self, unit: str) -> Path:
        return self.root / unit

    # ---- bringing units here -------------------------------------------------------------------------------------

    def fetch(self, unit: str, only: Sequence[str] | None = None) -> bool:
        """Make the folder of a unit equal to the store's newest version; False where there is no such unit.

        `only` names the files to bring, where the others are not needed. What this machine has changed and not sent of
        a run is sent first; of a corpus it stays here until its preparation is done. A unit is compared once per
        process, until `refresh`.
        """
        with self._lock, self._turn(unit):
            if self._fresh.get(unit) or (only is not None and unit in self._fresh):
                return self.folder(unit).is_dir()
            self._room.use(unit)
            index = UnitIndex.load(self._index(unit))
            latest = self.catalogue.latest(unit)
            if latest is not None and latest.version == index.version + 1 and latest.writer == self._writer:
                index.version = latest.version  # we were killed before we noted it
            if latest is None:  # the bucket was emptied, or is another one
                index = UnitIndex()
            if self.folder(unit).is_dir() and index.differs_from(self.folder(unit)):
                if (latest.version if latest else 0) > index.version:
                    self._set_aside(unit)
                    index = UnitIndex()
                elif unit.startswith(_SENT_WHEN_WHOLE):  # it may be in the making
                    self._unsent.add(unit)
                    self._fresh[unit] = True
                    return True
                else:
                    self._push(unit, index, latest)
                    latest = self.catalogue.latest(unit)
            if latest is not None and latest.removed:
                shutil.rmtree(self.folder(unit), ignore_errors=True)
                self._index(unit).unlink(missing_ok=True)
            elif latest is not None:
                self._bring(latest, index, only)
            self._fresh[unit] = only is None
            return self.folder(unit).is_dir()

    def fetch_heads(self, kind: str) -> None:
        """Bring what says what each unit of a kind is, such as run.json, oldest first; the rest stays where it is."""
        for unit, version in sorted(self.catalogue.versions(kind).items()):
            with self._lock:
                index = UnitIndex.load(self._index(unit))
                is_here = index.version == version and any((self.folder(unit) / name).is_file() for name in HEADS)
            if not is_here:
                self.fetch(unit, only=HEADS)

    def _bring(self, latest: UnitManifest, index: UnitIndex, only: Sequence[str] | None) -> None:
        folder = self.folder(latest.unit)
        wanted = {name: file for name, file in latest.files.items() if only is None or name in only}
        missing = {name: file for name, file in wanted.items() if not _has(folder, name, file, index)}
        gone = [name for name in index.files if name not in latest.files and not is_remade(name)]
        if index.version != latest.version or missing or (only is None and not index.is_whole):
            before = index
            index = UnitIndex(version=latest.version, is_whole=False, is_coming=True, files=before.files)
            index.save(self._index(latest.unit))
            self._room.make(sum(file.size for file in missing.values()), self._on_event)
            with self._clear_disk_errors():
                self._download(folder, {name: file for name, file in missing.items() if not is_head(name)})
                self._download(folder, {name: file for name, file in missing.items() if is_head(name)})
            for name in gone:
                (folder / name).unlink(missing_ok=True)
            present = {name: file for name, file in latest.files.items() if (folder / name).is_file()}
            index.files = {
                name: before.known(name, folder / name) or KnownFile.of(folder / name, file.sha256)
                for name, file in present.items()
            }
            index.is_whole, index.is_coming = only is None or present.keys() == latest.files.keys(), False
            index.save(self._index(latest.unit))

    def _download(self, folder: Path, files: dict[str, StoredFile]) -> None:
        incoming = self._own / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)

        def download(name: str, file: StoredFile) -> None:
            temporary = incoming / uuid.uuid4().hex
            try:
                self.store.download(file.key, temporary)
                if temporary.stat().st_size != file.size or sha256_of(temporary) != file.sha256:
                    raise StoreError(
                        f"{self.store.address}/{file.key}, which is {name} of {folder.name}, is damaged:"
                        " its content has another digest; restore it from a backup"
                    )
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)

        _in_parallel(download, files.items())

    def mirror(self, folder: str) -> None:
        """Bring a folder that people have filled, which is no unit, as it is now."""
        keys = self.store.keys(folder)
        with self._clear_disk_errors(), exclusive_lock(self._own / "mirror.lock", busy=None):
            shutil.rmtree(self.root / folder, ignore_errors=True)
            for key in keys:
                target = self.root / key
                target.parent.mkdir(parents=True, exist_ok=True)
                self.store.download(key, target)

    def _set_aside(self, unit: str) -> None:
        """Another machine has gone on with a unit that this one has changed too: keep what is here elsewhere."""
        target = self.root / "set-aside" / f"{unit.replace('/', '-')}-{uuid.uuid4().hex[:8]}"
        target.parent.mkdir(parents=True, exist_ok=True)
        self.folder(unit).rename(target)
        self._on_event(f"! {unit}: another machine has gone on with it; what this one had and did not send is {target}")

    # ---- sending what has changed --------------------------------------------------------------------------------

    def push(self, unit: str) -> None:
        """Send what has changed in a unit; raises StoreError where another machine has changed it meanwhile."""
        with self._turn(unit):
            if not self.folder(unit).is_dir():
                return
            self._room.use(unit)
            latest = self.catalogue.latest(unit)
            index = UnitIndex() if latest is None else UnitIndex.load(self._index(unit))
            if index.version == 0 or index.differs_from(self.folder(unit)):
                self._push(unit, index, latest)
            self._unsent.discard(unit)

    def is_unsent(self, unit: str) -> bool:
        """True for a corpus that has changed here, as `fetch` has seen, and whose preparation is not done."""
        return unit in self._unsent

    def remove(self, unit: str) -> None:
        """Note in the store that a unit is removed; its folder here is gone already."""
        with self._turn(unit):
            latest = self.catalogue.latest(unit)
            if latest is not None and not latest.removed:
                self.catalogue.create(
                    UnitManifest(unit=unit, version=latest.version + 1, writer=self._writer, removed=True)
                )
            self._index(unit).unlink(missing_ok=True)

    def _push(self, unit: str, index: UnitIndex, latest: UnitManifest | None) -> None:
        self.catalogue.make()
        if latest is not None and latest.version > index.version:
            if latest.version == index.version + 1 and latest.writer == self._writer:
                index.version = latest.version
            elif not latest.removed or index.version:
                raise self._overtaken(unit)
        known = set() if latest is None else {file.sha256 for file in latest.files.values()}
        sender = Sender(self.store, self._own / "outgoing", known)
        found = list(content_of(self.folder(unit)))

        def send(name: str, path: Path) -> tuple[str, KnownFile | None]:
            return name, sender.send(name, path, index.known(name, path))

        # A checkpoint first: the files that it counts the lines of may only be longer than it says.
        results = [send(*one) for one in found[:1]] + _in_parallel(send, found[1:])
        sent = {name: file for name, file in results if file is not None}
        if not index.is_whole and latest is not None:  # what did not come here is still there
            sent = {**{name: _unseen(file) for name, file in latest.files.items()}, **sent}
        manifest = UnitManifest(
            unit=unit,
            version=max(index.version, latest.version if latest else 0) + 1,
            writer=self._writer,
            files={name: file.stored for name, file in sorted(sent.items())},
        )
        if not self.catalogue.create(manifest):
            raise self._overtaken(unit)
        here = {name: file for name, file in sent.items() if file.inode >= 0}
        UnitIndex(version=manifest.version, is_whole=index.is_whole, files=here).save(self._index(unit))

    def _overtaken(self, unit: str) -> StoreError:
        return StoreError(
            f"another machine has changed {unit} in {self.store.address} meanwhile; what was made here is kept in"
            f" {self.folder(unit)}, and set aside by the next command"
        )

    # ---- the cache folder ----------------------------------------------------------------------------------------

    @property
    def _writer(self) -> str:
        """The name of this cache folder, made once."""
        path = self._own / "writer"
        with exclusive_lock(self._own / "writer.lock", busy=None):
            if not path.is_file():
                write_text(path, uuid.uuid4().hex)
        return path.read_text(encoding="utf-8")

    def _index(self, unit: str) -> Path:
        return self._own / "index" / f"{unit}.json"

    @contextmanager
    def _turn(self, unit: str) -> Iterator[None]:
        """For the block, no other process of this machine brings or sends the unit."""
        with self._clear_disk_errors(), exclusive_lock(self._own / "locks" / f"{unit}.lock", busy=None):
            yield

    @contextmanager
    def _clear_disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StoreError(
                f"the disk of {self.root}, the cache of {self.store.address}, is full; free some space there,"
                " or set CHARLM_WORKSPACE_CACHE to a folder on another disk"
            ) from error


def _has(folder: Path, name: str, file: StoredFile, index: UnitIndex) -> bool:
    """True when the folder has this content of a file; what a killed process has brought is looked at."""
    path = folder / name
    if not path.is_file():
        return False
    if (known := index.known(name, path)) is not None:
        return known.sha256 == file.sha256
    return path.stat().st_size == file.size and sha256_of(path) == file.sha256


def _unseen(file: StoredFile) -> KnownFile:
    """A file that is in the store alone."""
    return KnownFile(file.sha256, file.size, 0, -1)


def _in_parallel(function: Callable[[str, T], R], items: Iterable[tuple[str, T]]) -> list[R]:
    """The results for all items in their order; the first error cancels what has not begun."""
    with ThreadPoolExecutor(TRANSFERS_AT_ONCE, thread_name_prefix="charlm-transfer") as pool:
        futures = [pool.submit(function, name, value) for name, value in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
