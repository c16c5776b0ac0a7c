"""The dictionary maps items and ids both ways, reads Flair's file, and trusts no other."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.dictionary import UNK, Dictionary
from charlm.errors import DictionaryError
from charlm.units.id_table import IdTable


def test_ids_are_given_in_order_after_unk() -> None:
    dictionary = Dictionary()
    assert [dictionary.add_item(item) for item in ("a", b"\xc3\xa9", "é", "a")] == [1, 2, 2, 1]
    assert dictionary.idx2item == [UNK, b"a", "é".encode()]
    assert dictionary.item2idx == {UNK: 0, b"a": 1, "é".encode(): 2}
    assert dictionary.get_idx_for_items(["é", "?"]) == [2, 0]
    assert dictionary.get_items() == ["<unk>", "a", "é"]
    assert len(dictionary) == 3


def test_the_first_items_are_shown_as_tags_as_in_flair() -> None:
    dictionary = Dictionary()
    for item in ("NOUN", "PUNCT"):
        dictionary.add_item(item)
    assert str(dictionary) == "Dictionary with 3 tags: <unk>, NOUN, PUNCT"
    for number in range(60):
        dictionary.add_item(str(number))
    assert str(dictionary).endswith(", 46, …")


def test_without_unk_an_unknown_item_is_an_error() -> None:
    labels = Dictionary(add_unk=False)
    assert labels.add_item("PER") == 0
    with pytest.raises(DictionaryError, match="'LOC' is not in the dictionary"):
        labels.get_idx_for_item("LOC")


@given(known=st.sets(st.characters(exclude_categories=["Cs"]), max_size=30), text=st.text(max_size=60))
def test_text_is_encoded_as_item_by_item(known: set[str], text: str) -> None:
    dictionary = Dictionary.from_items(sorted(known))
    assert dictionary.encode(text).tolist() == [
        0 if 0xD800 <= ord(character) < 0xE000 else dictionary.get_idx_for_item(character) for character in text
    ]
    shown = "".join(character if character in known else "\N{REPLACEMENT CHARACTER}" for character in text)
    assert dictionary.decode(dictionary.encode(text).tolist()) == shown


@pytest.mark.parametrize(("size", "kind"), [(0, "uint8"), (255, "uint8"), (256, "uint16")])
def test_ids_have_the_smallest_type_that_holds_them(size: int, kind: str) -> None:
    dictionary = Dictionary.from_items(chr(0x4E00 + number) for number in range(size))
    assert dictionary.id_type == np.dtype(kind)


@pytest.mark.parametrize("unit", ["char", "byte"])
@pytest.mark.parametrize("name", ["dictionary.json", "char_mappings"])
def test_both_files_bring_the_same_dictionary_back(unit: Any, name: str, tmp_path: Path) -> None:
    items = ["\n", " ", "ß", "世"] if unit == "char" else [b"\n", b"\xff", b"\x80"]
    dictionary = Dictionary.from_items(items, unit=unit)
    dictionary.save(tmp_path / name)
    assert b"charlm.data" not in (tmp_path / name).read_bytes()  # plain containers alone, no class of ours
    loaded = Dictionary.load_from_file(tmp_path / name)
    assert loaded.idx2item == dictionary.idx2item
    assert loaded.item2idx == dictionary.item2idx
    if name == "dictionary.json":
        assert (loaded, loaded.fingerprint) == (dictionary, dictionary.fingerprint)


def test_tutorial_files_with_str_items_are_read(tmp_path: Path) -> None:
    path = tmp_path / "char_mappings"
    path.write_bytes(pickle.dumps({"idx2item": ["<unk>", "ä"], "item2idx": {"<unk>": 0, "ä": 1}}, protocol=2))
    assert Dictionary.load_from_file(path).idx2item == [UNK, "ä".encode()]


class _Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"idx2item": _Evil()}),
        pickle.dumps(_Evil()),
        b"\x80\x04cos\nsystem\n.",
        b"\x80\x04N.",
        pickle.dumps({"idx2item": [1, 2]}),
        pickle.dumps({"idx2item": [b"a", b"a"]}),
        b"",
        b"garbage",
        b"{",
        b'{"format": "other"}',
        json.dumps({"format": "charlm.dictionary/1", "unit": "char", "items": ["a", "a"]}).encode(),
        json.dumps({"format": "charlm.dictionary/1", "unit": "word", "items": []}).encode(),
    ],
)
def test_a_file_that_is_no_plain_dictionary_is_refused_and_nothing_is_executed(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "char_mappings"
    path.write_bytes(content)
    with pytest.raises(DictionaryError, match="char_mappings is not a dictionary") as caught:
        Dictionary.load_from_file(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


@given(content=st.binary(max_size=80))
def test_no_bytes_at_all_do_harm(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "char_mappings"
    path.write_bytes(b"\x80\x04" + content)
    with pytest.raises(DictionaryError):
        Dictionary.load_from_file(path)


def test_a_missing_file_is_named_and_a_name_is_looked_up_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DictionaryError, match=r"cannot read the dictionary .*gone: No such file"):
        Dictionary.load_from_file(tmp_path / "gone")
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path))
    with pytest.raises(DictionaryError, match=r"no dictionary 'common-chars'.*put the file in .*CHARLM_CACHE"):
        Dictionary.load("common-chars")
    Dictionary.from_items("ab").save(tmp_path / "common-chars")
    assert Dictionary.load("common-chars").get_items() == ["<unk>", "a", "b"]
    assert {"a", "ß", "я", "€", "\n"} <= set(Dictionary.load("chars").get_items())


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_the_table_of_ids_is_made_once_and_again_when_an_item_is_added(
    unit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dictionary = Dictionary.from_items([b"a"], unit=unit)
    made: list[int] = []
    make = IdTable.__init__

    def count(self: IdTable, items: Any, id_type: Any) -> None:
        made.append(len(items))
        make(self, items, id_type)

    monkeypatch.setattr(IdTable, "__init__", count)
    assert [dictionary.encode("ab").tolist() for _ in range(3)] == [[1, 0]] * 3
    assert made == [2]
    dictionary.add_item(b"b")
    assert [dictionary.encode("ab").tolist() for _ in range(3)] == [[1, 2]] * 3
    assert made == [2, 3]
    dictionary.add_item(b"b")  # known
    dictionary.encode("ab")
    assert made == [2, 3]


def test_an_unknown_unit_in_a_file_is_named(tmp_path: Path) -> None:
    content = {"format": "charlm.dictionary/1", "unit": "syllable", "items": ["<unk>"]}
    (tmp_path / "dictionary.json").write_text(json.dumps(content))
    with pytest.raises(DictionaryError, match="a unit is one of char, byte, word; got 'syllable'"):
        Dictionary.load_from_file(tmp_path / "dictionary.json")


@pytest.mark.parametrize(
    ("items", "unit", "extends"), [("abc", "char", True), ("acb", "char", False), ("a", "char", False)]
)
def test_a_dictionary_extends_another_whose_items_it_begins_with(items: str, unit: Any, extends: bool) -> None:
    assert Dictionary.from_items(items, unit=unit).extends(Dictionary.from_items("ab")) is extends
    assert not Dictionary.from_items("abc", unit="byte").extends(Dictionary.from_items("ab"))
