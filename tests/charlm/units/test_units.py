"""What differs from unit to unit stands in one room, and a new unit is a class in a file of its own."""

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.artifacts import CorpusFiles
from charlm.config import DictionaryConfig, SplitConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import ConfigError
from charlm.evaluation.language_model import score_documents, score_file
from charlm.language_models.language_model import LanguageModel
from charlm.text.corpus.augmentation import training_ids
from charlm.text.corpus.counting import build_dictionary, count_shard
from charlm.text.corpus.encoding import encoded_info, ensure_encoded, record_unk_rate
from charlm.text.corpus.held_out import held_out_documents
from charlm.text.corpus.splitting import split_corpus
from charlm.units import unit as units
from charlm.units.unit import find_unit
from tests.charlm.units.toy_words import ToyWordUnit, bits


def test_units_are_found_by_name_and_others_are_refused() -> None:
    assert [find_unit(name).plural for name in ("char", "byte", "word")] == ["characters", "bytes", "words"]
    for name in ("toy", "", None, [], {}):
        with pytest.raises(ConfigError, match="a unit is one of char, byte, word; got"):
            find_unit(name)


def test_an_unknown_item_costs_as_much_as_naming_it_among_all() -> None:
    assert find_unit("char").unknown_bits == math.log2(1_114_112)
    assert find_unit("byte").unknown_bits == 8


@pytest.mark.parametrize(
    ("unit", "text", "lower", "upper"),
    [
        ("char", "a", "a", "A"),
        ("char", "Ä", "ä", "Ä"),
        ("char", "ß", "ß", "ß"),  # in capitals it would be two items
        ("char", "İ", "İ", "İ"),
        ("char", "[SEP]", "[SEP]", "[SEP]"),
        ("byte", "a", "a", "A"),
        ("byte", "\xe4", "\xe4", "\xe4"),  # part of some character, not the letter of that code
    ],
)
def test_an_item_changes_its_case_where_the_result_is_one_item(unit: str, text: str, lower: str, upper: str) -> None:
    assert find_unit(unit).with_case(text, str.lower) == lower
    assert find_unit(unit).with_case(text, str.upper) == upper


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_items_are_written_as_text_and_read_back(unit: str) -> None:
    for text in ("a", "\n", "\xff"):
        assert find_unit(unit).to_text(find_unit(unit).to_item(text)) == text


def test_a_dictionary_that_has_encoded_can_be_pickled() -> None:
    dictionary = Dictionary.from_items("ab")
    dictionary.encode("ab")
    assert pickle.loads(pickle.dumps(dictionary)).encode("b").tolist() == [2]


# ---- a new unit ----------------------------------------------------------------------------------------------------


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The name of a unit that charlm does not know; it may stand in settings for the test."""
    monkeypatch.setitem(units._UNITS, "toy", ToyWordUnit())
    monkeypatch.setattr("charlm.config.text.check_words", lambda *_: None)
    return "toy"


def test_a_new_unit_is_a_class_and_nothing_else(words: Any, tmp_path: Path) -> None:
    raw = tmp_path / "raw.txt"
    raw.write_text("".join(f"the {number} of many rare{number % 7} words\n" for number in range(300)))
    corpus = CorpusFiles(tmp_path / "corpora" / "words")
    config = SplitConfig(unit=words, document="line", valid_share=0.2, test_share=0.2)
    split_corpus([str(raw)], corpus, config)
    for shard in corpus.shards():
        count_shard(shard, corpus.counts(shard.name), words)
    dictionary = build_dictionary(corpus, DictionaryConfig(coverage=1.0, min_count=2), words)
    assert corpus.words_tsv.read_text().startswith("id\tword\tcount\tcumulative_share\tkept\n")
    assert {"the", "rare3", "\n"} <= set(dictionary.get_items())
    assert Dictionary.load_from_file(corpus.dictionary) == dictionary
    assert dictionary.encode("the zoo\n").tolist() == [
        dictionary.get_idx_for_item("the"),
        0,
        dictionary.get_idx_for_item("\n"),
    ]

    encoded = ensure_encoded(corpus, dictionary)
    unknown = [word for word in corpus.valid.read_text().split() if word.encode() not in dictionary.item2idx]
    info = encoded_info(encoded["valid"], dictionary)
    assert (info.unknown, info.unknown_bits) == (len(unknown), bits(unknown))
    assert info.units == len(corpus.valid.read_text().replace("\n", " . ").split())
    assert record_unk_rate(corpus, dictionary) > 0
    options = {"seed": 1, "shuffle": True, "random_case_flip": True, "is_forward_lm": False}
    assert np.sort(training_ids(encoded["train_split_0001"], dictionary, **options)).any()

    model = LanguageModel(dictionary, is_forward_lm=True, hidden_size=8, nlayers=1, embedding_size=4)
    score = score_file(model, corpus.valid)
    documents = score_documents(model, corpus.valid, held_out_documents(corpus, "valid")["words"])
    assert (
        score.unknown_bits
        == bits(unknown)
        == pytest.approx(float((documents.bits - documents.nats / math.log(2)).sum()))
    )
    assert score.bits_per_byte == pytest.approx(documents.bits_per_byte)
    lines = corpus.valid.read_text().splitlines()
    assert documents.units.tolist() == [len(line.split()) + 1 for line in lines]
