"""Documents are split without loss, on sides that no later text can change."""

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.artifacts import CorpusFiles
from charlm.config import SplitConfig
from charlm.errors import CorpusError
from charlm.storage.fingerprints import sha256_of
from charlm.text.corpus.manifest import load_manifest
from charlm.text.corpus.revision import NewRevision
from charlm.text.corpus.sides import TEST_PLACE, VALID_PLACE, choose_places, document_keys
from tests.charlm.text.corpora import content, lines, split, write


def sides(corpus: CorpusFiles) -> dict[str, Counter[str]]:
    train = Counter(line for shard in corpus.shards() for line in shard.read_text().splitlines(keepends=True))
    return {
        "train": train,
        "valid": Counter(corpus.valid.read_text().splitlines(keepends=True)),
        "test": Counter(corpus.test.read_text().splitlines(keepends=True)),
    }


@pytest.fixture
def corpus(tmp_path: Path) -> CorpusFiles:
    return CorpusFiles(tmp_path / "corpora" / "news")


# ---- sides ---------------------------------------------------------------------------------------------------------


def test_what_killed_writers_left_goes_after_a_day(tmp_path: Path) -> None:
    corpus, raw = CorpusFiles(tmp_path / "corpus"), write(tmp_path / "raw.txt", lines(0, 300))
    split(corpus, raw)
    encoded = corpus.encoded("0123456789abcdef", "valid")
    for folder in (corpus.counts_dir, encoded.parent):
        folder.mkdir(parents=True)
        for name, age in ((".tmp-old", 25 * 60 * 60), (".tmp-being-written", 60), ("whole", 25 * 60 * 60)):
            (folder / name).write_bytes(b"x")
            os.utime(folder / name, (time.time() - age,) * 2)

    split(corpus, raw)

    for folder in (corpus.counts_dir, encoded.parent):
        assert sorted(path.name for path in folder.iterdir()) == [".tmp-being-written", "whole"]


def test_every_document_goes_to_one_side_and_nothing_is_lost(corpus: CorpusFiles, tmp_path: Path) -> None:
    result = split(corpus, write(tmp_path / "a.txt", lines(0, 2000)))
    found = sides(corpus)
    assert found["train"] + found["valid"] + found["test"] == Counter(lines(0, 2000))
    assert (result.revision, result.is_new_revision, result.skipped) == (1, True, {})
    assert {side: round(len(documents) / 2000, 1) for side, documents in found.items()} == {
        "train": 0.8,
        "valid": 0.1,
        "test": 0.1,
    }


def test_sides_are_chosen_by_the_hash_of_the_text_alone() -> None:
    keys = np.array([0, 2**60, 2**62, 2**63, 2**64 - 2**60, 2**64 - 1], dtype=np.uint64)
    places = choose_places(keys, SplitConfig(valid_share=0.1, test_share=0.1, open_shards=1))
    assert places.tolist() == [VALID_PLACE, VALID_PLACE, 0, 0, TEST_PLACE, TEST_PLACE]


def test_a_larger_share_only_adds_documents_to_its_side() -> None:
    keys = document_keys([line.encode() for line in lines(0, 5000)])
    small = choose_places(keys, SplitConfig(valid_share=0.05, test_share=0.05))
    large = choose_places(keys, SplitConfig(valid_share=0.15, test_share=0.10))
    for place in (VALID_PLACE, TEST_PLACE):
        assert set(np.flatnonzero(small == place)) < set(np.flatnonzero(large == place))


def test_no_share_holds_nothing_out() -> None:
    keys = np.array([0, 2**64 - 1], dtype=np.uint64)
    assert choose_places(keys, SplitConfig(valid_share=0, test_share=0, open_shards=1)).tolist() == [0, 0]


def test_white_space_around_a_document_does_not_change_its_side() -> None:
    assert len(set(document_keys([b"one", b"one\n", b"  one\n\n \n", b"one\r\n"]).tolist())) == 1


def test_adding_text_later_puts_documents_where_preparing_all_at_once_does(corpus: CorpusFiles, tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.txt", lines(0, 1500)), write(tmp_path / "b.txt", lines(1400, 3000))
    split(corpus, first, domain="old")
    before = content(corpus)
    split(corpus, second, domain="new")
    after = content(corpus)
    for name, data in before.items():
        if name.startswith(("train/", "documents/")):
            assert after[name] == data
    for name in ("valid.txt", "test.txt"):
        assert after[name].startswith(before[name])
    at_once = CorpusFiles(tmp_path / "corpora" / "both")
    split(at_once, first, second)
    assert sides(corpus) == sides(at_once)


def test_held_out_documents_keep_their_domain(corpus: CorpusFiles, tmp_path: Path) -> None:
    split(corpus, write(tmp_path / "a.txt", lines(0, 1500)))
    split(corpus, write(tmp_path / "b.txt", lines(5000, 6500)), domain="law")
    first, second = load_manifest(corpus).revisions
    assert (first.domain, second.domain) == ("news", "law")
    valid = {
        revision.domain: next(file for file in revision.files if file.name == "valid.txt")
        for revision in (first, second)
    }
    held_out = corpus.valid.read_bytes()
    assert valid["law"].start == valid["news"].end
    assert valid["law"].end == len(held_out)
    assert set(held_out[: valid["law"].start].decode().splitlines(keepends=True)) <= set(lines(0, 1500))
    assert set(held_out[valid["law"].start :].decode().splitlines(keepends=True)) <= set(lines(5000, 6500))


# ---- shards --------------------------------------------------------------------------------------------------------


def test_shards_are_closed_at_their_size_and_hold_a_fair_sample(corpus: CorpusFiles, tmp_path: Path) -> None:
    split(corpus, write(tmp_path / "a.txt", lines(0, 4000)), open_shards=4)
    sizes = [shard.stat().st_size for shard in corpus.shards()]
    longest = max(len(line.encode()) for line in lines(0, 4000))
    assert all(size < 3000 + longest for size in sizes)
    assert sum(size >= 3000 for size in sizes) >= len(sizes) - 4
    assert [path.name for path in corpus.shards()][:2] == ["train_split_0001", "train_split_0002"]
    assert sorted(path.name for path in corpus.train_dir.iterdir()) == [path.name for path in corpus.shards()]
    numbers = [int(line.split()[1][:-1]) for line in corpus.shard(1).read_text().splitlines()]
    assert max(numbers) - min(numbers) > 2 * len(numbers)  # four shards fill at once, so each skips what others take


def test_little_text_makes_one_shard(corpus: CorpusFiles, tmp_path: Path) -> None:
    split(corpus, write(tmp_path / "a.txt", lines(0, 1000)), shard_size=1_000_000)
    assert len(corpus.shards()) == 1


@given(
    files=st.lists(
        st.text(
            st.one_of(st.sampled_from("\n\n\n\r \0aß"), st.characters(exclude_categories=["Cs"])), max_size=400
        ).filter(lambda text: "\n" in text or "\r" not in text),  # carriage returns alone are refused
        min_size=1,
        max_size=3,
    ),
    mode=st.sampled_from(["auto", "line", "paragraph"]),
    shard_size=st.integers(1, 300),
    deduplicate=st.booleans(),
)
@settings(max_examples=40)
def test_whatever_the_text_the_outputs_are_the_documents_that_went_in(
    files: list[str], mode: str, shard_size: int, deduplicate: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("property")
    raw = [write(folder / f"{number}.txt", [text]) for number, text in enumerate(files)]
    raw.append(write(folder / "fill.txt", [f"{line}\n" for line in lines(0, 200)]))
    corpus = CorpusFiles(folder / "corpora" / "any")
    taken: list[bytes] = []
    take = NewRevision._take

    def spy(self: Any, documents: list[bytes], held_out: str) -> None:
        taken.extend(documents)
        take(self, documents, held_out)

    with patch.object(NewRevision, "_take", spy):
        result = split(corpus, *raw, document=mode, shard_size=shard_size, deduplicate=deduplicate, open_shards=1)
    if deduplicate:
        firsts: dict[bytes, bytes] = {}
        for document in taken:
            firsts.setdefault(document.strip(), document)
        assert result.skipped.get("duplicates", 0) == len(taken) - len(firsts)
        taken = list(firsts.values())
    places = choose_places(document_keys(taken), result.manifest.split).tolist()
    parts = {
        side: [document for document, place in zip(taken, places, strict=True) if place == side]
        for side in (VALID_PLACE, TEST_PLACE, 0)
    }
    assert corpus.valid.read_bytes() == b"".join(parts[VALID_PLACE])
    assert corpus.test.read_bytes() == b"".join(parts[TEST_PLACE])
    shards = [shard.read_bytes() for shard in corpus.shards()]
    assert b"".join(shards) == b"".join(parts[0])
    document_ends = set(np.cumsum([len(document) for document in parts[0]]).tolist())
    assert set(np.cumsum([len(shard) for shard in shards]).tolist()) <= document_ends
    recorded = load_manifest(corpus)
    assert recorded.documents == len(taken)
    assert recorded.characters == sum(len(document.decode()) for document in taken)


# ---- revisions -----------------------------------------------------------------------------------------------------


def test_a_source_already_seen_is_skipped_by_content_and_changes_nothing(corpus: CorpusFiles, tmp_path: Path) -> None:
    split(corpus, write(tmp_path / "a.txt", lines(0, 1000)))
    before = content(corpus)
    again = split(corpus, write(tmp_path / "renamed.txt", lines(0, 1000)))
    assert (again.revision, again.is_new_revision, again.num_known_sources) == (1, False, 1)
    assert content(corpus) == before


def test_a_copy_within_one_call_is_read_once(corpus: CorpusFiles, tmp_path: Path) -> None:
    first, copy = write(tmp_path / "a.txt", lines(0, 1000)), write(tmp_path / "b.txt", lines(0, 1000))
    result = split(corpus, first, copy)
    assert (result.num_known_sources, result.manifest.documents) == (1, 1000)


def test_equal_input_leaves_equal_bytes_anywhere(tmp_path: Path) -> None:
    found = []
    for place in ("here", "there"):
        raw = write(tmp_path / place / "raw" / "a.txt", lines(0, 1000))
        corpus = CorpusFiles(tmp_path / place / "corpora" / "news")
        split(corpus, str(Path(raw).parent))
        found.append(content(corpus))
    assert found[0] == found[1]
    assert str(tmp_path).encode() not in found[0]["corpus.json"]


def test_the_manifest_says_what_is_in_every_file(corpus: CorpusFiles, tmp_path: Path) -> None:
    raw = write(tmp_path / "a.txt", lines(0, 1000))
    manifest = split(corpus, raw).manifest
    for name, record in manifest.files.items():
        data = (corpus.root / name).read_bytes()
        assert record.sha256 == sha256_of(corpus.root / name)
        assert (record.start, record.bytes, record.characters) == (0, len(data), len(data.decode()))
        assert record.documents == data.count(b"\n")
    (source,) = manifest.revisions[0].sources
    assert (source.name, source.sha256, source.documents) == ("a.txt", sha256_of(Path(raw)), 1000)
    assert load_manifest(corpus) == manifest
    assert json.loads(corpus.manifest.read_text())["fingerprint"] == manifest.fingerprint


@pytest.mark.parametrize(
    "change",
    [{"valid_share": 0.2}, {"shard_size": 5000}, {"document": "paragraph"}, {"unit": "byte"}, {"open_shards": 2}],
)
def test_other_settings_are_refused_for_an_existing_corpus(
    change: dict[str, Any], corpus: CorpusFiles, tmp_path: Path
) -> None:
    split(corpus, write(tmp_path / "a.txt", lines(0, 1000)))
    before = content(corpus)
    name = next(iter(change))
    with pytest.raises(CorpusError, match=f"'news' was prepared with {name}=.*, got {change[name]}"):
        split(corpus, write(tmp_path / "b.txt", lines(1000, 2000)), **change)
    assert content(corpus) == before


def test_documents_seen_in_any_revision_are_left_out_on_request(corpus: CorpusFiles, tmp_path: Path) -> None:
    split(corpus, write(tmp_path / "a.txt", lines(0, 1000)))
    result = split(corpus, write(tmp_path / "b.txt", [*lines(900, 1200), *lines(1100, 1300)]), deduplicate=True)
    assert result.skipped == {"duplicates": 200}
    assert sum(sides(corpus).values(), Counter()) == Counter(lines(0, 1300))
    only_known = split(corpus, write(tmp_path / "c.txt", lines(0, 10)), deduplicate=True)
    assert (only_known.revision, only_known.is_new_revision) == (2, False)
