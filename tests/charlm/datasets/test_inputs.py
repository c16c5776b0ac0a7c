"""Texts to embed and to label are recognized by the rules of labelled data."""

import pytest

from charlm.datasets.inputs import find_input_format, read_inputs
from charlm.datasets.lines import ReadingRules
from charlm.errors import CharLMError
from tests.charlm.datasets.test_reading_rules import CONLLU, put


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("in.txt", "I love Berlin.\n\nNew York\n", [["I", "love", "Berlin", "."], ["New", "York"]]),
        ("in.txt", "# a heading\nNew York\nOld O\n", [["#", "a", "heading"], ["New", "York"], ["Old", "O"]]),
        ("in.txt", "a, b\nc, d\n", [["a", ",", "b"], ["c", ",", "d"]]),
        ("in.conll", "-DOCSTART- -X- O\n\nBerlin _ B-LOC\n\n# c\nRome _ B-LOC\n", [["Berlin"], ["Rome"]]),
        ("in.CONLL", "Berlin\nRome\n", [["Berlin", "Rome"]]),
        ("in.txt", "-DOCSTART- O\n\nBerlin B-LOC\nis O\n", [["Berlin", "is"]]),
        ("in.txt", "Berlin\tB-LOC\nis\tO\n\nRome\tB-LOC\n", [["Berlin", "is"], ["Rome"]]),
        ("in.txt", CONLLU, [["In", "dem", "Zug"]]),
        ("in.txt", "__label__a Go home\n__label__b Stay\n", [["Go", "home"], ["Stay"]]),
        ("in.jsonl", '{"text": "Go home", "label": 1}\n{"text": ["Stay", "Go"]}\n', [["Go", "home"], ["Stay"], ["Go"]]),
        ("in.csv", "label,text\nham,Go home\n", [["Go", "home"]]),
        ("in.txt", "__label__a,Go home\n__label__b,Stay\n", [["Go", "home"], ["Stay"]]),
        ("in.txt", "\ufeffGo home\r\n", [["Go", "home"]]),
    ],
)
def test_texts_to_embed_follow_the_same_rules(tmp_path, name, content, expected):
    assert [item.sentence.words for item in read_inputs(put(tmp_path, content, name))] == expected


def test_texts_without_words_are_counted(tmp_path, caplog):
    path = put(tmp_path, '{"text": "Go"}\n{"text": " "}\n', "in.jsonl")
    assert [item.sentence.words for item in read_inputs(path)] == [["Go"]]
    assert "in.jsonl: 1 texts without words are left out" in caplog.text


def test_texts_to_embed_may_be_in_another_encoding(tmp_path):
    path = put(tmp_path, "Zürich ist schön\n".encode("utf-16"))
    (item,) = read_inputs(path, rules=ReadingRules(encoding="utf-16"))
    assert item.sentence.words == ["Zürich", "ist", "schön"]
    with pytest.raises(CharLMError, match="utf-16"):
        find_input_format(path)
