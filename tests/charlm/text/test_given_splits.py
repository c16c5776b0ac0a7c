"""Validation and test text that is given, as of corpora with published scores."""

from pathlib import Path

import pytest

from charlm.artifacts import CorpusFiles
from charlm.config import ReadConfig, SplitConfig
from charlm.errors import CorpusError
from charlm.text.corpus.held_out import held_out_documents
from charlm.text.corpus.manifest import load_manifest
from charlm.text.corpus.splitting import SplitResult, split_corpus
from tests.charlm.text.corpora import lines, write


@pytest.fixture
def corpus(tmp_path: Path) -> CorpusFiles:
    return CorpusFiles(tmp_path / "corpora" / "given")


@pytest.fixture
def texts(tmp_path: Path) -> dict[str, str]:
    parts = {"train": lines(0, 200), "valid": lines(200, 230), "test": lines(230, 270), "new": lines(270, 400)}
    return {name: write(tmp_path / f"{name}.txt", part) for name, part in parts.items()}


def split(corpus: CorpusFiles, raw: str, domain: str | None = None, **reading: object) -> SplitResult:
    config = SplitConfig(document="line", valid_share=0.1, test_share=0.1)
    return split_corpus([raw], corpus, config, ReadConfig(**reading), domain=domain)  # type: ignore[arg-type]


def read(path: str | Path) -> str:
    return Path(path).read_text()


def test_given_text_is_held_out_as_it_is_and_nothing_else(corpus: CorpusFiles, texts: dict[str, str]) -> None:
    split(corpus, texts["train"], valid_text=(texts["valid"],), test_text=(texts["test"],))
    assert read(corpus.valid) == read(texts["valid"])
    assert read(corpus.test) == read(texts["test"])
    assert sorted(read(corpus.shards()[0]).splitlines()) == sorted(read(texts["train"]).splitlines())
    assert [len(held_out_documents(corpus, split)["given"]) for split in ("valid", "test")] == [30, 40]
    again = split(corpus, texts["train"], valid_text=(texts["valid"],), test_text=(texts["test"],))
    assert not again.is_new_revision


def test_one_split_can_be_given_alone_and_shares_hold_for_later_text(
    corpus: CorpusFiles, texts: dict[str, str]
) -> None:
    split(corpus, texts["train"], test_text=(texts["test"],))
    assert read(corpus.test) == read(texts["test"])
    num_valid = len(held_out_documents(corpus, "valid")["given"])
    assert 5 < num_valid < 50
    split(corpus, texts["new"], domain="news")
    assert read(corpus.test).startswith(read(texts["test"]))
    manifest = load_manifest(corpus)
    assert [revision.given for revision in manifest.revisions] == [("test.txt",), ()]
    for name in ("valid", "test"):
        found = held_out_documents(corpus, name)
        assert len(found["news"]) == manifest.files[f"{name}.txt"].documents > 3
    assert len(held_out_documents(corpus, "test")["given"]) == 40


def test_held_out_text_cannot_be_exchanged_or_be_train_text(corpus: CorpusFiles, texts: dict[str, str]) -> None:
    with pytest.raises(CorpusError, match=r"valid.txt is given as text to be split, and is text for valid.txt already"):
        split(corpus, texts["valid"], valid_text=(texts["valid"],))
    assert not corpus.root.exists()
    split(corpus, texts["train"], valid_text=(texts["valid"],))
    with pytest.raises(CorpusError, match="the held-out text of 'given' stays as it is"):
        split(corpus, texts["train"], valid_text=(texts["new"],))
    assert load_manifest(corpus).revision == 1


def test_documents_that_are_held_out_too_are_counted(
    corpus: CorpusFiles, texts: dict[str, str], tmp_path: Path
) -> None:
    both = write(tmp_path / "both.txt", [*lines(0, 100), *lines(200, 207)])
    assert split(corpus, both, valid_text=(texts["valid"],)).skipped == {
        "documents that are given as held-out text too": 7
    }
    other = CorpusFiles(tmp_path / "corpora" / "other")
    assert split(other, both, valid_text=(texts["valid"],), deduplicate=True).skipped == {"duplicates": 7}
    assert read(other.valid) == read(texts["valid"])
