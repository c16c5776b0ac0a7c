"""Split raw text into train shards and held-out text.

Reads  raw text (raw.py, documents.py)
Writes train/train_split_*, valid.txt, test.txt, documents/revision_*.keys and, last, corpus.json

The xxh3 hash of a document's text decides on which side it falls: the lowest hashes are validation text, the highest
are test text. So a document falls on the same side in every corpus and revision, exact duplicates can never sit on both
sides, and a larger share only adds documents to a side.

Everything is first written to a staging folder (revision.py), then moved in one step that can be repeated
(committing.py): a run that is killed continues, and a run that fails leaves the corpus as it was.
"""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from charlm.artifacts import CorpusFiles
from charlm.config import ReadConfig, SplitConfig
from charlm.errors import CorpusError
from charlm.malloc import keep_freed_memory
from charlm.storage.atomic import remove_temporaries
from charlm.storage.locks import exclusive_lock, remove_lock
from charlm.text.corpus.committing import commit_revision
from charlm.text.corpus.groups import Workers
from charlm.text.corpus.manifest import CorpusManifest, load_manifest
from charlm.text.corpus.revision import TEST, VALID, DocumentFilter, NewRevision, Progress, SourceChangedError
from charlm.text.corpus.staging import finish_commit
from charlm.text.sources.finding import find_sources
from charlm.text.sources.raw import Source
from charlm.units.unit import with_defaults

_DAY = 24 * 60 * 60  # seconds


@dataclass(frozen=True, kw_only=True)
class SplitResult:
    """What a call of `split_corpus` did."""

    manifest: CorpusManifest
    is_new_revision: bool
    """False when every source was known and nothing changed."""

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
    document_filter: DocumentFilter | None = None,
    workers: Workers | None = None,
    on_progress: Progress | None = None,
) -> SplitResult:
    """Add `raw` to the corpus as a new revision; sources that it already holds are left out.

    Args:
        raw: files, folders, globs, fsspec addresses, `hf:NAME[:SPLIT[:COLUMN]]`.
        reading: how they are read. Bytes that are not UTF-8 are an error (`strict`), become U+FFFD (`replace`), or take
            the document, record or file that holds them out of the corpus (`skip`).
        domain: name of the kind of text, the corpus name by default.
        document_filter: which documents are left out, but for given held-out text; they go to a file of their own.
        workers: processes that read sources beside this one; the corpus is the same without them.
        on_progress: called with bytes read and bytes in all.

    Raises:
        SourceError: the raw text is missing, damaged or empty.
        CorpusError: the corpus was prepared with other settings, or too little text would be held out.
        RunError: another process is preparing this corpus.
    """
    sources = find_sources(raw)
    given = {
        name: find_sources(texts) if texts else []
        for name, texts in ((VALID, reading.valid_text), (TEST, reading.test_text))
    }
    config = with_defaults(config)
    try:
        with exclusive_lock(
            corpus.lock, busy=f"{corpus.root} is being prepared by another process; wait for it to end"
        ):
            return _add_revision(
                corpus, config, reading, sources, given, domain or corpus.name, document_filter, workers, on_progress
            )
    except Exception:
        if not corpus.manifest.is_file():  # it was to be the first revision
            remove_lock(corpus.lock)
            with suppress(OSError):  # another process has begun to prepare it
                corpus.root.rmdir()
        raise


def _add_revision(
    corpus: CorpusFiles,
    config: SplitConfig,
    reading: ReadConfig,
    sources: list[Source],
    given: Mapping[str, list[Source]],
    domain: str,
    document_filter: DocumentFilter | None,
    workers: Workers | None,
    on_progress: Progress | None,
) -> SplitResult:
    finish_commit(corpus.staging_dir)
    for folder in corpus.shared_folders():
        remove_temporaries(folder, unused_seconds=_DAY)
    manifest = load_manifest(corpus) if corpus.manifest.is_file() else CorpusManifest(split=config)
    check_frozen(corpus, manifest, config)
    check_files(corpus, manifest)
    try:
        try:
            revision = _read(corpus, manifest, config, sources, given, reading, document_filter, workers, on_progress)
        except SourceChangedError:  # and its documents may be in the staged files already
            shutil.rmtree(corpus.staging_dir)
            revision = _read(corpus, manifest, config, sources, given, reading, document_filter, workers, on_progress)
        is_new = commit_revision(revision, domain, workers)
    except Exception as error:  # not Ctrl-C: the next run continues there
        shutil.rmtree(corpus.staging_dir, ignore_errors=True)
        if isinstance(error, OSError):
            raise CorpusError(
                f"cannot write {corpus.root}: {error.strerror or error}; fix that and run again"
            ) from error
        raise
    return SplitResult(
        manifest=load_manifest(corpus),
        is_new_revision=is_new,
        num_known_sources=revision.state.num_known_sources,
        skipped=revision.state.skipped,
    )


def _read(
    corpus: CorpusFiles,
    manifest: CorpusManifest,
    config: SplitConfig,
    sources: list[Source],
    given: Mapping[str, list[Source]],
    reading: ReadConfig,
    document_filter: DocumentFilter | None,
    workers: Workers | None,
    on_progress: Progress | None,
) -> NewRevision:
    """The revision with all sources read, continued where a killed run left it."""
    revision = NewRevision(corpus, manifest, config, sources, reading, given, document_filter)
    revision.read_sources(workers, on_progress)
    return revision


def check_frozen(corpus: CorpusFiles, manifest: CorpusManifest, config: SplitConfig) -> None:
    """Raise CorpusError when the corpus was split with other settings than `config`."""
    frozen, given = manifest.split.to_json(), config.to_json()
    for name in frozen | given:
        if frozen.get(name) != given.get(name):
            raise CorpusError(
                f"corpus {corpus.name!r} was prepared with {name}={frozen.get(name)}, got {given.get(name)}; "
                f"keep the setting, or prepare the text under another name"
            )


def check_files(corpus: CorpusFiles, manifest: CorpusManifest) -> None:
    """Raise CorpusError when a text file of the corpus is missing or has another size than in the manifest."""
    for name, record in manifest.files.items():
        path = corpus.root / name
        size = path.stat().st_size if path.is_file() else None
        if size != record.end:
            found = "is missing" if size is None else f"has {size} bytes instead of {record.end}"
            raise CorpusError(f"{path} {found}; restore it, or delete {corpus.root} and prepare it again")
