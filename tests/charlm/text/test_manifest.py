"""corpus.json comes back unchanged, and a damaged one is named."""

import dataclasses
import json
from pathlib import Path

import pytest

from charlm.artifacts import CorpusFiles
from charlm.config import DictionaryConfig, SplitConfig
from charlm.errors import CorpusError
from charlm.storage.atomic import write_json
from charlm.storage.fingerprints import fingerprint
from charlm.text.corpus.manifest import (
    CorpusManifest,
    DictionaryRecord,
    FileRecord,
    Revision,
    SourceRecord,
    load_manifest,
    save_manifest,
)


def file_record(name: str, start: int, sha256: str = "0" * 64) -> FileRecord:
    return FileRecord(name=name, sha256=sha256, start=start, bytes=100, characters=90, documents=9)


def revision(number: int, valid: str = "v") -> Revision:
    shard = file_record(f"train/train_split_{number:04d}", 0)
    held_out = file_record("valid.txt", 100 * (number - 1), valid * number)
    source = SourceRecord(name="a.txt", sha256="1" * 64, bytes=500, documents=18)
    return Revision(
        number=number,
        domain="news",
        deduplicated=False,
        sources=(source,),
        files=(shard, held_out),
        skipped={"bad_documents": 2},
    )


MANIFEST = CorpusManifest(
    split=SplitConfig(document="line", shard_size=1000),
    revisions=(revision(1), revision(2)),
    dictionary=DictionaryRecord(config=DictionaryConfig(coverage=0.9), fingerprint="f", size=7, unk_rate=0.25),
)


@pytest.mark.parametrize("manifest", [MANIFEST, dataclasses.replace(MANIFEST, dictionary=None, revisions=())])
def test_a_manifest_comes_back_unchanged(manifest: CorpusManifest, tmp_path: Path) -> None:
    save_manifest(CorpusFiles(tmp_path), manifest)
    assert load_manifest(CorpusFiles(tmp_path)) == manifest


def test_numbers_add_up_over_revisions() -> None:
    assert (MANIFEST.revision, MANIFEST.documents, MANIFEST.characters, MANIFEST.train_characters) == (2, 36, 360, 180)
    assert MANIFEST.files["valid.txt"].end == 200
    assert list(MANIFEST.files) == ["train/train_split_0001", "valid.txt", "train/train_split_0002"]


def test_the_fingerprint_stands_for_content_not_for_where_it_came_from() -> None:
    renamed = dataclasses.replace(MANIFEST.revisions[1], domain="law", sources=(), skipped={})
    same = dataclasses.replace(MANIFEST, revisions=(MANIFEST.revisions[0], renamed), dictionary=None)
    assert same.fingerprint == MANIFEST.fingerprint
    other_text = dataclasses.replace(MANIFEST, revisions=(MANIFEST.revisions[0], revision(2, "w")))
    other_split = dataclasses.replace(MANIFEST, split=SplitConfig(document="line"))
    assert len({MANIFEST.fingerprint, other_text.fingerprint, other_split.fingerprint}) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no prepared corpus"),
        ("{", "is damaged"),
        ("[]", "is not a manifest of format"),
        ('{"format": "other"}', "is not a manifest of format"),
        ('{"format": "charlm.corpus/1"}', "is damaged"),
        (json.dumps(MANIFEST.to_json() | {"split": {"shares": 1}}), "is damaged"),
        (json.dumps(MANIFEST.to_json() | {"revisions": [{"number": 1}]}), "is damaged"),
    ],
)
def test_a_missing_or_damaged_manifest_is_named(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "corpus.json").write_text(content)
    with pytest.raises(CorpusError, match=message) as caught:
        load_manifest(CorpusFiles(tmp_path))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("deduplicated", [False, True])
def test_a_corpus_of_an_older_version_opens_with_its_fingerprint(deduplicated: bool, tmp_path: Path) -> None:
    """Once `deduplicate` was one of the frozen settings, but other than them it could change with every revision."""
    first = dataclasses.replace(revision(1), deduplicated=deduplicated)
    manifest = dataclasses.replace(MANIFEST, revisions=(first, revision(2)))
    value = manifest.to_json()
    value["split"]["deduplicate"] = deduplicated
    write_json(tmp_path / "corpus.json", value)
    loaded = load_manifest(CorpusFiles(tmp_path))
    assert loaded == manifest
    files = {file.name: file.sha256 for file in manifest.files.values()}
    assert loaded.fingerprint == fingerprint([value["split"], files])
    assert "deduplicate" not in manifest.split.to_json()
