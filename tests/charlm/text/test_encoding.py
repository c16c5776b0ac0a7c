"""Encoded files hold the ids that Flair reads; shuffling, case flips and reversal happen on them as Flair does."""

import json
import math
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charlm.artifacts import CorpusFiles
from charlm.config import DictionaryConfig, SplitConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import CorpusError, DictionaryError
from charlm.storage.fingerprints import sha256_of
from charlm.text.corpus import augmentation
from charlm.text.corpus.augmentation import training_ids
from charlm.text.corpus.counting import build_dictionary, count_shard
from charlm.text.corpus.encoding import (
    encode_file,
    encoded_info,
    ensure_encoded,
    read_ids,
    read_lengths,
    read_unknown_bits,
    record_unk_rate,
)
from charlm.text.corpus.manifest import load_manifest
from charlm.text.corpus.splitting import split_corpus
from tests.conftest import ROOT
from tests.flair import text_ids

GOLDEN = ROOT / "tests" / "golden" / "text_ids.json"


def as_flair_reads(text: str) -> list[str]:
    """The lines of a text by Flair's rule: universal newlines, empty lines dropped, each with its newline."""
    return [line + "\n" for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line]


def encode(folder: Path, text: str, dictionary: Dictionary) -> Path:
    (folder / "text").write_bytes(text.encode())
    encode_file(folder / "text", folder / "text.arrow", dictionary)
    return folder / "text.arrow"


def prepare(folder: Path, text: str, **settings: str) -> CorpusFiles:
    folder.parent.mkdir(parents=True, exist_ok=True)
    raw = folder.with_suffix(".txt")
    raw.write_bytes(text.encode())
    corpus = CorpusFiles(folder)
    config = SplitConfig(document="line", valid_share=0.25, test_share=0.25, normalize_newlines=False, **settings)
    split_corpus([str(raw)], corpus, config)
    for shard in corpus.shards():
        count_shard(shard, corpus.counts(shard.name), config.unit)
    build_dictionary(corpus, DictionaryConfig(coverage=0.97), config.unit)
    return corpus


# ---- Flair ---------------------------------------------------------------------------------------------------------


def our_ids(corpora: Path) -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = {}
    for script, text in text_ids.TEXTS.items():
        corpus = prepare(corpora / script, text)
        dictionary = Dictionary.load_from_file(corpus.char_mappings)
        files = ensure_encoded(corpus, Dictionary.load_from_file(corpus.dictionary))
        found[script] = {
            direction: {
                name: " ".join(
                    map(
                        str,
                        training_ids(
                            path,
                            dictionary,
                            seed=1,
                            shuffle=False,
                            random_case_flip=False,
                            is_forward_lm=direction == "forward",
                        ).tolist(),
                    )
                )
                for name, path in files.items()
            }
            for direction in ("forward", "backward")
        }
    return found


def test_ids_are_those_that_flair_reads_in_every_script_and_direction(tmp_path: Path) -> None:
    assert our_ids(tmp_path) == json.loads(GOLDEN.read_text())


@pytest.mark.flair
def test_golden_ids_are_what_flair_reads_today(tmp_path: Path) -> None:
    python = Path(os.environ.get("CHARLM_FLAIR_PYTHON", ".venv-flair/bin/python"))
    if not python.exists():
        pytest.skip(f"no Flair environment at {python}; make test-flair builds one")
    expected = our_ids(tmp_path)
    output = tmp_path / "ids.json"
    subprocess.run([python, text_ids.__file__, tmp_path, output], check=True, capture_output=True)
    assert json.loads(output.read_text()) == expected == json.loads(GOLDEN.read_text())


FEW = st.sampled_from([0, 2])
"""No text, or every text, has few bytes beyond ASCII."""


# ---- encoding ------------------------------------------------------------------------------------------------------


@given(
    text=st.text(st.one_of(st.sampled_from("\n\n\r ab"), st.characters(exclude_categories=["Cs"])), max_size=300),
    known=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    has_newline=st.booleans(),
    few=FEW,
    chunk=st.integers(1, 40),
    batch=st.integers(1, 100),
)
def test_ids_of_any_text_are_those_of_its_lines(
    text: str,
    known: str,
    has_newline: bool,
    few: float,
    chunk: int,
    batch: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("encode")
    dictionary = Dictionary.from_items([*"\n"[:has_newline], " ", "a", *known.replace("\n", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charlm.arrays.masks.FEW", 0)
        patch.setattr("charlm.arrays.utf8._SHORT_BYTES", 0)
        patch.setattr("charlm.units.code_points._FEW_TO_ENCODE", few)
        patch.setattr("charlm.text.corpus.chunks.CHUNK_BYTES", chunk)
        patch.setattr("charlm.text.corpus.encoding._UNITS_PER_BATCH", batch)
        path = encode(folder, text, dictionary)
    lines = as_flair_reads(text)
    ids = [dictionary.get_idx_for_item(character) for line in lines for character in line]
    assert read_ids(path).tolist() == ids
    info = encoded_info(path, dictionary)
    assert (info.lines, info.units, info.unknown) == (len(lines), len(ids), ids.count(0))
    assert info.bytes == len("".join(lines).encode())
    assert info.source == sha256_of(folder / "text")
    assert info.dictionary == dictionary.fingerprint


SPARSE = st.lists(
    st.one_of(
        st.just("plain text, a line of it\n" * 9),
        st.sampled_from(["\n\n", "é", "ß", "日本", "😀", "\u0080", "\uffff", "\U0010ffff"]),
    ),
    max_size=40,
).map("".join)


@given(text=SPARSE)
def test_few_characters_beyond_ascii_are_encoded_like_many(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    dictionary = Dictionary.from_items(["\n", *"abcdefghijklmnopqrstuvwxyz, é日😀\uffff"])
    path = encode(tmp_path_factory.mktemp("sparse"), text, dictionary)
    assert read_ids(path).tolist() == [
        dictionary.get_idx_for_item(character) for line in as_flair_reads(text) for character in line
    ]


@given(text=SPARSE, bad=st.binary(min_size=1, max_size=3), place=st.integers(0, 1_000), few=FEW)
@example(text="", bad=b"\xc3a\xa9", place=0, few=2)
@example(text="é", bad=b"\xa9", place=0, few=2)
def test_bytes_that_are_not_utf8_are_found_between_plain_text(
    text: str, bad: bytes, place: int, few: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = text.encode()
    data = data[:place] + bad + data[place:] + b"plain\n" * 50
    path = tmp_path_factory.mktemp("bad") / "text"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charlm.arrays.masks.FEW", 0)
        patch.setattr("charlm.arrays.utf8._SHORT_BYTES", 0)
        patch.setattr("charlm.units.code_points._FEW_TO_ENCODE", few)
        try:
            data.decode()
        except UnicodeDecodeError:
            with pytest.raises(CorpusError, match="is not UTF-8"):
                encode_file(path, path.with_suffix(".arrow"), Dictionary.from_items(["\n"]))
        else:
            encode_file(path, path.with_suffix(".arrow"), Dictionary.from_items(["\n"]))


@pytest.mark.parametrize(("num_items", "kind"), [(100, "uint8"), (255, "uint8"), (256, "uint16"), (70_000, "uint32")])
def test_ids_take_the_smallest_type_that_holds_them(num_items: int, kind: str, tmp_path: Path) -> None:
    first = 0x10000  # beyond the surrogates
    dictionary = Dictionary.from_items(["\n", *(chr(first + number) for number in range(num_items - 1))])
    text = "\n" + chr(first) + chr(first + num_items - 2) + "\n"
    ids = read_ids(encode(tmp_path, text, dictionary))
    assert (ids.dtype, ids.tolist()) == (np.dtype(kind), [2, num_items, 1])


def test_bytes_are_a_unit_too(tmp_path: Path) -> None:
    dictionary = Dictionary.from_items([b"\n", b"a", b"\xc3"], unit="byte")
    path = encode(tmp_path, "aß\n\nb\n", dictionary)
    assert read_ids(path).tolist() == [2, 3, 0, 1, 0, 1]
    info = encoded_info(path, dictionary)
    assert (info.units, info.bytes, info.unknown, info.unknown_bits) == (6, 6, 2, 16.0)


@pytest.mark.parametrize(("unit", "bits"), [("char", 2 * math.log2(1_114_112)), ("byte", 3 * 8.0)])
def test_a_file_of_an_older_version_is_read_and_not_encoded_again(unit: Any, bits: float, tmp_path: Path) -> None:
    """It does not say what its unknown items cost."""
    dictionary = Dictionary.from_items([b"\n", b"a"], unit=unit)
    path = encode(tmp_path, "aßb\n", dictionary)
    info = encoded_info(path, dictionary)
    assert info.unknown_bits == bits
    with pa.ipc.open_stream(path.read_bytes()) as stream:
        batches = list(stream)
        old = {key: value for key, value in stream.schema.metadata.items() if key != b"charlm.unknown_bits"}
    with path.open("wb") as file, pa.ipc.new_stream(file, batches[0].schema.with_metadata(old)) as stream:
        for batch in batches:
            stream.write_batch(batch)
    assert encoded_info(path, dictionary) == info
    assert encode_file(tmp_path / "text", path, dictionary).reused is True


def test_the_file_is_an_arrow_stream_of_lines_that_others_can_open(tmp_path: Path) -> None:
    path = encode(tmp_path, "ab\n\nb\n", Dictionary.from_items(["\n", "a", "b"]))
    with pa.ipc.open_stream(pa.memory_map(str(path))) as stream:
        table = stream.read_all()
    assert table["ids"].to_pylist() == [[2, 3, 1], [3, 1]]
    assert table.schema.field("ids").type == pa.large_list(pa.uint8())


def test_equal_text_leaves_equal_bytes(tmp_path: Path) -> None:
    dictionary = Dictionary.from_items(["\n", "a"])
    first = encode(tmp_path, "ab\nba\n", dictionary).read_bytes()
    (tmp_path / "text.arrow").unlink()
    assert encode(tmp_path, "ab\nba\n", dictionary).read_bytes() == first


def test_a_file_is_encoded_again_only_when_its_text_or_the_dictionary_changed(tmp_path: Path) -> None:
    dictionary = Dictionary.from_items(["\n", "a"])
    text, encoded = tmp_path / "text", tmp_path / "text.arrow"
    text.write_text("aa\n")
    assert [encode_file(text, encoded, dictionary).reused for _ in range(2)] == [False, True]
    dictionary.add_item("b")
    assert [encode_file(text, encoded, dictionary).reused for _ in range(2)] == [False, True]
    text.write_text("ab\n")
    assert [encode_file(text, encoded, dictionary).reused for _ in range(2)] == [False, True]
    encoded.write_bytes(encoded.read_bytes()[:100])
    assert encode_file(text, encoded, dictionary).reused is False
    assert read_ids(encoded).tolist() == [2, 3, 1]


def test_what_is_missing_damaged_or_not_utf8_is_named(tmp_path: Path) -> None:
    dictionary = Dictionary.from_items(["\n", "a"])
    for read in (lambda path: encoded_info(path, dictionary), read_ids, read_lengths, read_unknown_bits):
        with pytest.raises(CorpusError, match=r"gone\.arrow is missing or damaged"):
            read(tmp_path / "gone.arrow")
    (tmp_path / "text").write_bytes(b"\xff\n")
    with pytest.raises(CorpusError, match="text is not UTF-8"):
        encode_file(tmp_path / "text", tmp_path / "text.arrow", dictionary)
    assert not (tmp_path / "text.arrow").exists()
    with pytest.raises(DictionaryError, match="first item is <unk>"):
        encode_file(tmp_path / "text", tmp_path / "text.arrow", Dictionary(add_unk=False))


# ---- a corpus ------------------------------------------------------------------------------------------------------


def test_any_folder_of_flairs_layout_is_encoded(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for name in ("train/part-b", "train/part-a", "valid.txt", "test.txt"):
        (tmp_path / name).write_text(f"{name}\n")
    dictionary = Dictionary.from_items(["\n", *"/.-abdeilnprstvx"])
    files = ensure_encoded(CorpusFiles(tmp_path), dictionary)
    assert list(files) == ["part-a", "part-b", "valid", "test"]
    assert dictionary.decode(read_ids(files["valid"]).tolist()) == "valid.txt\n"
    assert list(ensure_encoded(CorpusFiles(tmp_path), dictionary, ["test"])) == ["test"]
    with pytest.raises(CorpusError, match="has no split 'dev'; it has part-a, part-b, valid, test"):
        ensure_encoded(CorpusFiles(tmp_path), dictionary, ["dev"])
    (tmp_path / "test.txt").unlink()
    with pytest.raises(CorpusError, match=r"test\.txt is missing"):
        ensure_encoded(CorpusFiles(tmp_path), dictionary)


def test_the_share_of_unknown_held_out_units_stands_in_the_manifest(tmp_path: Path) -> None:
    corpus = prepare(tmp_path / "mixed", text_ids.TEXTS["mixed"])
    dictionary = Dictionary.load_from_file(corpus.dictionary)
    ensure_encoded(corpus, dictionary, ["valid", "test"])
    held_out = "".join(as_flair_reads(corpus.valid.read_bytes().decode() + corpus.test.read_bytes().decode()))
    unknown = sum(character.encode() not in dictionary.item2idx for character in held_out)
    assert unknown > 0
    assert record_unk_rate(corpus, dictionary) == unknown / len(held_out)
    record = load_manifest(corpus).dictionary
    assert record is not None
    assert record.unk_rate == unknown / len(held_out)


# ---- reading for training ------------------------------------------------------------------------------------------

LETTERS = Dictionary.from_items(["\n", " ", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"])


def lines_of(path: Path, dictionary: Dictionary = LETTERS, seed: int = 1, *, flips: bool = False) -> list[str]:
    ids = training_ids(path, dictionary, seed=seed, shuffle=True, random_case_flip=flips, is_forward_lm=True)
    return dictionary.decode(ids.tolist()).splitlines(keepends=True)


def test_lines_are_shuffled_and_a_seed_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charlm.text.corpus.encoding._UNITS_PER_BATCH", 50)  # lines are shuffled across record batches
    monkeypatch.setattr("charlm.text.corpus.chunks.CHUNK_BYTES", 20)
    lines = [f"line {number}\n" for number in range(200)]
    path = encode(tmp_path, "".join(lines), LETTERS)
    assert lines_of(path) == lines_of(path)
    assert lines_of(path) != lines_of(path, seed=2)
    assert Counter(lines_of(path)) == Counter(lines)


def test_every_order_of_lines_is_equally_likely(tmp_path: Path) -> None:
    path = encode(tmp_path, "a\nb\nc\n", LETTERS)
    orders = Counter("".join(lines_of(path, seed=seed)) for seed in range(1200))
    assert len(orders) == 6
    assert all(150 < number < 250 for number in orders.values())  # 200 expected, four standard deviations


def test_a_backward_model_reads_the_same_from_the_end(tmp_path: Path) -> None:
    path = encode(tmp_path, "".join(f"line {number}\n" for number in range(100)), LETTERS)
    forward, backward = (
        training_ids(path, LETTERS, seed=3, shuffle=True, random_case_flip=True, is_forward_lm=is_forward)
        for is_forward in (True, False)
    )
    assert forward[::-1].tolist() == backward.tolist()
    assert backward.flags.c_contiguous
    assert forward.dtype == backward.dtype == np.uint8


def test_one_line_in_a_hundred_is_lowered_and_one_raised(tmp_path: Path) -> None:
    path = encode(tmp_path, "Some Words\n" * 20_000, LETTERS)
    counts = Counter(lines_of(path, flips=True))
    assert set(counts) == {"Some Words\n", "some words\n", "SOME WORDS\n"}
    assert all(140 < counts[line] < 260 for line in ("some words\n", "SOME WORDS\n"))  # 200 expected


@pytest.mark.parametrize("side", ["lower", "upper"])
@given(line=st.text(st.sampled_from("aAzZßẞéÉЖжΣσςΟοΣ İıIiǅŉ12 .'\u0301\u00ad"), min_size=1, max_size=30))
def test_a_flipped_line_is_what_python_makes_of_it(
    side: str, line: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    characters = sorted(set("aAzZßẞéÉЖжΣσςΟοİıIiǅǆǄŉʼN12 .'\u0301\u00ad\n"))
    dictionary = Dictionary.from_items(characters)
    path = encode(tmp_path_factory.mktemp("flip"), line + "\n", dictionary)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augmentation, "_FLIP_SIDES", 1)
        patch.setattr(augmentation, "_LOWER", 0 if side == "lower" else -1)
        patch.setattr(augmentation, "_UPPER", 0 if side == "upper" else -1)
        ids = training_ids(path, dictionary, seed=1, shuffle=False, random_case_flip=True, is_forward_lm=True)
    change = getattr(str, side)
    # Where a mapping grows, the character stays; the others come out as Python's str.lower and str.upper have them.
    grows = {character for character in characters if len(change(character)) > 1}
    stand_in = "I" if side == "lower" else "ı"
    expected = list(change("".join(stand_in if character in grows else character for character in line)))
    for place, character in enumerate(line):
        if character in grows:
            expected[place] = character
    assert dictionary.decode(ids.tolist()) == "".join(expected) + "\n"


def test_a_case_that_the_dictionary_lacks_becomes_unknown_and_unknown_stays(tmp_path: Path) -> None:
    dictionary = Dictionary.from_items(["\n", "a", "A", "b"])
    path = encode(tmp_path, "abc\n" * 3000, dictionary)
    ids = training_ids(path, dictionary, seed=1, shuffle=False, random_case_flip=True, is_forward_lm=True)
    assert set(map(tuple, ids.reshape(-1, 4).tolist())) == {(2, 4, 0, 1), (3, 0, 0, 1)}


def test_of_the_byte_unit_only_ascii_letters_are_flipped(tmp_path: Path) -> None:
    dictionary = Dictionary.from_items([b"\n", b"a", b"A", b"\xc3", b"\xa4", b"\x84"], unit="byte")
    path = encode(tmp_path, "aä\n" * 3000, dictionary)
    ids = training_ids(path, dictionary, seed=1, shuffle=False, random_case_flip=True, is_forward_lm=True)
    assert set(map(tuple, ids.reshape(-1, 4).tolist())) == {(2, 4, 5, 1), (3, 4, 5, 1)}


def test_an_empty_file_gives_no_ids(tmp_path: Path) -> None:
    path = encode(tmp_path, "\n\n", LETTERS)
    assert read_ids(path).tolist() == []
    assert training_ids(path, LETTERS, seed=1, shuffle=True, random_case_flip=True, is_forward_lm=False).tolist() == []
