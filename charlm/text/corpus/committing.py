"""Finish a revision: close its files, name it in the manifest, and move everything to its place.

Writes train/train_split_*, valid.txt, test.txt, documents/revision_*.keys and *.near, and, last, corpus.json
"""

import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from charlm.artifacts import CorpusFiles
from charlm.errors import CorpusError, SourceError
from charlm.text.corpus.groups import Workers
from charlm.text.corpus.manifest import FileRecord, Revision, SourceRecord, save_manifest
from charlm.text.corpus.measuring import MeasuredFiles, measure_files
from charlm.text.corpus.near_duplicates import VERSION as NEAR_VERSION
from charlm.text.corpus.revision import KEYS, LEFT_OUT, MANIFEST, NEAR, TEST, VALID, NewRevision

_MEASURED_BYTES, _MEASURED_FILES = 32_000_000, 1_000  # by one worker at a time


def commit_revision(new: NewRevision, domain: str, workers: Workers | None = None) -> bool:
    """Make the revision part of the corpus; False when it brought no documents."""
    has_left_out = new.staging.size(LEFT_OUT) > 0
    if not any(new.state.num_documents.values()) and not (has_left_out and new.manifest.revision):
        if new.manifest.revision:
            shutil.rmtree(new.staging.folder)
            return False
        if has_left_out:
            raise SourceError("the filter leaves out all documents; choose other bounds of bits per byte")
        raise SourceError(f"there is no text in {', '.join(source.address for source in new.sources[:3])}; give some")
    new.staging.close_all()
    if new.given:
        _check_given(new)
    shards = [[name] for name in new.state.closed] + _pack_open_shards(new)
    number = 1 + sum(len(revision.train_files) for revision in new.manifest.revisions)
    moves, num_documents = {}, {}
    for index, parts in enumerate(shards):
        target = new.corpus.shard(number + index).relative_to(new.corpus.root).as_posix()
        for part in parts[1:]:
            new.staging.append_file(parts[0], new.staging.path(part))
        new.staging.close(parts[0])
        moves[parts[0]] = target
        num_documents[parts[0]] = sum(new.state.num_documents[part] for part in parts)
    for name in (VALID, TEST):
        moves[name] = name
        num_documents[name] = new.state.num_documents.get(name, 0)
    records = _records(new, moves, num_documents, workers)
    _refuse_too_little_text(new, records)
    revision = Revision(
        number=new.manifest.revision + 1,
        domain=domain,
        deduplicated=new.reading.deduplicate,
        sources=tuple(SourceRecord(**source) for source in new.state.sources),
        files=tuple(records),
        skipped=new.state.skipped,
        given=tuple(new.given),
        near_threshold=new.reading.near_threshold,
        near_version=None if new.reading.near_threshold is None else NEAR_VERSION,
    )
    manifest = dataclasses.replace(new.manifest, revisions=(*new.manifest.revisions, revision))
    save_manifest(CorpusFiles(new.staging.folder), manifest)
    if has_left_out:
        moves[LEFT_OUT] = new.corpus.left_out(revision.number).relative_to(new.corpus.root).as_posix()
    moves[KEYS] = new.corpus.document_keys(revision.number).relative_to(new.corpus.root).as_posix()
    if new.reading.near_threshold is not None:
        moves[NEAR] = new.corpus.near_keys(revision.number).relative_to(new.corpus.root).as_posix()
    moves[MANIFEST] = new.corpus.manifest.name
    new.staging.commit(moves)
    return True


def _check_given(new: NewRevision) -> None:
    """Count the documents that are in the given held-out text too; raise CorpusError when that stands alone."""
    num_held_out = sum(new.state.num_documents.get(name, 0) for name in new.given)
    keys = np.fromfile(new.staging.path(KEYS), dtype="<u8")
    if len(keys) == num_held_out:
        raise CorpusError(
            f"the held-out text of {new.corpus.name!r} stays as it is, and there is no new text to train on: "
            f"prepare other held-out text under another name"
        )
    if num_both := int(np.isin(keys[num_held_out:], keys[:num_held_out]).sum()):
        new.state.skipped["documents that are given as held-out text too"] = num_both


def _pack_open_shards(new: NewRevision) -> list[list[str]]:
    """The shards that did not fill up, joined while they fit, so that little text makes few shards."""
    packed: list[list[str]] = []
    num_bytes = 0
    for name in filter(None, new.state.window):
        size = new.staging.size(name)
        if packed and num_bytes + size <= new.config.shard_size:
            packed[-1].append(name)
            num_bytes += size
        else:
            packed.append([name])
            num_bytes = size
    return packed


def _records(
    new: NewRevision, moves: Mapping[str, str], num_documents: Mapping[str, int], workers: Workers | None
) -> list[FileRecord]:
    """What the revision put into each file that is moved, in the order of `moves`."""
    known = new.manifest.files
    starts = {name: known[target].end if target in known else 0 for name, target in moves.items()}
    files = [(new.staging.path(name), start) for name, start in starts.items()]
    sizes = [new.staging.size(name) for name in moves]
    if workers is None or sum(sizes) <= _MEASURED_BYTES:
        measured = measure_files(MeasuredFiles(tuple(files)))
    else:
        awaited = [workers.submit(measure_files, part) for part in _parts(files, sizes)]
        measured = [found for part in awaited for found in part.result()]
    return [
        FileRecord(
            name=moves[name],
            sha256=sha256,
            start=start,
            bytes=size - start,
            characters=num_characters,
            documents=num_documents[name],
        )
        for (name, start), size, (sha256, num_characters) in zip(starts.items(), sizes, measured, strict=True)
    ]


def _parts(files: list[tuple[Path, int]], sizes: list[int]) -> Iterator[MeasuredFiles]:
    part: list[tuple[Path, int]] = []
    num_bytes = 0
    for file, size in zip(files, sizes, strict=True):
        part.append(file)
        num_bytes += size
        if num_bytes >= _MEASURED_BYTES or len(part) == _MEASURED_FILES:
            yield MeasuredFiles(tuple(part))
            part, num_bytes = [], 0
    if part:
        yield MeasuredFiles(tuple(part))


def _refuse_too_little_text(new: NewRevision, records: list[FileRecord]) -> None:
    """Raise CorpusError when a side of the corpus would be empty."""
    if not new.manifest.revision and not any(record.name.startswith("train/") for record in records):
        raise CorpusError("all documents fell on the held-out sides, none is left to train on; give more text")
    for name, option, share in (
        (VALID, "--valid-share", new.config.valid_share),
        (TEST, "--test-share", new.config.test_share),
    ):
        if sum(record.end for record in records if record.name == name) == 0:
            num_documents = sum(record.documents for record in records)
            num_characters = sum(record.characters for record in records)
            smaller = "" if new.config.document == "line" else ", choose smaller documents (--document line)"
            raise CorpusError(
                f"{name} would be empty: {share} of {num_documents} documents with {num_characters} characters; "
                f"raise {option}{smaller}, or give more text"
            )
