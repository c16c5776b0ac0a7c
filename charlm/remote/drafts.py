"""What protects objects between the moment that a machine relies on them and its manifest, and what `prune` condemns.

Reads and writes
    pushes/UNIT/ID.json    the draft of a manifest: the digests that a push relies on, before it looks for any of them
    sweeps/ID.json         the keys that a sweep condemns, before it looks for drafts

Each side writes first and looks for what the other one has written then, so at least one of them sees the other,
whatever happens in between and however long it takes (docs/adr/0026-object-store.md).
"""

import json
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from charlm.errors import StoreError
from charlm.remote.object_store import ObjectStore

_DRAFTS, _SWEEPS = "pushes", "sweeps"


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A manifest that a machine is about to create."""

    key: str
    unit: str
    version: int
    digests: frozenset[str]


def write_draft(store: ObjectStore, unit: str, version: int, digests: Collection[str]) -> str:
    """Protect objects with these digests, as long as the push may still create that version; the key of the draft."""
    key = f"{_DRAFTS}/{unit}/{uuid.uuid4().hex}.json"
    value = {"unit": unit, "version": version, "digests": sorted(digests)}
    store.write(key, json.dumps(value).encode())
    return key


def read_drafts(store: ObjectStore) -> Iterator[Draft]:
    """All drafts, without those that end meanwhile."""
    for key in store.keys(_DRAFTS):
        if (content := store.read(key)) is not None:
            with _reading(store, key):
                value = json.loads(content)
                digests = frozenset(map(str, value["digests"]))
                yield Draft(key=key, unit=str(value["unit"]), version=int(value["version"]), digests=digests)


def condemn(store: ObjectStore, keys: Collection[str]) -> str:
    """Let no push that begins from now on rely on the objects with these keys; the key of the announcement."""
    key = f"{_SWEEPS}/{uuid.uuid4().hex}.json"
    store.write(key, json.dumps(sorted(keys)).encode())
    return key


def condemned(store: ObjectStore) -> dict[str, frozenset[str]]:
    """The keys that each announcement condemns."""
    found = {}
    for key in store.keys(_SWEEPS):
        if (content := store.read(key)) is not None:
            with _reading(store, key):
                found[key] = frozenset(map(str, json.loads(content)))
    return found


@contextmanager
def _reading(store: ObjectStore, key: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{store.address}/{key} is damaged ({error}); restore it from a backup") from error
