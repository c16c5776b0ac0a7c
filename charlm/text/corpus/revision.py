"""A revision in the making: sources are read, and their documents go to the held-out files and to the shards.

Writes .staging/*   valid.txt, test.txt, keys, near, part-*, seen-*.npy, near-*.npy, left-out.jsonl, and state.json at
every checkpoint

Train documents fill a window of open shards, and a hash chooses among these. Every `CHECKPOINT_BYTES` the state is
saved: a run that is killed continues from the last checkpoint.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import numpy as np

from charlm.artifacts import CorpusFiles
from charlm.config import ReadConfig, SplitConfig
from charlm.errors import CorpusError
from charlm.storage.atomic import JsonObject
from charlm.storage.fingerprints import fingerprint
from charlm.text.corpus.deduplication import SeenKeys
from charlm.text.corpus.known_sources import KnownSources
from charlm.text.corpus.manifest import CorpusManifest, SourceRecord
from charlm.text.corpus.near_duplicates import VERSION as NEAR_VERSION
from charlm.text.corpus.near_duplicates import NearDuplicates
from charlm.text.corpus.sides import (
    TEST_FILE,
    TEST_PLACE,
    VALID_FILE,
    VALID_PLACE,
    choose_places,
    document_keys,
    without_shares,
)
from charlm.text.corpus.staging import Staging
from charlm.text.sources.documents import DocumentReader, OpenReader
from charlm.text.sources.raw import Source

CHECKPOINT_BYTES = 256_000_000
VALID, TEST, KEYS, NEAR, MANIFEST = VALID_FILE, TEST_FILE, "keys", "near", "corpus.json"  # names in the staging folder
LEFT_OUT = "left-out.jsonl"
_KEYS_AT_ONCE, _NEAR_KEYS_AT_ONCE = 1 << 20, 1 << 16
_SIDES = {VALID_PLACE: "valid", TEST_PLACE: "test"}

Progress = Callable[[int, int], None]


@dataclass
class RevisionState:
    """How far a revision has come; written as JSON at every checkpoint."""

    next_source: int = 0
    num_batches: int = 0
    """Batches taken of the next source."""
    num_source_documents: int = 0
    """Documents taken of it."""
    source_digest: str = ""
    """Digest of these documents, by which a continued run finds out that the source is another one."""
    sources: list[JsonObject] = field(default_factory=list)
    num_known_sources: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    window: list[str | None] = field(default_factory=list)
    """The open shard of each place in the window."""
    closed: list[str] = field(default_factory=list)
    num_documents: dict[str, int] = field(default_factory=dict)
    """Documents in each file."""
    seen: list[str] = field(default_factory=list)
    """Files of the de-duplication."""
    near: list[str] = field(default_factory=list)
    """Files of the search for near-duplicates."""


class DocumentFilter(Protocol):
    """Decides which documents of new text are brought into the corpus."""

    @property
    def identity(self) -> str:
        """Equal for filters that decide alike."""

    def bits_per_byte(self, documents: list[bytes]) -> np.ndarray:
        """The score of each document, (D,)."""

    def are_kept(self, bits_per_byte: np.ndarray) -> np.ndarray:
        """Which documents are kept, (D,) bool, by their scores."""


class SourceChangedError(Exception):
    """A source is not what it was when the run that is to be continued read it."""


class NewRevision:
    """One revision in the making.

    Attributes:
        state: how far it has come.
        staging: the files that it writes.
    """

    def __init__(
        self,
        corpus: CorpusFiles,
        manifest: CorpusManifest,
        config: SplitConfig,
        sources: list[Source],
        reading: ReadConfig,
        given: Mapping[str, list[Source]] | None = None,
        document_filter: DocumentFilter | None = None,
    ) -> None:
        self.corpus = corpus
        self.manifest = manifest
        self.config = config
        self.reading = reading
        self._filter = document_filter
        self.given = {name: found for name, found in (given or {}).items() if found}
        """The sources of given held-out text by file; they are read before the others."""
        self._held_out = [name for name, found in self.given.items() for _ in found] + [""] * len(sources)
        self._sides = without_shares(config, self.given)
        self.sources = sources = [source for found in self.given.values() for source in found] + sources
        addresses = [dataclasses.astuple(source) for source in sources]
        identity = [config.to_json(), manifest.to_json(), addresses, reading.to_json()]
        if document_filter is not None:
            identity.append(document_filter.identity)
        self.staging = Staging(corpus.staging_dir, fingerprint(identity))
        if self.staging.state is not None:
            self.state = RevisionState(**self.staging.state)
        else:
            self.state = RevisionState(window=[None] * config.open_shards)
            for name, path in ((VALID, corpus.valid), (TEST, corpus.test)):
                self.staging.append(name, b"")
                if manifest.revision:
                    self.staging.append_file(name, path)
        self._known = KnownSources()
        for record in [record for revision in manifest.revisions for record in revision.sources]:
            self._known.add(record)
        for values in self.state.sources:
            self._known.add(SourceRecord(**values))
        self._seen = self._remember_documents() if reading.deduplicate else None
        self._near = None if reading.near_threshold is None else self._remember_near(reading.near_threshold)

    def _remember_documents(self) -> SeenKeys:
        """The documents of the earlier revisions and of this one up to the checkpoint."""
        seen = SeenKeys(self.staging.folder, self.state.seen)
        if self.staging.state is None:
            for revision in self.manifest.revisions:
                path = self.corpus.document_keys(revision.number)
                if not path.is_file():
                    raise CorpusError(f"{path} is missing, and --deduplicate needs it; restore it")
                keys = np.memmap(path, dtype="<u8", mode="r") if path.stat().st_size else np.empty(0, dtype="<u8")
                for start in range(0, len(keys), _KEYS_AT_ONCE):
                    seen.add(np.asarray(keys[start : start + _KEYS_AT_ONCE]))
        return seen

    def _remember_near(self, threshold: float) -> NearDuplicates:
        """The same, to find near-duplicates of them."""
        near = NearDuplicates(self.staging.folder, threshold, self.state.near)
        if self.staging.state is None:
            for revision in self.manifest.revisions:
                path = self.corpus.near_keys(revision.number)
                if (revision.near_threshold, revision.near_version) != (threshold, NEAR_VERSION) or not path.is_file():
                    self._skip({"earlier_documents_not_searched_for_near_duplicates": revision.documents})
                    continue
                keys = np.fromfile(path, dtype="<u8").reshape(-1, near.num_bands)
                for start in range(0, len(keys), _NEAR_KEYS_AT_ONCE):
                    near.add(keys[start : start + _NEAR_KEYS_AT_ONCE])
        return near

    # ---- reading -----------------------------------------------------------------------------------------------

    def read_sources(self, open_reader: OpenReader, on_progress: Progress | None) -> None:
        """Take the documents of all sources that are not known; `on_progress` gets bytes read and bytes in all."""
        num_total = sum(source.size or 0 for source in self.sources)
        num_done = sum(source.size or 0 for source in self.sources[: self.state.next_source])
        num_unsaved = 0
        for source in self.sources[self.state.next_source :]:
            held_out = self._held_out[self.state.next_source]
            if self.state.num_batches == 0 and self._known.holds(source, open_reader, held_out):
                self.state.num_known_sources += 1
                self.state.next_source += 1
                num_done += source.size or 0
                continue
            reader = open_reader(source)
            batches = reader.batches()
            if self.state.num_batches:
                self._check_unchanged(islice(batches, self.state.num_batches))
            for documents in batches:
                self._take(documents, held_out)
                self.state.num_batches += 1
                num_unsaved += sum(map(len, documents))
                if num_unsaved >= CHECKPOINT_BYTES:
                    self._checkpoint()
                    num_unsaved = 0
                if on_progress is not None:
                    on_progress(num_done + reader.num_stored, max(num_total, num_done + reader.num_stored))
            num_done += source.size or 0
            self._finish_source(source, reader)

    def _check_unchanged(self, batches: Iterable[list[bytes]]) -> None:
        """Raise SourceChangedError unless `batches`, read again, are those that the state records."""
        digest = ""
        for documents in batches:
            digest = _add_to_digest(digest, document_keys(documents))
        if digest != self.state.source_digest:
            raise SourceChangedError

    def _finish_source(self, source: Source, reader: DocumentReader) -> None:
        record = SourceRecord(
            name=source.name,
            sha256=reader.sha256,
            bytes=reader.num_stored,
            documents=self.state.num_source_documents,
            version=reader.version,
            held_out=self._held_out[self.state.next_source],
        )
        self._known.add(record)
        self.state.sources.append(dataclasses.asdict(record))
        self._skip(reader.skipped)
        self.state.next_source += 1
        self.state.num_batches = self.state.num_source_documents = 0
        self.state.source_digest = ""

    def _skip(self, skipped: Mapping[str, int]) -> None:
        self.state.skipped = dict(sorted((Counter(self.state.skipped) + Counter(skipped)).items()))

    def _checkpoint(self) -> None:
        if self._seen is not None:
            self.state.seen = self._seen.flush()
        if self._near is not None:
            self.state.near = self._near.flush()
        self.staging.checkpoint(dataclasses.asdict(self.state), [*self.state.seen, *self.state.near])

    # ---- choosing sides ----------------------------------------------------------------------------------------

    def _take(self, documents: list[bytes], held_out: str) -> None:
        keys = document_keys(documents)
        self.state.source_digest = _add_to_digest(self.state.source_digest, keys)
        if self._seen is not None:
            is_new = self._seen.add(keys)
            self._skip({"duplicates": int(np.count_nonzero(~is_new))})
            documents, keys = _chosen(documents, is_new), keys[is_new]
        if self._filter is not None and not held_out and documents:
            is_kept = self._without_left_out(self._filter, documents)
            documents, keys = _chosen(documents, is_kept), keys[is_kept]
        places = choose_places(keys, self._sides)
        if held_out:
            places[:] = VALID_PLACE if held_out == VALID else TEST_PLACE
        if self._near is not None:
            is_new = self._mark_near(self._near, documents, places, keep_all=bool(held_out))
            documents, keys, places = _chosen(documents, is_new), keys[is_new], places[is_new]
        sizes = np.fromiter(map(len, documents), dtype=np.int64, count=len(documents))
        for place in np.unique(places).tolist():
            chosen = np.flatnonzero(places == place)
            if place < 0:
                self._append(VALID if place == VALID_PLACE else TEST, documents, chosen)
            else:
                self._fill(place, documents, chosen, sizes[chosen])
        self.staging.append(KEYS, keys.astype("<u8").tobytes())
        self.state.num_source_documents += len(documents)

    def _mark_near(
        self, near: NearDuplicates, documents: list[bytes], places: np.ndarray, *, keep_all: bool
    ) -> np.ndarray:
        """True for each document that is near to none before; for all with `keep_all`, as given text stays as it is."""
        keys = near.keys(documents)
        is_new = near.add(keys) | keep_all
        self._skip(Counter(f"near_duplicates_{_SIDES.get(place, 'train')}" for place in places[~is_new].tolist()))
        self.staging.append(NEAR, keys[is_new].astype("<u8").tobytes())
        return is_new

    def _without_left_out(self, document_filter: DocumentFilter, documents: list[bytes]) -> np.ndarray:
        """Which documents stay, (D,) bool; the others are written down with their scores."""
        bits = document_filter.bits_per_byte(documents)
        is_kept = document_filter.are_kept(bits)
        for index in np.flatnonzero(~is_kept).tolist():
            record = {"text": documents[index].decode(), "bits_per_byte": round(float(bits[index]), 4)}
            self.staging.append(LEFT_OUT, json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._skip({"documents left out by their bits per byte": int(np.count_nonzero(~is_kept))})
        return is_kept

    def _fill(self, place: int, documents: list[bytes], chosen: np.ndarray, sizes: np.ndarray) -> None:
        """Append the chosen documents to the shard at a place of the window, and open another when it is full."""
        ends = np.cumsum(sizes)
        start = num_bytes = 0
        while start < len(chosen):
            name = self.state.window[place]
            if name is None:
                name = self.state.window[place] = f"part-{len(self.state.num_documents)}"
            room = self.config.shard_size - self.staging.size(name)
            stop = int(np.searchsorted(ends, num_bytes + room)) + 1
            self._append(name, documents, chosen[start:stop])
            if stop <= len(chosen):
                self.staging.close(name)
                self.state.closed.append(name)
                self.state.window[place] = None
                num_bytes = int(ends[stop - 1])
            start = stop

    def _append(self, name: str, documents: list[bytes], chosen: np.ndarray) -> None:
        self.staging.append(name, b"".join([documents[index] for index in chosen.tolist()]))
        self.state.num_documents[name] = self.state.num_documents.get(name, 0) + len(chosen)


def _chosen(documents: list[bytes], is_chosen: np.ndarray) -> list[bytes]:
    return [documents[index] for index in np.flatnonzero(is_chosen).tolist()]


def _add_to_digest(digest: str, keys: np.ndarray) -> str:
    return hashlib.sha256(digest.encode() + keys.astype("<u8").tobytes()).hexdigest()
