"""Delete content that no unit names any more, while other machines go on sending.

Reads  refs/, pushes/, sweeps/, objects/
Writes sweeps/ID.json    the keys that are condemned, until they are deleted
       locks/clock       nothing: when it was written is what the store's clock shows

Candidates are condemned first, so that no push that begins now relies on them. Then drafts are read, then manifests
anew, and what these name stays. A draft that is older than the grace time is of a machine that has died or sleeps: its
manifest is created here, without a change, so that the push, if it ever goes on, is refused and begins anew. No step
rests on a clock or on a lease: however long a machine sleeps, nothing that a manifest names is deleted.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath

from charlm.remote.catalogue import Catalogue
from charlm.remote.drafts import Draft, condemn, condemned, read_drafts
from charlm.remote.object_store import ObjectStore
from charlm.remote.parallel import in_parallel
from charlm.remote.units import UnitManifest, is_below

GRACE = timedelta(days=1)
_WRITER = "prune"
_CLOCK = "locks/clock"


@dataclass(frozen=True)
class Sweep:
    """Content that can go, or is gone."""

    sizes: Mapping[str, int]
    """Bytes by key."""

    @property
    def num_bytes(self) -> int:
        return sum(self.sizes.values())


class Sweeper:
    """Sweeps the workspace of a catalogue."""

    def __init__(self, store: ObjectStore, catalogue: Catalogue, *, grace: timedelta = GRACE) -> None:
        """What a push that began less than `grace` ago relies on is left."""
        self._store = store
        self._catalogue = catalogue
        self._grace = grace

    def plan(self, *, without: Collection[str] = ()) -> Sweep:
        """What no newest manifest names and no push relies on, when the files and folders `without` are gone."""
        sizes = self._store.sizes("objects")
        pinned = {digest for draft in read_drafts(self._store) if self._is_young(draft) for digest in draft.digests}
        named = self._named(without)
        return Sweep({key: size for key, size in sizes.items() if key not in named and _digest(key) not in pinned})

    def sweep(self) -> Sweep:
        """Delete that, and the manifests that newer ones have replaced; what has gone."""
        sizes = self._store.sizes("objects")
        named = self._named()
        candidates = sizes.keys() - named
        announcement = condemn(self._store, candidates) if candidates else None
        pinned = self._pinned()
        named = self._named()
        gone = {key for key in candidates if key not in named and _digest(key) not in pinned}
        self._store.delete(self._catalogue.old_manifests())
        self._store.delete(sorted(gone))
        if announcement is not None:
            self._store.delete([announcement])
        # A sweep that was interrupted may wake up, and then deletes what it has condemned: nothing may use that again.
        others = condemned(self._store)
        if others:
            left = self._store.sizes("objects").keys()
            self._store.delete([one for one, keys in others.items() if not keys & left])
        return Sweep({key: sizes[key] for key in gone})

    def _named(self, without: Collection[str] = ()) -> set[str]:
        """The keys that the newest manifests name, but for what is in `without` or below it."""
        manifests = in_parallel(self._catalogue.latest, self._catalogue.versions())
        return {
            file.key
            for manifest in manifests
            if manifest is not None
            for path, file in manifest.files.items()
            if not is_below(PurePosixPath(manifest.unit, path), without)
        }

    def _pinned(self) -> Collection[str]:
        """The digests that pushes rely on; those that have taken too long are ended."""
        pinned: set[str] = set()
        for draft in read_drafts(self._store):
            if self._is_young(draft):
                pinned |= draft.digests
            else:
                self._end(draft)
        return pinned

    def _end(self, draft: Draft) -> None:
        """Create the version that a push wants to create, equal to the one before."""
        latest = self._catalogue.latest(draft.unit)
        if latest is None or latest.version < draft.version:
            self._catalogue.create(
                UnitManifest(
                    unit=draft.unit,
                    version=draft.version,
                    writer=_WRITER,
                    files={} if latest is None else latest.files,
                    removed=latest is None or latest.removed,
                    since=0 if latest is None else latest.since,
                )
            )
        self._store.delete([draft.key])

    def _is_young(self, draft: Draft) -> bool:
        """By the store's clock; a draft that has ended meanwhile counts as young."""
        self._store.write(_CLOCK, b"")
        now, begin = self._store.changed(_CLOCK), self._store.changed(draft.key)
        return now is None or begin is None or now - begin < self._grace


def _digest(key: str) -> str:
    """`"objects/ab/abcd-12" -> "abcd"`."""
    return key.rpartition("/")[2].partition("-")[0]
