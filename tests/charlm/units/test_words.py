"""Words: what tokenizers make of a text, what is counted and encoded, and that words and gaps are the text."""

import json
import math
import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.config import DictionaryConfig, SplitConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import ConfigError, DictionaryError
from charlm.text.corpus.chunks import read_chunks
from charlm.text.corpus.counting import choose_items, count_text
from charlm.text.corpus.encoding import encode_chunks, encode_file
from charlm.units.counts import Counts
from charlm.units.gaps import GapModel
from charlm.units.spelling import ORDER, Spelling
from charlm.units.tokenization import tokenize
from charlm.units.unit import find_unit, unit_of_split
from charlm.units.word_coding import Coding
from charlm.units.word_tokenizers import find_sentence_rule, find_tokenizer, register_tokenizer
from charlm.units.word_values import NO_GAP, ValueTable
from charlm.units.words import WordUnit

TEXT = 'He said: "I don\'t know, Mr. Brown."\n\n  It costs 3.5 euros -- or more …\n \nÜber\u00a0Öl\tund\u3000ende\n'


def words_of(text: str, **settings: object) -> list[str]:
    return unit_of_split(SplitConfig(unit="word", **settings)).words(text)  # type: ignore[arg-type,attr-defined,no-any-return]


def counts_of(text: str, folder: Path, **settings: object) -> tuple[WordUnit, Counts]:
    unit = unit_of_split(SplitConfig(unit="word", **settings))  # type: ignore[arg-type]
    assert isinstance(unit, WordUnit)
    (folder / "text").write_text(text)
    return unit, count_text(folder / "text", unit).ranked()


def dictionary_of(text: str, folder: Path, min_count: int = 1, **settings: object) -> Dictionary:
    unit, counts = counts_of(text, folder, **settings)
    items = choose_items(counts, unit.default_dictionary().__class__(coverage=1.0, min_count=min_count), unit)
    return Dictionary.from_items(items, unit=unit.fitted(counts, [item.decode() for item in items]))


# ---- tokenizers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokenizer", "text", "words"),
    [
        ("rules", "I don't, e.g. <unk>\n", ["I", "do", "n't", ",", "e.g.", "<", "unk", ">", "\n"]),
        (
            "rules",
            "Dr. J. Co. etc\n:-) 9:30, Dr.\n",
            ["Dr.", "J.", "Co", ".", "etc", "\n", ":-)", "9:30", ",", "Dr", ".", "\n"],
        ),
        ("whitespace", "I don't, <unk> <eos> \n", ["I", "don't,", "<unk>", "\n", "\n"]),
        ("unicode", "It's 3.5 €, ok\n", ["It's", "3.5", "€", ",", "ok", "\n"]),
        ("moses", 'the "<unk>" & can\'t.\n', ["the", '"', "<unk>", '"', "&", "can", "'t", ".", "\n"]),
    ],
)
def test_a_tokenizer_is_chosen_by_name(tokenizer: str, text: str, words: list[str]) -> None:
    assert words_of(text, tokenizer=tokenizer) == words


def test_rules_are_those_of_a_sentence_however_a_text_is_cut_into_values() -> None:
    for line in (
        *TEXT.split("\n"),
        "a..b C. D.C. x'sy wasn't. (a)--b 'tis",
        "İßﬃ don’t — «ja»!!",
        "Mr. X e.g. (etc.), p.m.",
        "p.m. ",
    ):
        assert words_of(line) == [line[start:end] for start, end in tokenize(line)]


def test_sentences_end_like_lines_where_that_is_set() -> None:
    text = "Mr. Holmes was here. He left at 5 p.m. today.\nÖl? Ja! Nein.\n"
    words = words_of(text, sentences="punkt")
    assert " ".join(words).split("\n") == [
        "Mr. Holmes was here . ",
        " He left at 5 p.m. today . ",
        " Öl ? ",
        " Ja ! ",
        " Nein . ",
        "",
    ]
    assert words_of(text).count("\n") == 2


def test_lower_case_is_a_setting() -> None:
    assert words_of("Der IRRTUM.", lowercase=True) == ["der", "irrtum", "."]


def test_unknown_settings_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="a tokenizer is one of rules, whitespace, unicode, moses"):
        unit_of_split(SplitConfig(unit="word", tokenizer="spacy"))
    with pytest.raises(ConfigError, match="sentences is none or punkt"):
        unit_of_split(SplitConfig(unit="word", sentences="nltk"))
    with pytest.raises(ConfigError, match="tokenizer is a setting of the unit word; the unit of this text is char"):
        unit_of_split(SplitConfig(tokenizer="rules"))


def test_a_function_becomes_a_tokenizer_and_one_that_loses_text_says_so() -> None:
    register_tokenizer("test-hyphens", lambda text: text.replace("-", " - ").split())
    assert words_of("well-known fact", tokenizer="test-hyphens") == ["well", "-", "known", "fact"]
    register_tokenizer("test-loser", lambda text: text.upper().split())
    with pytest.raises(ConfigError, match="loses text: its word 'ONE' does not come next in 'one two'; register it"):
        words_of("one two", tokenizer="test-loser")
    register_tokenizer("test-known-loser", lambda text: text.upper().split(), loses_text=True)
    assert words_of("one two", tokenizer="test-known-loser") == ["ONE", "TWO"]
    with pytest.raises(ConfigError, match="is the name of a tokenizer that charlm has"):
        register_tokenizer("moses", str.split)


def test_words_of_another_version_are_refused() -> None:
    unit = WordUnit(tokenizer="rules", tokenizer_version="0")
    with pytest.raises(ConfigError, match="made by rules, version '0', here is '2'"):
        unit.words("a b")


# ---- words and gaps are the text -----------------------------------------------------------------------------------


def rebuilt(text: str, tokenizer: str, sentences: str) -> str:
    """`text`, from the words and gaps of it alone."""
    table = ValueTable(find_tokenizer(tokenizer), find_sentence_rule(sentences), False, "none")
    values = table.read(np.frombuffer(text.encode(), dtype=np.uint8), keep_empty_lines=True)
    parts = []
    for value, gap in zip(values.numbers.tolist(), values.gaps.tolist(), strict=True):
        start, count = int(table.starts[value]), int(table.num_words[value])
        for word in range(start, start + count):
            before = gap if word == start else int(table.inner_gaps[word])
            assert before != NO_GAP
            parts.append(table.distinct_gaps.things[before][2])
            name = table.distinct_words.things[int(table.words[word])]
            parts.append({"\n.": "", "\n": "\n"}.get(name, name.removeprefix("\n")))
    return "".join(parts)


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=60)
    | st.text("ab. \n\t'\"<>unkeos\u00a0", max_size=60),
    st.sampled_from(["rules", "whitespace", "unicode"]),
    st.sampled_from(["none", "punkt"]),
)
def test_words_and_gaps_rebuild_any_text(text: str, tokenizer: str, sentences: str) -> None:
    assert rebuilt(text + "\n", tokenizer, sentences) == text + "\n"


def test_every_spelling_and_every_gap_has_a_share_of_one() -> None:
    spelling = Spelling.of([("abc", 2), ("abd", 1), ("", 1)])
    for context in ("\n\n", "\na", "ab", "zz"):
        known = {ngram[-1] for ngram in spelling.ngrams}
        share = sum(spelling.probability(context + character) for character in known)
        rest = spelling.probability(context + "\U0010ffff") * (0x110000 - len(known))
        assert share + rest == pytest.approx(1.0)
    assert spelling.bits("abc") < spelling.bits("abd") < spelling.bits("xyz")
    assert len(next(iter(spelling.ngrams))) == ORDER + 1
    gaps = GapModel({(1, 1, " "): 98, (1, 1, ""): 1, (1, 1, "\t"): 1})
    shares = [2 ** -gaps.bits((1, 1, text)) for text in ("", " ")]
    assert shares == [pytest.approx(1.5 / 101.5), pytest.approx(98.5 / 101.5)]
    assert gaps.bits((1, 1, "\t")) > -math.log2(1.5 / 101.5)


# ---- counts and ids ------------------------------------------------------------------------------------------------


def test_words_are_counted_with_what_stands_between_them(tmp_path: Path) -> None:
    _, counts = counts_of("a b, a\n\n \nb a.\n", tmp_path)
    assert counts.to_dict() == {"\n": 3, "a": 3, "b": 2, ",": 1, ".": 1}
    assert sum(count for name, count in counts.context.items() if name.startswith("gap")) == counts.total


def test_lines_of_white_space_are_rows_and_empty_lines_are_none(tmp_path: Path) -> None:
    dictionary = dictionary_of("a b\n\n \n a\n", tmp_path, tokenizer="whitespace")
    (lines,) = encode_chunks(tmp_path / "text", dictionary)
    assert lines.lengths.tolist() == [3, 1, 2]
    assert (lines.bytes, lines.characters) == (len("a b\n \n a\n"), len("a b\n \n a\n"))
    assert dictionary.decode(lines.ids.tolist()) == "a b\n\na\n"


@pytest.mark.parametrize("form", ["NFD", "NFC"])
@pytest.mark.parametrize("tokenizer", ["rules", "whitespace"])
def test_a_text_in_another_unicode_form_counts_as_prepared_text(form: str, tokenizer: str, tmp_path: Path) -> None:
    prepared = "Älter für Ärzte, wie schön!\n Über  Ä\u00a0Ö\n" * 3
    dictionary = dictionary_of(prepared, tmp_path, tokenizer=tokenizer, normalization="NFC")
    (expected,) = encode_chunks(tmp_path / "text", dictionary)
    given = unicodedata.normalize(form, prepared)
    (tmp_path / "text").write_text(given)
    (lines,) = encode_chunks(tmp_path / "text", dictionary)
    assert lines.ids.tolist() == expected.ids.tolist() == dictionary.encode(given).tolist()
    assert (lines.bytes, lines.characters) == (len(prepared.encode()), len(prepared))
    assert lines.unknown_bits.tolist() == pytest.approx(expected.unknown_bits.tolist())
    again = Dictionary.from_json(dictionary.to_json())
    assert again.unit_of == dictionary.unit_of
    assert again.fingerprint == dictionary.fingerprint


def test_a_literal_unk_is_unk_and_a_literal_eos_ends_a_line(tmp_path: Path) -> None:
    dictionary = dictionary_of("a <unk> a <eos> a\n", tmp_path, tokenizer="whitespace")
    assert sorted(dictionary.get_items()) == ["\n", "<unk>", "a"]
    end, a = dictionary.get_idx_for_item("\n"), dictionary.get_idx_for_item("a")
    assert dictionary.encode("a <unk> b <eos>").tolist() == [a, 0, 0, end]


def test_a_file_and_a_string_have_the_same_ids(tmp_path: Path) -> None:
    for tokenizer in ("rules", "whitespace", "unicode", "moses"):
        dictionary = dictionary_of(TEXT * 3, tmp_path, min_count=2, tokenizer=tokenizer)
        (lines,) = encode_chunks(tmp_path / "text", dictionary)
        text = "".join(line + "\n" for line in (TEXT * 3).split("\n") if line)
        assert lines.ids.tolist() == dictionary.encode(text).tolist()
        assert lines.bytes == len(text.encode())


def test_the_bits_of_a_line_are_those_of_its_words_and_gaps(tmp_path: Path) -> None:
    dictionary = dictionary_of("one two two\none, two\n", tmp_path, min_count=2)
    (tmp_path / "new").write_text("two zoo\n")
    (lines,) = encode_chunks(tmp_path / "new", dictionary)
    unit = dictionary.unit_of
    assert isinstance(unit, WordUnit)
    coding = unit.coding
    assert coding is not None
    gaps = [(0, 1, ""), (1, 1, " "), (1, 0, "")]  # at the start of the line, between two words, before its end
    words = [("two", True), ("zoo", False), ("\n", True)]
    expected = sum(map(coding.gaps.bits, gaps)) + sum(coding.word_bits(word, is_known=known) for word, known in words)
    assert lines.unknown_bits is not None
    assert lines.unknown_bits.tolist() == [pytest.approx(expected)]


def test_bits_never_fall_because_the_dictionary_shrinks(tmp_path: Path) -> None:
    """With the best model that knows no context: the shares of the words themselves."""
    rows = [
        f"word{number % 90} of{number % 31} {'x' * (number % 7)}{number} again, the{number % 3}\n"
        for number in range(400)
    ]
    text = "".join(rows)
    costs = []
    for min_count in (1, 2, 3, 6, 20, 10_000):
        dictionary = dictionary_of(text, tmp_path, min_count=min_count)
        (lines,) = encode_chunks(tmp_path / "text", dictionary)
        shares = np.bincount(lines.ids) / len(lines.ids)
        assert lines.unknown_bits is not None
        costs.append(float(-np.log2(shares[lines.ids]).sum() + lines.unknown_bits.sum()) / lines.bytes)
    assert costs == sorted(costs)


def test_text_that_cannot_be_rebuilt_has_no_bits(tmp_path: Path) -> None:
    for settings in ({"tokenizer": "moses"}, {"lowercase": True}):
        dictionary = dictionary_of(TEXT, tmp_path, **settings)
        assert not dictionary.unit_of.keeps_text
        info = encode_file(tmp_path / "text", tmp_path / "text.arrow", dictionary)
        assert math.isnan(info.unknown_bits)


def test_a_dictionary_keeps_its_words_in_files_and_pickles(tmp_path: Path) -> None:
    dictionary = dictionary_of(TEXT, tmp_path, tokenizer="unicode", sentences="punkt")
    dictionary.save(tmp_path / "dictionary.json")
    again = Dictionary.load_from_file(tmp_path / "dictionary.json")
    assert again == dictionary
    assert again.fingerprint == dictionary.fingerprint
    ids = dictionary.encode(TEXT).tolist()
    assert again.encode(TEXT).tolist() == ids
    assert pickle.loads(pickle.dumps(dictionary)).encode(TEXT).tolist() == ids
    value = dictionary.to_json()
    with pytest.raises(DictionaryError, match="names its tokenizer"):
        Dictionary.from_json(value | {"unit_settings": {}})
    broken = Dictionary.from_json(value | {"unit_settings": value["unit_settings"] | {"coding": {}}})
    with pytest.raises(DictionaryError, match="coding of its words is damaged"):
        list(encode_chunks(tmp_path / "text", broken))


def test_decoded_words_stand_as_in_the_text_that_was_counted(tmp_path: Path) -> None:
    text = "He (Mr. Brown) said: do not go, please.\nIt was late, and she did not know.\n" * 3
    dictionary = dictionary_of(text, tmp_path)
    assert dictionary.decode(dictionary.encode(text).tolist()) == text
    assert dictionary.decode([0]) == "<unk>"
    assert find_unit("word").between("a", "b") == " "


def test_many_values_are_forgotten_and_counted_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"w{number % 50} v{number}, <b>\n  u{number % 11}\n" for number in range(300))
    whole = dictionary_of(text, tmp_path, min_count=3)
    with monkeypatch.context() as patch:
        patch.setattr("charlm.units.word_values._MOST_VALUES", 40)
        patch.setattr("charlm.text.corpus.chunks.CHUNK_BYTES", 300)
        _, counts = counts_of(text, tmp_path)
        assert len(list(read_chunks(tmp_path / "text"))) > 10
        assert Coding.of(counts, set()).to_json() == Coding.of(counts_of(text, tmp_path)[1], set()).to_json()
        assert dictionary_of(text, tmp_path, min_count=3) == whole
        (small,) = encode_chunks(tmp_path / "text", whole)
    (large,) = encode_chunks(tmp_path / "text", whole)
    assert small.ids.tolist() == large.ids.tolist()
    assert small.unknown_bits == pytest.approx(large.unknown_bits)


def test_rare_words_are_forgotten_where_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charlm.units.word_shards._MOST_TYPES", 20)
    unit, counts = counts_of("".join(f"the w{number}\n" for number in range(50)), tmp_path)
    assert counts.to_dict() == {"the": 50, "\n": 50}
    assert unit.losses(counts) == {"words that occurred once, not counted for want of memory": 50}


def test_reserved_words_have_an_id_whether_they_occur_or_not(tmp_path: Path) -> None:
    unit, counts = counts_of("a b a b c\n", tmp_path)
    config = DictionaryConfig(coverage=1.0, min_count=2, max_size=6, reserved=("c", "newt"))
    assert choose_items(counts, config, unit) == [b"a", b"b", b"\n", b"c", b"newt"]
    assert "reserved" not in DictionaryConfig().to_json()
    assert DictionaryConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(ConfigError, match="the reserved 'a newt' is no word, but 2 of them"):
        choose_items(counts, DictionaryConfig(reserved=("a newt",)), unit)
    with pytest.raises(ConfigError, match="leaves no room for 2 reserved items"):
        DictionaryConfig(max_size=4, reserved=("c", "newt"))
