"""Split raw text into train shards and held-out text.

Reads  raw text (raw.py, documents.py)
Writes train/train_split_*, valid.txt, test.txt, documents/revision_*.keys and, last, corpus.json

The xxh3 hash of a document's text says on which side it falls: the lowest hashes are validation text, the highest are
test text. So a document falls on the same side in every corpus and revision, exact duplicates can never sit on both
sides, and a larger share only adds documents to a side. Train documents fill a window of open shards, chosen by hash.

Everything is first written to a staging folder with checkpoints, then moved in one step that can be repeated: a run
that is killed continues, a run that fails leaves the corpus as it was.
"""

import dataclasses
import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from charlm.artifacts import CorpusFiles
from charlm.config import ReadConfig, SplitConfig
from charlm.errors import CorpusError, SourceError
from charlm.malloc import keep_freed_memory
from charlm.storage.atomic import remove_temporaries
from charlm.storage.fingerprints import fingerprint
from charlm.storage.locks import exclusive_lock
from charlm.text.corpus.deduplication import SeenKeys
from charlm.text.corpus.manifest import CorpusManifest, FileRecord, Revision, SourceRecord, load_manifest, save_manifest
from charlm.text.corpus.sides import VALID_PLACE, choose_places, document_keys
from charlm.text.corpus.staging import Staging, finish_commit
from charlm.text.sources.documents import DocumentReader
from charlm.text.sources.raw import Source, find_sources, sha256_of_source

CHECKPOINT_BYTES = 256_000_000
_BLOCK_BYTES = 1 << 20
_DAY = 24 * 60 * 60  # seconds
_VALID, _TEST, _KEYS, _MANIFEST = "valid.txt", "test.txt", "keys", "corpus.json"  # names in the staging folder
# Not frozen: it says what a revision leaves out, not where a document falls.
_FREE_FIELDS = {"deduplicate"}

Progress = Callable[[int, int], None]
OpenReader = Callable[[Source], DocumentReader]


@dataclass(frozen=True, kw_only=True)
class SplitResult:
    """What a call of `split_corpus` did."""

    manifest: CorpusManifest
    is_new_revision: bool
    """False when every source was known already and nothing changed."""

    num_known_sources: int
    """Sources that an earlier revision had read, and this call left out."""

    skipped: dict[str, int]
    """What this call left out or changed, by reason."""

    @property
    def revision(self) -> int:
        return self.manifest.revision


@keep_freed_memory()
def split_corpus(
    raw: Sequence[str],
    corpus: CorpusFiles,
    config: SplitConfig,
    reading: ReadConfig = ReadConfig(),  # noqa: B008  # never changed
    *,
    domain: str | None = None,
    on_progress: Progress | None = None,
) -> SplitResult:
    """Bring `raw` into the corpus as a new revision; sources that it already holds are left out.

    Args:
        raw: files, folders, globs, fsspec addresses, `hf:NAME[:SPLIT[:COLUMN]]`.
        reading: how they are read. Bytes that are not UTF-8 are an error (`strict`), become U+FFFD (`replace`), or take
            the document, record or file that holds them out of the corpus (`skip`).
        domain: name of the kind of text, the corpus name by default.
        on_progress: called with bytes read and bytes in all.

    Raises:
        SourceError: the raw text is missing, damaged or empty.
        CorpusError: the corpus was prepared with other settings, or too little text would be held out.
        RunError: another process is preparing this corpus.
    """
    sources = find_sources(raw)

    def open_reader(source: Source) -> DocumentReader:
        return DocumentReader(source, config, reading)

    with exclusive_lock(corpus.lock, busy=f"{corpus.root} is being prepared by another process; wait for it to end"):
        finish_commit(corpus.staging_dir)
        for folder in corpus.shared_folders():
            remove_temporaries(folder, unused_seconds=_DAY)
        manifest = load_manifest(corpus) if corpus.manifest.is_file() else CorpusManifest(split=config)
        check_frozen(corpus, manifest, config)
        check_files(corpus, manifest)
        try:
            split = _Split(corpus, manifest, config, sources, reading)
            split.read_sources(open_reader, on_progress)
            is_new = split.commit(domain or corpus.name)
        except Exception as error:
            _leave_as_before(corpus)
            if isinstance(error, OSError):
                raise CorpusError(
                    f"cannot write {corpus.root}: {error.strerror or error}; mend that and run again"
                ) from error
            raise
    return SplitResult(
        manifest=load_manifest(corpus),
        is_new_revision=is_new,
        num_known_sources=split.state.num_known_sources,
        skipped=split.state.skipped,
    )


def check_frozen(corpus: CorpusFiles, manifest: CorpusManifest, config: SplitConfig) -> None:
    """Raise CorpusError when `config` would split otherwise than the corpus was split."""
    frozen, asked = manifest.split.to_json(), config.to_json()
    for name in frozen:
        if name not in _FREE_FIELDS and frozen[name] != asked[name]:
            raise CorpusError(
                f"corpus {corpus.name!r} was prepared with {name}={frozen[name]}, got {asked[name]}; "
                f"keep the setting, or prepare the text under another name"
            )


def check_files(corpus: CorpusFiles, manifest: CorpusManifest) -> None:
    """Raise CorpusError when a text file of the corpus is missing or has another size than its manifest says."""
    for name, record in manifest.files.items():
        path = corpus.root / name
        size = path.stat().st_size if path.is_file() else None
        if size != record.end:
            found = "is missing" if size is None else f"has {size} bytes instead of {record.end}"
            raise CorpusError(f"{path} {found}; restore it, or delete {corpus.root} and prepare it anew")


def _leave_as_before(corpus: CorpusFiles) -> None:
    """Remove what a revision that failed has written, and the corpus folder too if it was to be the first."""
    shutil.rmtree(corpus.staging_dir, ignore_errors=True)
    if not corpus.manifest.is_file() and [path.name for path in corpus.root.iterdir()] == [corpus.lock.name]:
        shutil.rmtree(corpus.root)


@dataclass
class _State:
    """How far a revision has come; JSON at every checkpoint."""

    next_source: int = 0
    num_batches: int = 0
    """Batches taken of the next source."""
    num_source_documents: int = 0
    """Documents taken of it."""
    sources: list[dict[str, Any]] = field(default_factory=list)
    num_known_sources: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    window: list[str | None] = field(default_factory=list)
    """The open shard of each place in the window."""
    closed: list[str] = field(default_factory=list)
    num_documents: dict[str, int] = field(default_factory=dict)
    """Documents in each file."""
    seen: list[str] = field(default_factory=list)
    """Files of the de-duplication."""


class _Split:
    """One revision in the making."""

    def __init__(
        self,
        corpus: CorpusFiles,
        manifest: CorpusManifest,
        config: SplitConfig,
        sources: list[Source],
        reading: ReadConfig,
    ) -> None:
        self.corpus = corpus
        self.manifest = manifest
        self.config = config
        self.sources = sources
        addresses = [dataclasses.astuple(source) for source in sources]
        identity = [config.to_json(), manifest.to_json(), addresses, reading.to_json()]
        self.staging = Staging(corpus.staging_dir, fingerprint(identity))
        if self.staging.state is not None:
            self.state = _State(**self.staging.state)
        else:
            self.state = _State(window=[None] * config.open_shards)
            for name, path in ((_VALID, corpus.valid), (_TEST, corpus.test)):
                self.staging.append(name, b"")
                if manifest.revision:
                    self.staging.append_file(name, path)
        self.known_digests: set[str] = set()
        self.known_sizes: set[int] = set()
        self.known_names: set[str] = set()
        for revision in manifest.revisions:
            for record in revision.sources:
                self._remember_source(record)
        for values in self.state.sources:
            self._remember_source(SourceRecord(**values))
        self.seen = self._remember_documents() if config.deduplicate else None

    def _remember_source(self, record: SourceRecord) -> None:
        self.known_digests.add(record.sha256)
        self.known_sizes.add(record.bytes)
        self.known_names.add(record.name)

    def _remember_documents(self) -> SeenKeys:
        """The documents of the earlier revisions and of this one up to the checkpoint."""
        seen = SeenKeys(self.staging.folder, self.state.seen)
        if self.staging.state is None:
            for revision in self.manifest.revisions:
                path = self.corpus.document_keys(revision.number)
                if not path.is_file():
                    raise CorpusError(f"{path} is missing, which de-duplication needs; restore it")
                keys = np.memmap(path, dtype="<u8", mode="r") if path.stat().st_size else np.empty(0, dtype="<u8")
                for start in range(0, len(keys), _BLOCK_BYTES):
                    seen.add(np.asarray(keys[start : start + _BLOCK_BYTES]))
        return seen

    # ---- reading -----------------------------------------------------------------------------------------------

    def read_sources(self, open_reader: OpenReader, on_progress: Progress | None) -> None:
        num_total = sum(source.size or 0 for source in self.sources)
        num_done = sum(source.size or 0 for source in self.sources[: self.state.next_source])
        num_unsaved = 0
        for source in self.sources[self.state.next_source :]:
            if self.state.num_batches == 0 and self._is_known(source, open_reader):
                self.state.num_known_sources += 1
                self.state.next_source += 1
                num_done += source.size or 0
                continue
            reader = open_reader(source)
            for documents in islice(reader.batches(), self.state.num_batches, None):
                self._take(documents)
                self.state.num_batches += 1
                num_unsaved += sum(map(len, documents))
                if num_unsaved >= CHECKPOINT_BYTES:
                    self._checkpoint()
                    num_unsaved = 0
                if on_progress is not None:
                    on_progress(num_done + reader.num_stored, max(num_total, num_done + reader.num_stored))
            num_done += source.size or 0
            self._finish_source(source, reader)

    def _is_known(self, source: Source, open_reader: OpenReader) -> bool:
        """True when the corpus holds this content. A digest is taken beforehand only where one could match."""
        if source.kind == "hub":
            if source.name not in self.known_names:
                return False
            reader = open_reader(source)
            for _ in reader.batches():
                pass
            return reader.sha256 in self.known_digests
        if source.size is not None and source.size not in self.known_sizes:
            return False
        return sha256_of_source(source) in self.known_digests

    def _finish_source(self, source: Source, reader: DocumentReader) -> None:
        record = SourceRecord(
            name=source.name,
            sha256=reader.sha256,
            bytes=reader.num_stored,
            documents=self.state.num_source_documents,
        )
        self._remember_source(record)
        self.state.sources.append(dataclasses.asdict(record))
        self._skip(reader.skipped)
        self.state.next_source += 1
        self.state.num_batches = self.state.num_source_documents = 0

    def _skip(self, skipped: Counter[str] | dict[str, int]) -> None:
        self.state.skipped = dict(sorted((Counter(self.state.skipped) + Counter(skipped)).items()))

    def _checkpoint(self) -> None:
        if self.seen is not None:
            self.state.seen = self.seen.flush()
        self.staging.checkpoint(dataclasses.asdict(self.state), self.state.seen)

    # ---- choosing sides ----------------------------------------------------------------------------------------

    def _take(self, documents: list[bytes]) -> None:
        keys = document_keys(documents)
        if self.seen is not None:
            is_new = self.seen.add(keys)
            self._skip({"duplicates": int(np.count_nonzero(~is_new))})
            documents, keys = [documents[index] for index in np.flatnonzero(is_new).tolist()], keys[is_new]
        places = choose_places(keys, self.config)
        sizes = np.fromiter(map(len, documents), dtype=np.int64, count=len(documents))
        for place in np.unique(places).tolist():
            chosen = np.flatnonzero(places == place)
            if place < 0:
                self._append(_VALID if place == VALID_PLACE else _TEST, documents, chosen)
            else:
                self._fill(place, documents, chosen, sizes[chosen])
        self.staging.append(_KEYS, keys.astype("<u8").tobytes())
        self.state.num_source_documents += len(documents)

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

    # ---- finishing ---------------------------------------------------------------------------------------------

    def commit(self, domain: str) -> bool:
        """Make the revision part of the corpus; False when it brought no documents."""
        if not any(self.state.num_documents.values()):
            if self.manifest.revision:
                shutil.rmtree(self.staging.folder)
                return False
            raise SourceError(
                f"there is no text in {', '.join(source.address for source in self.sources[:3])}; give some"
            )
        self.staging.close_all()
        shards = [[name] for name in self.state.closed] + self._pack_open_shards()
        number = 1 + sum(len(revision.train_files) for revision in self.manifest.revisions)
        moves, records = {}, []
        for index, parts in enumerate(shards):
            target = self.corpus.shard(number + index).relative_to(self.corpus.root).as_posix()
            for part in parts[1:]:
                self.staging.append_file(parts[0], self.staging.path(part))
            self.staging.close(parts[0])
            moves[parts[0]] = target
            records.append(self._record(target, parts[0], sum(self.state.num_documents[part] for part in parts)))
        for name in (_VALID, _TEST):
            moves[name] = name
            records.append(self._record(name, name, self.state.num_documents.get(name, 0)))
        self._refuse_too_little_text(records)
        revision = Revision(
            number=self.manifest.revision + 1,
            domain=domain,
            deduplicated=self.config.deduplicate,
            sources=tuple(SourceRecord(**source) for source in self.state.sources),
            files=tuple(records),
            skipped=self.state.skipped,
        )
        manifest = dataclasses.replace(self.manifest, revisions=(*self.manifest.revisions, revision))
        save_manifest(CorpusFiles(self.staging.folder), manifest)
        moves[_KEYS] = self.corpus.document_keys(revision.number).relative_to(self.corpus.root).as_posix()
        moves[_MANIFEST] = self.corpus.manifest.name
        self.staging.commit(moves)
        return True

    def _pack_open_shards(self) -> list[list[str]]:
        """The shards that did not fill up, joined while they fit, so that little text makes few shards."""
        packed: list[list[str]] = []
        num_bytes = 0
        for name in filter(None, self.state.window):
            size = self.staging.size(name)
            if packed and num_bytes + size <= self.config.shard_size:
                packed[-1].append(name)
                num_bytes += size
            else:
                packed.append([name])
                num_bytes = size
        return packed

    def _record(self, target: str, name: str, num_documents: int) -> FileRecord:
        known = self.manifest.files.get(target)
        start = known.end if known else 0
        sha256, num_characters = _measure(self.staging.path(name), start)
        return FileRecord(
            name=target,
            sha256=sha256,
            start=start,
            bytes=self.staging.size(name) - start,
            characters=num_characters,
            documents=num_documents,
        )

    def _refuse_too_little_text(self, records: list[FileRecord]) -> None:
        """Raise CorpusError when a side of the corpus would be empty."""
        if not self.manifest.revision and not any(record.name.startswith("train/") for record in records):
            raise CorpusError("all documents fell on the held-out sides, none is left to train on; give more text")
        for name, option, share in (
            (_VALID, "--valid-share", self.config.valid_share),
            (_TEST, "--test-share", self.config.test_share),
        ):
            if sum(record.end for record in records if record.name == name) == 0:
                num_documents = sum(record.documents for record in records)
                num_characters = sum(record.characters for record in records)
                smaller = "" if self.config.document == "line" else ", choose smaller documents (--document line)"
                raise CorpusError(
                    f"{name} would be empty: {share} of {num_documents} documents with {num_characters} characters; "
                    f"raise {option}{smaller}, or give more text"
                )


def _measure(path: Path, start: int) -> tuple[str, int]:
    """The SHA-256 of a file, and the number of characters from byte `start` on."""
    digest = hashlib.sha256()
    num_characters = position = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            added = np.frombuffer(block, dtype=np.int8)[max(start - position, 0) :]
            num_characters += int(np.count_nonzero(added >= -64))  # all bytes but the second to fourth of a character
            position += len(block)
    return digest.hexdigest(), num_characters
