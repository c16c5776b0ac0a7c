"""Word models from raw text to scores: other domains by the model's own tokenizer, fine-tuning, files, generation."""

import dataclasses
from pathlib import Path

import pytest
import torch

from charlm.artifacts import Workspace
from charlm.config import DictionaryChange, DictionaryConfig, GateConfig, ReadConfig, SplitConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.embeddings import FlairEmbeddings
from charlm.errors import ConfigError, ModelFileError
from charlm.evaluation.language_model import score_file, score_text
from charlm.language_models.language_model import LanguageModel
from charlm.nn.softmax import ClusteredSoftmax
from charlm.serialization.bundle import read_bundle, write_bundle
from charlm.serialization.new_dictionary import mapped_state
from charlm.trainers.language_model_trainer import TextCorpus
from charlm.trainers.lm.finetuning import extended, initial_model
from charlm.units.words import WordUnit
from tasks.corpus.prepare import PreparedCorpus, prepare_corpus
from tasks.promotion.gate import _baseline
from tasks.registry.download import OpenedModel
from tasks.terminal import terminal
from tests.charlm.trainers.runs import train

pytestmark = pytest.mark.numeric

TINY = TrainingConfig(
    hidden_size=16,
    embedding_size=16,
    sequence_length=10,
    mini_batch_size=4,
    max_characters=8_000,
    learning_rate=0.02,
    random_case_flip=False,
    shuffle_lines=False,
    precision="fp32",
)
OLD = "".join(f'"The cat number{number % 7} sat on the mat," said the dog. It\'s late.\n' for number in range(150))
NEW = "".join(f"A newt, like newt{number % 5}, swims (or walks) near the mat!\n" for number in range(150))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("words"))


def prepare(workspace: Workspace, name: str, text: str, **settings: object) -> PreparedCorpus:
    """A corpus whose held-out text is a part of its lines."""
    paths = {side: workspace.root / f"{name}.{side}.txt" for side in ("train", "valid", "test")}
    for path, part in zip(paths.values(), (text, text[:2000], text[:3000]), strict=True):
        path.write_text(part[: part.rindex("\n") + 1])
    split = SplitConfig(**{"unit": "word", "document": "line"} | settings)  # type: ignore[arg-type]
    reading = ReadConfig(valid_text=(str(paths["valid"]),), test_text=(str(paths["test"]),))
    dictionary = DictionaryConfig(coverage=1.0, min_count=2)
    return prepare_corpus(workspace, [str(paths["train"])], name, split, dictionary, reading=reading)


@pytest.fixture(scope="module")
def old(workspace: Workspace) -> PreparedCorpus:
    return prepare(workspace, "old", OLD)


@pytest.fixture(scope="module")
def new(workspace: Workspace) -> PreparedCorpus:
    return prepare(workspace, "new", NEW, tokenizer="whitespace")


@pytest.fixture(scope="module")
def model(workspace: Workspace, old: PreparedCorpus) -> LanguageModel:
    train(old.files.root, workspace.root / "run", TINY)
    return LanguageModel.load_language_model(workspace.root / "run" / "best-lm.pt")


def test_a_corpus_of_words_is_prepared_and_says_how_many(old: PreparedCorpus) -> None:
    shown = old.to_json()
    words = {side: old.files.root / f"{side}.txt" for side in ("valid", "test")}
    unit = Dictionary.load_from_file(old.files.dictionary).unit_of
    assert {side: shown["units"][side] for side in words} == {
        side: unit.num_items(path.read_text()) for side, path in words.items()
    }
    assert shown["units"]["train"] == unit.num_items(OLD)
    assert shown["unk_rates"] == {"train": 0, "valid": 0, "test": 0}
    assert not old.files.char_mappings.exists()
    assert old.manifest.split.to_json()["tokenizer"] == "rules"


def test_a_word_model_learns_and_has_scores_on_one_scale_with_characters(
    model: LanguageModel, old: PreparedCorpus
) -> None:
    score = score_file(model, old.files.test)
    assert score.perplexity < 15
    assert score.bits_per_byte is not None
    assert score.bits_per_byte < 1
    assert score.bits_per_character == score.bits_per_byte  # all is ASCII
    with_unknown = score_text(model, OLD.replace("cat", "qwxz")[:4000])
    assert with_unknown.unknown_bits - score_text(model, OLD[:4000]).unknown_bits > 20 * with_unknown.unknown > 0


def test_another_domain_is_read_with_the_tokenizer_of_the_model(model: LanguageModel, new: PreparedCorpus) -> None:
    score = score_file(model, new.files.test)
    unit = model.dictionary.unit_of
    assert isinstance(unit, WordUnit)
    assert score.units == unit.num_items(new.files.test.read_text())
    assert score.unk_rate > 0.3


def test_fine_tuning_keeps_known_words_and_new_ones_start_at_the_mean(
    model: LanguageModel, new: PreparedCorpus, workspace: Workspace
) -> None:
    start = initial_model(model, new.files, DictionaryChange(kind="extend")).model
    num_old = len(model.dictionary)
    assert start.dictionary.unit_of == model.dictionary.unit_of  # and not that of the corpus: `newt,` is two words
    assert {"newt", "swims", "!"} <= set(start.dictionary.get_items()[num_old:])
    assert "newt," not in start.dictionary.get_items()
    assert torch.equal(start.encoder.weight[:num_old], model.encoder.weight)
    mean = model.encoder.weight.mean(dim=0).expand(len(start.dictionary) - num_old, -1)
    assert torch.allclose(start.encoder.weight[num_old:], mean)
    before = score_file(model, new.files.test)
    after = score_file(start, new.files.test)
    assert after.unk_rate < 0.02 < before.unk_rate
    letters = prepare(workspace, "letters", NEW, unit="char")
    with pytest.raises(ConfigError, match="the model's unit is word, that of the corpus 'letters' is char"):
        initial_model(model, letters.files, DictionaryChange())


def test_a_mapped_model_has_the_dictionary_of_the_corpus_and_the_rows_of_known_words(
    model: LanguageModel, new: PreparedCorpus
) -> None:
    start = initial_model(model, new.files, DictionaryChange(kind="map"))
    words, old_ids = start.model.dictionary.get_items(), model.dictionary.item2idx
    assert start.model.dictionary.fingerprint == Dictionary.load_from_file(new.files.dictionary).fingerprint
    known = [word for word in words if word.encode() in old_ids]
    assert {"<unk>", "\n", "near", "the"} & set(known) == {"<unk>", "\n", "the"}
    assert start.new == len(words) - len(known)
    for word in words:
        row = start.model.encoder.weight[start.model.dictionary.get_idx_for_item(word)]
        expected = model.encoder.weight[old_ids[word.encode()]] if word in known else model.encoder.weight.mean(dim=0)
        assert torch.allclose(row, expected)
    assert score_file(start.model, new.files.test).unk_rate < 0.02


def test_clusters_of_a_mapped_model_predict_what_the_old_ones_did(model: LanguageModel) -> None:
    words = model.dictionary.get_items()[1:]
    config = dataclasses.replace(model.config, tie_weights=True, cutoffs=(5, 12))
    torch.manual_seed(2)
    before = LanguageModel(model.dictionary, **config.to_json())
    assert isinstance(before.decoder, ClusteredSoftmax)
    torch.nn.init.normal_(before.decoder.bias)
    torch.nn.init.normal_(before.decoder.cluster_bias)
    torch.nn.init.normal_(before.decoder.cluster_weight, std=0.1)
    dictionary = Dictionary.from_items(reversed(words), unit=model.dictionary.unit_of)
    ids = torch.tensor([dictionary.get_idx_for_item(word) for word in ("<unk>", *words)])
    output = torch.randn(4, model.output_size) * 0.01
    expected = before.decoder.log_probabilities(output, before.encoder.weight)
    for cutoffs in [(), (3, 9, 20)]:
        after = LanguageModel.from_state(mapped_state(before.language_model_state(), dictionary, cutoffs))
        assert isinstance(after.decoder, ClusteredSoftmax)
        found = after.decoder.log_probabilities(output, after.encoder.weight)[:, ids]
        assert torch.allclose(found, expected, atol=0.01)


def test_new_words_start_where_the_map_from_given_vectors_says(
    model: LanguageModel, new: PreparedCorpus, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(1)
    to_vectors = torch.randn(16, 18, generator=generator)  # of another width and direction
    rows = {word: model.encoder.weight[idx].detach() for idx, word in enumerate(model.dictionary.get_items())}
    rows["newt"] = wanted = (rows["cat"] + rows["dog"]) / 2
    numbers = {word: " ".join(map(str, (row @ to_vectors).tolist())) for word, row in rows.items() if word != "\n"}
    lines = [f"{word} {vector}\n" for word, vector in numbers.items()]
    (tmp_path / "given.txt").write_text("".join(lines))
    change = DictionaryChange(kind="extend", vectors=str(tmp_path / "given.txt"))
    start = initial_model(model, new.files, change)
    assert start.from_vectors == 1 < start.new
    new_row = start.model.encoder.weight[start.model.dictionary.get_idx_for_item("newt")]
    mean = model.encoder.weight.mean(dim=0)
    assert (new_row - wanted).norm() < 0.7 * (mean - wanted).norm()
    (tmp_path / "few.txt").write_text("".join(lines[:3]))
    # `The` is looked up in lower case.
    with pytest.raises(ConfigError, match=r"has 4 of the \d+ words that the model knows; its vectors of 18 numbers"):
        initial_model(model, new.files, DictionaryChange(kind="map", vectors=str(tmp_path / "few.txt")))
    with pytest.raises(ConfigError, match="give --extend-dictionary or --map-dictionary too"):
        DictionaryChange(vectors="glove")
    with pytest.raises(ConfigError, match="not both"):
        DictionaryChange.of(extend=True, map_=True, vectors=None)


def test_an_extended_dictionary_of_the_same_words_is_the_old_one(model: LanguageModel, old: PreparedCorpus) -> None:
    assert extended(model.dictionary, old.files) == model.dictionary


def test_models_of_words_are_kept_in_bundles(model: LanguageModel, old: PreparedCorpus, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", {"forward": model.language_model_state()}, {})
    (state,) = read_bundle(tmp_path / "bundle").states.values()
    again = LanguageModel.from_state(state)
    assert again.dictionary.fingerprint == model.dictionary.fingerprint
    assert score_file(again, old.files.test) == score_file(model, old.files.test)
    assert not (tmp_path / "bundle" / "forward" / "best-lm.pt").exists()  # Flair would read words as characters


def test_generated_words_stand_as_in_the_text_without_unk(model: LanguageModel) -> None:
    text, _ = model.generate_text("The cat", 60, 0.7, top_k=3, seed=1)
    assert text.startswith("The cat ")
    assert "<unk>" not in text
    assert "mat," in text
    assert "It's" in text
    assert model.generate_text("  ", 5, seed=1)[0].startswith("  ")
    backward = dataclasses.replace(model.config, is_forward_lm=False)
    reverse = LanguageModel(model.dictionary, **backward.to_json())
    assert reverse.generate_text("mat", 3, seed=1)[0].endswith("mat")


def test_what_reads_characters_refuses_words_in_one_line(model: LanguageModel, old: PreparedCorpus) -> None:
    with pytest.raises(ModelFileError, match="FlairEmbeddings reads characters, this model words: use WordLM"):
        FlairEmbeddings(model)
    assert TextCorpus(old.files.root, model.dictionary, True, character_level=False).num_units > 0
    with pytest.raises(ConfigError, match="the unit of this dictionary is the character; prepare the text with"):
        TextCorpus(old.files.root, Dictionary.from_items("ab"), True, character_level=False)


def test_the_gate_requires_words_to_beat_the_n_gram_model(model: LanguageModel, old: PreparedCorpus) -> None:
    opened = OpenedModel(name="words", path=old.files.root, version=None, models={"forward": model})
    with terminal.step("gate") as bar:
        baseline = _baseline(old.files, opened, GateConfig(), bar)
        assert baseline is not None
        assert baseline.required
        assert not _baseline(old.files, opened, GateConfig(beat_baseline=False), bar).required  # type: ignore[union-attr]
