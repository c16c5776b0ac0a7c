"""A worker makes what belongs to a batch of files, knowing no more than it is given."""

from pathlib import Path

import pytest

from charlm.artifacts import CorpusFiles
from charlm.config import DictionaryConfig
from charlm.errors import CorpusError
from charlm.text.corpus.counting import build_dictionary, read_counts
from charlm.text.corpus.manifest import load_manifest
from charlm.text.corpus.text_files import in_batches, text_files
from tasks.corpus.prepare import count_shards, encode_texts
from tests.charlm.text.corpora import lines, split, write


@pytest.fixture
def corpus(tmp_path: Path) -> CorpusFiles:
    corpus = CorpusFiles(tmp_path / "corpora" / "news")
    split(corpus, write(tmp_path / "a.txt", lines(0, 6_000)))
    assert len(corpus.shards()) > 64
    return corpus


def test_no_worker_reads_the_manifest(corpus: CorpusFiles) -> None:
    manifest = load_manifest(corpus)
    files = text_files(corpus, manifest)
    assert [file.sha256 for file in files] == [
        manifest.files[f"train/{path.name}"].sha256 for path in corpus.shards()
    ] + [manifest.files[name].sha256 for name in ("valid.txt", "test.txt")]
    aside = corpus.manifest.with_suffix(".aside")
    corpus.manifest.rename(aside)
    counted = [count_shards(corpus, batch, manifest.split) for batch in in_batches(files[:-2])]
    assert [is_new for batch in counted for is_new in batch] == [True] * len(corpus.shards())
    aside.rename(corpus.manifest)
    fingerprint = build_dictionary(corpus, DictionaryConfig(), manifest.split.unit).fingerprint
    corpus.manifest.unlink()
    encoded = [encode_texts(corpus, batch, fingerprint) for batch in in_batches(files)]
    assert [is_new for batch in encoded for is_new in batch] == [True] * len(files)
    assert {path.stem for path in (corpus.encoded_root / fingerprint).iterdir()} == {file.name for file in files}


def test_what_a_batch_had_made_before_an_error_is_kept(corpus: CorpusFiles) -> None:
    manifest = load_manifest(corpus)
    batch = max(in_batches(text_files(corpus, manifest)[:-2]), key=lambda batch: len(batch.files))
    *whole, last = batch.files
    text = last.path.read_bytes()
    last.path.write_bytes(b"\xff" * len(text))
    with pytest.raises(CorpusError, match=f"{last.name} is not UTF-8; prepare it first"):
        count_shards(corpus, batch, manifest.split)
    assert sorted(path.name for path in corpus.counts_dir.iterdir()) == [f"{file.name}.parquet" for file in whole]
    last.path.write_bytes(text)
    assert count_shards(corpus, batch, manifest.split) == [False] * len(whole) + [True]
    assert read_counts(corpus.counts(last.name)).total == len(text.decode())
