"""The cache folder of a workspace in an object store: bring units here, and send what has changed.

Reads and writes objects/ in the store (charlm/remote/sending.py), and in the cache folder the unit itself, and
what is equal to the store's (.remote/).
"""

import errno
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from charlm.errors import StoreError
from charlm.remote.catalogue import Catalogue
from charlm.remote.index import KnownFile, UnitIndex
from charlm.remote.object_store import ObjectStore
from charlm.remote.parallel import in_parallel
from charlm.remote.room import CacheRoom
from charlm.remote.sending import Update, held_files, send_version
from charlm.remote.units import (
    HEADS,
    StoredFile,
    UnitManifest,
    is_below,
    is_head,
    is_remade,
)
from charlm.storage.atomic import write_text
from charlm.storage.fingerprints import sha256_of, xxh3_of
from charlm.storage.locks import exclusive_lock

_SENT_WHEN_WHOLE = "corpora/"
_Choice = Callable[[str], bool]


def _nothing(path: str) -> bool:
    return False


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
        self._fresh: dict[str, _Choice | None] = {}  # units that this process has compared: which files
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

    def fetch(self, unit: str, only: _Choice | None = None) -> bool:
        """Make the folder of a unit equal to the store's newest version; False where there is no such unit.

        `only` is true for the files to bring, where the others are not needed. What this machine has changed and not
        sent of a run is sent first; of a corpus it stays here until its preparation is done. A unit is compared once
        per process, until `refresh`.
        """
        with self._lock, self._turn(unit):
            compared = self._fresh.get(unit, _nothing)
            if compared is None or compared == only:
                return self.folder(unit).is_dir()
            self._room.use(unit)
            index = UnitIndex.load(self._index(unit))
            latest = self.catalogue.latest(unit)
            if latest is not None and self._is_base(index, latest):
                index.version = latest.version
            if latest is None:  # the bucket was emptied, or is another one
                index = UnitIndex()
            if self.folder(unit).is_dir() and index.differs_from(self.folder(unit)):
                if (latest.version if latest else 0) > index.version:
                    self._set_aside(unit)
                    index = UnitIndex()
                elif unit.startswith(_SENT_WHEN_WHOLE):  # it may be in the making
                    self._unsent.add(unit)
                    self._fresh[unit] = None
                    return True
                else:
                    self._push(unit, index, latest)
                    latest = self.catalogue.latest(unit)
            while latest is not None and not latest.removed:
                try:
                    self._bring(latest, index, only)
                    break
                except StoreError:  # it may be replaced meanwhile, and its content be deleted
                    before, latest = latest, self.catalogue.latest(unit)
                    if latest is None or latest.version == before.version:
                        raise
                    index = UnitIndex.load(self._index(unit))
            if latest is not None and latest.removed:
                shutil.rmtree(self.folder(unit), ignore_errors=True)
                self._index(unit).unlink(missing_ok=True)
            self._fresh[unit] = only
            return self.folder(unit).is_dir()

    def fetch_heads(self, kind: str) -> None:
        """Bring what says what each unit of a kind is, such as run.json, oldest first; the rest stays where it is."""
        for unit, version in sorted(self.catalogue.versions(kind).items()):
            with self._lock:
                index = UnitIndex.load(self._index(unit))
                is_here = index.version == version and any((self.folder(unit) / name).is_file() for name in HEADS)
            if not is_here:
                self.fetch(unit, only=is_head)

    def _bring(self, latest: UnitManifest, index: UnitIndex, only: _Choice | None) -> None:
        folder = self.folder(latest.unit)
        wanted = {name: file for name, file in latest.files.items() if only is None or only(name)}
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

        def download(found: tuple[str, StoredFile]) -> None:
            name, file = found
            temporary = incoming / uuid.uuid4().hex
            try:
                self.store.download(file.key, temporary)
                if not _is_content_of(file, temporary):
                    raise StoreError(
                        f"{self.store.address}/{file.key}, which is {name} of {folder.name}, is damaged:"
                        " its content has another digest; restore it from a backup"
                    )
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)

        in_parallel(download, files.items())

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

    def forget(self, unit: str, path: Path) -> None:
        """Delete a file or folder of a unit, or the whole unit, in the store, and here unless this machine has another.

        Raises StoreError where another machine changes the unit now.
        """
        folder = self.folder(unit)
        with self._turn(unit):
            latest, index = self.catalogue.latest(unit), UnitIndex.load(self._index(unit))
            if latest is None or latest.removed:
                return
            left = {name: file for name, file in latest.files.items() if not is_below(folder / name, [path])}
            is_all, version = path == folder, latest.version + 1
            manifest = UnitManifest(
                unit=unit, version=version, writer=self._writer, files=left, removed=is_all, since=version
            )
            if not self.catalogue.create(manifest):
                raise self._overtaken(unit)
            if index.version != latest.version or index.differs_from(folder):  # the next fetch sees to it
                return
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            if is_all:
                self._index(unit).unlink()
            else:
                index.version = version
                index.files = {name: known for name, known in index.files.items() if name in left}
                index.save(self._index(unit))

    def _push(self, unit: str, index: UnitIndex, latest: UnitManifest | None) -> None:
        self.catalogue.make()
        if latest is not None and latest.version > index.version and not self._is_base(index, latest):
            is_new = latest.removed and index.version == 0
            if not is_new:
                raise self._overtaken(unit)
        base = {} if latest is None else {file.sha256: file for file in latest.files.values()}
        with held_files(self.folder(unit), index, base, self._own / "outgoing" / unit) as files:
            newest = max(index.version, latest.version if latest else 0)
            unseen = {} if index.is_whole or latest is None else latest.files  # what did not come here is still there
            update = Update(unit, newest, self._writer, files, unseen)
            manifest = send_version(self.store, self.catalogue, update, latest)
        if manifest is None:
            raise self._overtaken(unit)
        here = {file.name: file.known for file in files}
        UnitIndex(version=manifest.version, is_whole=index.is_whole, files=here).save(self._index(unit))

    def _is_base(self, index: UnitIndex, latest: UnitManifest) -> bool:
        """True where what is here is based on `latest`, though it has another number."""
        was_noted = latest.version != index.version + 1 or latest.writer != self._writer  # else we were killed before
        return not was_noted or latest.since <= index.version < latest.version

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


def _is_content_of(file: StoredFile, path: Path) -> bool:
    """True for all bytes of a stored file, by its faster digest where it has one."""
    if path.stat().st_size != file.size:
        return False
    return xxh3_of(path) == file.xxh3 if file.xxh3 else sha256_of(path) == file.sha256


def _has(folder: Path, name: str, file: StoredFile, index: UnitIndex) -> bool:
    """True when the folder has this content of a file; what a killed process has brought is looked at."""
    path = folder / name
    if not path.is_file():
        return False
    if (known := index.known(name, path)) is not None:
        return known.sha256 == file.sha256
    return _is_content_of(file, path)
