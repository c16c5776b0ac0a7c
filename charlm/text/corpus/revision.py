"""A revision in the making: sources are read, and their documents go to the held-out files and to the shards.

Reads  batches of documents (batches.py), which this process makes or others do (groups.py)
Writes .staging/*   valid.txt, test.txt, keys, near, part-*, seen-*.npy, near-*.npy, left-out.jsonl, and state.json at
every checkpoint

Train documents fill a window of open shards, and a hash chooses among these. Every `CHECKPOINT_BYTES` the state is
saved: a run that is killed continues from the last checkpoint.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from charlm.artifacts import CorpusFiles
from charlm.config import ReadConfig, SplitConfig
from charlm.errors import CorpusError
from charlm.storage.atomic import JsonObject
from charlm.storage.fingerprints import fingerprint
from charlm.text.corpus.batches import Batch, SourceBatches, SourceFacts, SourceReader
from charlm.text.corpus.deduplication import SeenKeys
from charlm.text.corpus.groups import (
    GroupReader,
    GroupRequest,
    ReadByWorker,
    SourceRequest,
    Workers,
    in_groups,
    may_read_ahead,
)
from charlm.text.corpus.known_sources import KnownSources
from charlm.text.corpus.manifest import CorpusManifest, SourceRecord
from charlm.text.corpus.near_duplicates import VERSION as NEAR_VERSION
from charlm.text.corpus.near_duplicates import NearDuplicates
from charlm.text.corpus.sides import TEST_FILE, TEST_PLACE, VALID_FILE, VALID_PLACE, without_shares
from charlm.text.corpus.staging import Staging
from charlm.text.sources.documents import DocumentReader
from charlm.text.sources.raw import Source

CHECKPOINT_BYTES, _SYNC_BYTES = 256_000_000, 32_000_000
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

    def read_sources(self, workers: Workers | None, on_progress: Progress | None) -> None:
        """Take the documents of all sources that are not known; `on_progress` gets bytes read and bytes in all."""
        if workers is None or len(in_groups(self.sources)) == 1:
            self._read_sources(lambda number: None, on_progress)
            return
        with GroupReader(workers, self.corpus.groups_dir, self.sources, self._group_request) as groups:
            self._read_sources(groups.open, on_progress)

    def _read_sources(self, open_group: Callable[[int], ReadByWorker | None], on_progress: Progress | None) -> None:
        num_total = sum(source.size or 0 for source in self.sources)
        num_done = sum(source.size or 0 for source in self.sources[: self.state.next_source])
        num_unsaved = num_unsynced = 0
        for number in range(self.state.next_source, len(self.sources)):
            source, held_out = self.sources[number], self._held_out[number]
            read = open_group(number)
            if self.state.num_batches == 0 and self._known.holds(
                source, self._document_reader, held_out, digest=read.digest if read else None
            ):
                self.state.num_known_sources += 1
                self.state.next_source += 1
                num_done += source.size or 0
                continue
            reader: SourceBatches = read or SourceReader(
                source, self.config, self.reading, sides=self._sides, held_out=held_out
            )
            batches = reader.batches()
            if self.state.num_batches:
                self._check_unchanged(islice(batches, self.state.num_batches))
            for batch in batches:
                self._take(batch, held_out)
                self.state.num_batches += 1
                num_unsaved += len(batch.text)
                num_unsynced += len(batch.text)
                if num_unsaved >= CHECKPOINT_BYTES:
                    self._checkpoint()
                    num_unsaved = num_unsynced = 0
                elif num_unsynced >= _SYNC_BYTES:
                    self.staging.begin_syncing()
                    num_unsynced = 0
                if on_progress is not None:
                    on_progress(num_done + batch.num_stored, max(num_total, num_done + batch.num_stored))
            num_done += source.size or 0
            self._finish_source(source, reader.facts)

    def _document_reader(self, source: Source) -> DocumentReader:
        return DocumentReader(source, self.config, self.reading)

    def _group_request(self, path: Path, numbers: Sequence[int]) -> GroupRequest | None:
        """What a worker is asked to read of the sources of a group."""
        sources = tuple(
            SourceRequest(
                number=number,
                source=self.sources[number],
                held_out=self._held_out[number],
                known=self._known.digests_of(self.sources[number]),
            )
            for number in numbers
            if may_read_ahead(self.sources[number])
        )
        return (
            GroupRequest(path=path, sources=sources, config=self.config, reading=self.reading, sides=self._sides)
            if sources
            else None
        )

    def _check_unchanged(self, batches: Iterable[Batch]) -> None:
        """Raise SourceChangedError unless `batches`, read again, are those that the state records."""
        digest = ""
        for batch in batches:
            digest = _add_to_digest(digest, batch.keys)
        if digest != self.state.source_digest:
            raise SourceChangedError

    def _finish_source(self, source: Source, facts: SourceFacts) -> None:
        record = SourceRecord(
            name=source.name,
            sha256=facts.sha256,
            bytes=facts.num_stored,
            documents=self.state.num_source_documents,
            version=facts.version,
            held_out=self._held_out[self.state.next_source],
        )
        self._known.add(record)
        self.state.sources.append(dataclasses.asdict(record))
        self._skip(facts.skipped)
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

    # ---- taking documents --------------------------------------------------------------------------------------

    def _take(self, batch: Batch, held_out: str) -> None:
        self.state.source_digest = _add_to_digest(self.state.source_digest, batch.keys)
        is_kept = np.ones(len(batch.keys), dtype=bool)
        if self._seen is not None:
            is_kept = self._seen.add(batch.keys)
            self._skip({"duplicates": int(np.count_nonzero(~is_kept))})
        if self._filter is not None and not held_out and is_kept.any():
            kept = np.flatnonzero(is_kept)
            is_kept[kept] = self._without_left_out(self._filter, batch.documents(kept))
        if self._near is not None:
            self._mark_near(self._near, batch, is_kept, keep_all=bool(held_out))
        for place, sizes, text in batch.by_place(is_kept):
            if place < 0:
                self._append(VALID if place == VALID_PLACE else TEST, text, len(sizes))
            else:
                self._fill(place, sizes, memoryview(text))
        self.staging.append(KEYS, batch.keys[is_kept].astype("<u8").tobytes())
        self.state.num_source_documents += int(np.count_nonzero(is_kept))

    def _mark_near(self, near: NearDuplicates, batch: Batch, is_kept: np.ndarray, *, keep_all: bool) -> None:
        """Take the documents that are near to one before out of `is_kept`; none with `keep_all`, for given text."""
        assert batch.near is not None  # it was read with the same settings
        kept = np.flatnonzero(is_kept)
        is_new = near.add(batch.near[kept]) | keep_all
        left_out = batch.places[kept[~is_new]].tolist()
        self._skip(Counter(f"near_duplicates_{_SIDES.get(place, 'train')}" for place in left_out))
        self.staging.append(NEAR, batch.near[kept[is_new]].astype("<u8").tobytes())
        is_kept[kept] = is_new

    def _without_left_out(self, document_filter: DocumentFilter, documents: list[bytes]) -> np.ndarray:
        """Which documents stay, (D,) bool; the others are written down with their scores."""
        bits = document_filter.bits_per_byte(documents)
        is_kept = document_filter.are_kept(bits)
        for index in np.flatnonzero(~is_kept).tolist():
            record = {"text": documents[index].decode(), "bits_per_byte": round(float(bits[index]), 4)}
            self.staging.append(LEFT_OUT, json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._skip({"documents left out by their bits per byte": int(np.count_nonzero(~is_kept))})
        return is_kept

    def _fill(self, place: int, sizes: np.ndarray, text: memoryview) -> None:
        """Append documents to the shard at a place of the window, and open another when it is full."""
        ends = np.cumsum(sizes)
        start = num_bytes = 0
        while start < len(sizes):
            name = self.state.window[place]
            if name is None:
                name = self.state.window[place] = f"part-{len(self.state.num_documents)}"
            room = self.config.shard_size - self.staging.size(name)
            stop = min(int(np.searchsorted(ends, num_bytes + room)), len(sizes) - 1) + 1
            end = int(ends[stop - 1])
            self._append(name, text[num_bytes:end], stop - start)
            if self.staging.size(name) >= self.config.shard_size:
                self.staging.close(name)
                self.state.closed.append(name)
                self.state.window[place] = None
            start, num_bytes = stop, end

    def _append(self, name: str, text: bytes | memoryview, num_documents: int) -> None:
        self.staging.append(name, text)
        self.state.num_documents[name] = self.state.num_documents.get(name, 0) + num_documents


def _add_to_digest(digest: str, keys: np.ndarray) -> str:
    return hashlib.sha256(digest.encode() + keys.astype("<u8").tobytes()).hexdigest()
