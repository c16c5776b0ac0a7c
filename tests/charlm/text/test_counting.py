"""Characters are counted exactly, and the dictionary keeps those that its rule says."""

import json
import pickle
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.arrays.arrow import strings
from charlm.artifacts import CorpusFiles
from charlm.config import DictionaryConfig, SplitConfig, UnitName
from charlm.data.dictionary import Dictionary
from charlm.errors import CorpusError, DictionaryError
from charlm.text.corpus import counting
from charlm.text.corpus.counting import (
    build_dictionary,
    choose_items,
    count_shard,
    count_text,
    extend_dictionary,
    load_dictionary,
    merge_counts,
    read_counts,
)
from charlm.text.corpus.dictionary_tables import items_table
from charlm.text.corpus.manifest import load_manifest
from charlm.text.corpus.splitting import split_corpus
from charlm.units.characters import CharacterUnit
from charlm.units.counts import Counts


def counts_of(text: str) -> Counts:
    counter = Counter(text)
    return Counts(strings(sorted(counter)), np.array([counter[character] for character in sorted(counter)])).ranked()


def kept(text: str, **config: float) -> str:
    return b"".join(choose_items(counts_of(text), DictionaryConfig(**config), "char")).decode()


def prepare(
    folder: Path, *texts: str, unit: UnitName = "char", coverage: float = 0.99
) -> tuple[CorpusFiles, Dictionary]:
    """A corpus with a revision for each text, its shards counted, and its dictionary."""
    corpus = CorpusFiles(folder / "corpora" / "letters")
    config = SplitConfig(unit=unit, document="line", valid_share=0.2, test_share=0.2)
    for number, text in enumerate(texts):
        raw = folder / f"{number}.txt"
        raw.write_text(text)
        split_corpus([str(raw)], corpus, config)
        for shard in corpus.shards():
            count_shard(shard, corpus.counts(shard.name), unit)
        dictionary = build_dictionary(corpus, DictionaryConfig(coverage=coverage), unit)
    return corpus, dictionary


LATIN = "".join(f"line {number} of plain letters\n" for number in range(400))
GREEK = "".join(f"γραμμή {number}\n" for number in range(4000))


# ---- counting ------------------------------------------------------------------------------------------------------


@given(
    text=st.text(st.one_of(st.sampled_from("\n\r ab"), st.characters(exclude_categories=["Cs"])), max_size=300),
    chunk=st.integers(1, 50),
)
def test_counts_are_those_of_the_text_with_universal_newlines(
    text: str, chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("count") / "text"
    path.write_bytes(text.encode())
    read = text.replace("\r\n", "\n").replace("\r", "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charlm.text.corpus.chunks.CHUNK_BYTES", chunk)
        characters, octets = count_text(path, "char"), count_text(path, "byte")
    assert characters.to_dict() == Counter(read)
    assert octets.to_dict() == Counter(read.encode().decode("latin-1"))


FEW = st.sampled_from([0, 2])
"""No text, or every text, has few bytes beyond ASCII."""


def counted(*chunks: bytes, few: float) -> dict[str, int]:
    counter = CharacterUnit().counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charlm.arrays.masks.FEW", 0)
        patch.setattr("charlm.arrays.utf8._SHORT_BYTES", 0)
        patch.setattr("charlm.units.code_points._FEW_TO_COUNT", few)
        for chunk in chunks:
            counter.add(chunk)
    return counter.counts.to_dict()


SCRIPTS = ["абвгд", "अआइ", "กขค", "あいう", "日本語漢字", "가나다", "😀𐍈", "éü", "—…", "\u2fff\u3000\ufeff", "ab \n"]


@given(
    text=st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=4).flatmap(lambda s: st.text("".join(s), min_size=1)),
    few=FEW,
)
def test_counts_of_any_mixture_of_scripts_are_exact(text: str, few: float) -> None:
    assert counted(text.encode(), text.encode(), few=few) == Counter(text + text)


@given(
    text=st.text("".join(SCRIPTS), min_size=1, max_size=40),
    place=st.integers(0, 200),
    octet=st.sampled_from([0x20, 0x80, 0xA0, 0xBF, 0xC0, 0xD0, 0xE0, 0xE3, 0xED, 0xF0, 0xF4, 0xFF]),
    is_added=st.booleans(),
    few=FEW,
)
def test_one_wrong_byte_is_found(text: str, place: int, octet: int, is_added: bool, few: float) -> None:
    chunk = bytearray(text.encode())
    place %= len(chunk)
    chunk[place : place + (not is_added)] = bytes([octet])
    try:
        expected = Counter(chunk.decode())
    except UnicodeDecodeError:
        with pytest.raises(UnicodeError):
            counted(bytes(chunk), few=few)
    else:
        assert counted(bytes(chunk), few=few) == expected


def test_counts_of_shards_are_written_once_and_merged_by_rank(tmp_path: Path) -> None:
    for name, text in (("one", "aab\n"), ("two", "bé\n")):
        (tmp_path / name).write_text(text)
    parts = [tmp_path / f"{name}.parquet" for name in ("one", "two")]
    assert [count_shard(part.with_suffix(""), part, "char") for part in parts] == [True, True]
    assert [count_shard(part.with_suffix(""), part, "char") for part in parts] == [False, False]
    assert pq.read_table(parts[0]).to_pydict() == {"character": ["\n", "a", "b"], "count": [1, 2, 1]}
    merge_counts(parts, tmp_path / "total.parquet", "char")
    assert pq.read_table(tmp_path / "total.parquet").to_pydict() == {
        "character": ["\n", "a", "b", "é"],
        "count": [2, 2, 2, 1],
        "rank": [1, 2, 3, 4],
        "cumulative_share": [2 / 7, 4 / 7, 6 / 7, 1.0],
    }
    (tmp_path / "one").write_text("changed\n")
    assert count_shard(tmp_path / "one", parts[0], "char") is True


def test_counts_of_any_number_of_shards_add_up_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = []
    for number in range(50):
        (tmp_path / f"{number}").write_text(f"{chr(0x3040 + number)}{'abc'[: number % 4]}\n" * (number + 1))
        parts.append(tmp_path / f"{number}.parquet")
        count_shard(parts[-1].with_suffix(""), parts[-1], "char")
    merge_counts(parts, tmp_path / "at-once.parquet", "char")
    monkeypatch.setattr(counting, "_ITEMS_AT_ONCE", 5)
    merge_counts(parts, tmp_path / "in-turn.parquet", "char")
    assert (tmp_path / "in-turn.parquet").read_bytes() == (tmp_path / "at-once.parquet").read_bytes()
    expected = Counts.merge([*map(read_counts, parts)]).ranked()
    assert read_counts(tmp_path / "in-turn.parquet").to_dict() == expected.to_dict()


def test_memory_does_not_grow_with_the_number_of_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_ITEMS_AT_ONCE", 10_000)

    def peak_of(num_parts: int) -> int:
        """Bytes of Arrow at most, while counts of the same thousand words are read."""
        before = peak = pa.total_allocated_bytes()

        def parts() -> Iterator[Counts]:
            nonlocal peak
            for _ in range(num_parts):
                yield Counts(
                    strings([f"a word that is number {number}" for number in range(1_000)]), np.ones(1_000, int)
                )
                peak = max(peak, pa.total_allocated_bytes())

        total = counting._sum_of(parts())
        assert (len(total.items), total.total) == (1_000, num_parts * 1_000)
        return peak - before

    assert peak_of(300) < 1.5 * peak_of(30) < 10_000_000


def test_missing_counts_and_text_that_is_not_utf8_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"gone\.parquet is missing or damaged"):
        read_counts(tmp_path / "gone.parquet")
    (tmp_path / "bad").write_bytes(b"\xff\n")
    with pytest.raises(CorpusError, match="bad is not UTF-8"):
        count_shard(tmp_path / "bad", tmp_path / "bad.parquet", "char")


# ---- choosing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "config", "items"),
    [
        ("aaaabbbccd", {"coverage": 1.0}, "abcd\n "),
        ("aaaabbbccd", {"coverage": 0.7}, "ab\n "),  # 4 + 3 of 10 reach 0.7 exactly
        ("aaaabbbccd", {"coverage": 0.71}, "abc\n "),  # the one that crosses is kept
        ("aaaabbbccd", {"coverage": 0.1}, "a\n "),
        ("aaaa bb\nc", {"coverage": 0.4}, "a\n "),  # newline and space keep their places in the order
        ("bbaa", {"coverage": 1.0}, "ab\n "),  # equal counts by code point
        ("aaaabbbccd", {"coverage": 1.0, "min_count": 2}, "abc\n "),
        ("aaaabbbccd", {"coverage": 1.0, "max_size": 5}, "ab\n "),
        ("    \n\n\nab", {"coverage": 1.0, "max_size": 4}, " \na"),
    ],
)
def test_kept_are_the_most_frequent_until_the_coverage_is_reached(
    text: str, config: dict[str, float], items: str
) -> None:
    assert kept(text, **config) == items


# ---- the dictionary ------------------------------------------------------------------------------------------------


def test_the_dictionary_of_a_corpus_counts_its_train_text_alone(tmp_path: Path) -> None:
    corpus, dictionary = prepare(tmp_path, LATIN, coverage=1.0)
    counter = Counter("".join(shard.read_text() for shard in corpus.shards()))
    ranked = sorted(counter, key=lambda character: (-counter[character], character))
    assert dictionary.get_items() == ["<unk>", *ranked]


def test_the_dictionary_folder_has_a_file_for_us_one_for_flair_and_one_for_eyes(tmp_path: Path) -> None:
    corpus, dictionary = prepare(tmp_path, LATIN)
    assert Dictionary.load_from_file(corpus.dictionary) == dictionary
    mappings = pickle.loads(corpus.char_mappings.read_bytes())
    assert mappings == {"idx2item": dictionary.idx2item, "item2idx": dictionary.item2idx}
    assert mappings["idx2item"][0] == b"<unk>"
    rows = [line.split("\t") for line in corpus.characters_tsv.read_text().splitlines()]
    assert rows[0] == ["id", "character", "code_point", "name", "count", "cumulative_share", "kept"]
    space = next(row for row in rows if row[3] == "SPACE")
    assert (space[2], space[6], dictionary.idx2item[int(space[0])]) == ("U+0020", "yes", b" ")
    assert {row[6] for row in rows[1:]} == {"yes", "no"}
    plot = ElementTree.parse(corpus.coverage_plot).getroot()
    shown = [element.text for element in plot if element.tag.endswith("text")]
    assert f"dictionary: {len(dictionary) - 1}" in shown
    assert "coverage 0.99" in shown
    assert [label for label in shown if label.endswith("%")][:4] == ["100%", "10%", "1%", "0.1%"]


def test_the_table_for_eyes_is_one_line_a_character_whatever_it_is() -> None:
    text = "".join(map(chr, range(0x20))) + "\x7f\x85\u2028\u200b\ud7ff\U0001f600é "
    table = items_table(counts_of(text), Dictionary.from_items([]))
    rows = table.split("\n")[1:-1]
    assert len(rows) == len(table.splitlines()) - 1 == len(set(text))
    assert all(row.count("\t") == 6 for row in rows)
    assert {row.split("\t")[3] for row in rows} == {unicodedata.name(character, "") for character in set(text)}


def test_the_dictionary_is_frozen_when_it_is_built(tmp_path: Path) -> None:
    corpus, dictionary = prepare(tmp_path, LATIN, GREEK)
    assert dictionary == load_dictionary(corpus)
    assert "γ".encode() not in dictionary.item2idx
    assert max(read_counts(corpus.total_counts).to_dict()) > "\u03b0"  # the counts go on
    with pytest.raises(CorpusError, match=r"'letters' was built with coverage=0.99, got 0.5"):
        build_dictionary(corpus, DictionaryConfig(coverage=0.5), "char")


def test_extending_the_dictionary_keeps_every_old_id(tmp_path: Path) -> None:
    corpus, old = prepare(tmp_path, LATIN, GREEK)
    items, record = list(old.idx2item), load_manifest(corpus).dictionary
    new = extend_dictionary(corpus)
    assert new.idx2item[: len(items)] == items
    assert "γ".encode() in new.item2idx
    assert load_dictionary(corpus) == new
    now = load_manifest(corpus).dictionary
    assert record is not None
    assert now is not None
    assert (now.size, now.fingerprint != record.fingerprint) == (len(new), True)
    before = corpus.manifest.read_bytes()
    assert extend_dictionary(corpus) == new
    assert corpus.manifest.read_bytes() == before


def test_building_again_leaves_equal_bytes(tmp_path: Path) -> None:
    found = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        corpus, _ = prepare(tmp_path / place, LATIN)
        files = sorted(path for path in corpus.root.rglob("*") if path.is_file())
        found.append({path.name: path.read_bytes() for path in files})
    assert found[0] == found[1]
    assert len(found[0]) >= 9


def test_a_dictionary_of_bytes_is_built_and_loaded(tmp_path: Path) -> None:
    corpus, dictionary = prepare(tmp_path, GREEK, unit="byte", coverage=1.0)
    assert all(len(item) == 1 for item in dictionary.idx2item[1:])
    assert dictionary.decode(dictionary.encode("γραμμή 1\n").tolist()) == "γραμμή 1\n"
    assert load_dictionary(corpus) == dictionary


def test_a_dictionary_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    corpus, _ = prepare(tmp_path, LATIN)
    value = json.loads(corpus.dictionary.read_text())
    value["items"].reverse()
    corpus.dictionary.write_text(json.dumps(value))
    with pytest.raises(DictionaryError, match=r"is not the dictionary that corpus\.json names"):
        load_dictionary(corpus)
