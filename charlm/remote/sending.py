"""Send files to an object store by their digest, in a state that does not change while they are sent.

Writes objects/AB/SHA256-ID in the store: content by its digest, with an ID of its own for each upload, so that a key
that was deleted never comes back
"""

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from charlm.errors import StoreError
from charlm.remote.catalogue import Catalogue
from charlm.remote.drafts import condemned, write_draft
from charlm.remote.index import KnownFile, UnitIndex
from charlm.remote.object_store import ObjectStore
from charlm.remote.parallel import in_parallel
from charlm.remote.units import StoredFile, UnitManifest, content_of, is_growing
from charlm.storage.fingerprints import sha256_of, xxh3_of


@dataclass(frozen=True)
class HeldFile:
    """A file of a unit as it is sent."""

    name: str
    known: KnownFile
    still: Path | None
    """Where its content stays what it is; None where the store has it."""

    looks: tuple[int, int] = (0, 0)
    """Its size, and the time of its last change, when its digest was taken."""


@contextmanager
def held_files(
    folder: Path, index: UnitIndex, base: Mapping[str, StoredFile], outgoing: Path
) -> Iterator[list[HeldFile]]:
    """The files in the folder of a unit, for the block; `base` is what the store has, by digest.

    `outgoing` is a folder for this alone, which is empty afterwards.
    """
    shutil.rmtree(outgoing, ignore_errors=True)  # of a process that was killed
    outgoing.mkdir(parents=True)

    def hold(found: tuple[str, Path]) -> HeldFile | None:
        name, path = found
        known = index.known(name, path)
        if known is not None and known.sha256 in base:
            return HeldFile(name, known, None)
        try:
            before = path.stat()
            still = _still(name, path, outgoing)
        except FileNotFoundError:  # replaced between two looks, or removed
            return None
        # A file that has grown or been replaced since the first look is unlike this, and is sent again next time.
        looks = _looks(still)
        digest = sha256_of(still) if known is None else known.sha256
        now = KnownFile(digest, looks[0], before.st_mtime_ns, before.st_ino)
        return HeldFile(name, now, None if digest in base else still, looks)

    try:
        found = list(content_of(folder))
        # A checkpoint first: the files that it counts the lines of may only be longer than it says.
        yield [file for file in [*map(hold, found[:1]), *in_parallel(hold, found[1:])] if file is not None]
    finally:
        shutil.rmtree(outgoing, ignore_errors=True)


@dataclass(frozen=True)
class Update:
    """What the next version of a unit is made from."""

    unit: str
    after: int
    """The version before, at least."""

    writer: str
    files: list[HeldFile]
    unseen: Mapping[str, StoredFile]
    """Files that are in the store alone, and stay."""


def send_version(
    store: ObjectStore, catalogue: Catalogue, update: Update, latest: UnitManifest | None
) -> UnitManifest | None:
    """Send what the store lacks of an update, and create the version after `latest`; None where another machine has."""
    needed = {file.known.sha256 for file in update.files if file.still is not None}
    base = {} if latest is None else {file.sha256: file for file in latest.files.values()}
    after = update.after
    while True:
        draft = [write_draft(store, update.unit, after + 1, needed)] if needed else []
        stored = {**base, **_send(store, update.files)}
        sent = {**update.unseen, **{file.name: stored[file.known.sha256] for file in update.files}}
        manifest = UnitManifest(
            unit=update.unit, version=after + 1, writer=update.writer, files=dict(sorted(sent.items())), since=after + 1
        )
        is_created = catalogue.create(manifest)
        with suppress(StoreError):
            store.delete(draft)
        if is_created:
            return manifest
        newer = catalogue.latest(update.unit)
        if newer == manifest:  # it was created, and the answer was lost
            return manifest
        if newer is None or newer.since > after:
            return None
        after = newer.version  # a sweep has ended this push, which took so long


def _send(store: ObjectStore, files: list[HeldFile]) -> dict[str, StoredFile]:
    """Where the store has the content of `files`, by digest: there already, not condemned by a sweep, or sent now.

    A draft with the digests has to be in the store before.
    """
    avoided = frozenset().union(*condemned(store).values())
    first = {file.known.sha256: file for file in reversed(files) if file.still is not None}

    def find_or_send(file: HeldFile) -> StoredFile:
        assert file.still is not None
        size, digest, xxh3 = file.known.size, file.known.sha256, xxh3_of(file.still)
        for key in store.keys(f"objects/{digest[:2]}", prefix=digest):
            if key not in avoided:
                return StoredFile(size, digest, key, xxh3)
        stored = StoredFile(size, digest, f"objects/{digest[:2]}/{digest}-{uuid.uuid4().hex[:16]}", xxh3)
        store.upload(file.still, stored.key)
        if _looks(file.still) != file.looks:
            store.delete([stored.key])
            raise StoreError(f"{file.name} changed while it was sent; run the command again")
        return stored

    return {stored.sha256: stored for stored in in_parallel(find_or_send, first.values())}


def _looks(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _still(name: str, path: Path, outgoing: Path) -> Path:
    """The file under another name, where it stays what it is: a copy, or a link where files are only replaced."""
    still = outgoing / uuid.uuid4().hex
    if is_growing(name):
        shutil.copyfile(path, still)
        return still
    try:
        os.link(path, still)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        shutil.copyfile(path, still)
    return still
