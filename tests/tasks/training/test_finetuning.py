"""Continuing a model on other text: its dictionary grows at the end, and every domain has a score of its own."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.artifacts import CorpusFiles
from charlm.config import DictionaryChange, DictionaryConfig, RunConfig, SplitConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import ConfigError, ModelFileError
from charlm.evaluation.domains import score_documents_by_domain, score_domains, score_since, write_domains
from charlm.evaluation.language_model import score_file, unit_nats
from charlm.language_models.language_model import LanguageModel
from charlm.recipes import find_recipe
from charlm.text.corpus.counting import build_dictionary, count_shard
from charlm.text.corpus.manifest import load_manifest
from charlm.text.corpus.splitting import split_corpus
from charlm.trainers.lm.build import shard_groups
from charlm.trainers.lm.finetuning import adapted, extended, initial_model
from charlm.trainers.lm.text_corpus import TextCorpus, choose_shards, side_by_side

pytestmark = pytest.mark.numeric

ENGLISH = [f"line {number} of a plain English text\n" for number in range(400)]
GERMAN = [f"Zeile {number} über größere Häuser\n" for number in range(400)]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def prepare(corpus: CorpusFiles, source: Path, lines: list[str], domain: str) -> None:
    source.write_text("".join(lines), encoding="utf-8")
    config = SplitConfig(document="line", valid_share=0.1, test_share=0.1, shard_size=1_500, open_shards=1)
    split_corpus([str(source)], corpus, config, domain=domain)
    for shard in corpus.shards():
        count_shard(shard, corpus.counts(shard.name), "char")
    build_dictionary(corpus, DictionaryConfig(), "char")


@pytest.fixture
def corpus(tmp_path) -> CorpusFiles:
    """English first, German second."""
    corpus = CorpusFiles(tmp_path / "corpora" / "mixed")
    prepare(corpus, tmp_path / "english.txt", ENGLISH, "english")
    prepare(corpus, tmp_path / "german.txt", GERMAN, "german")
    return corpus


def model_of(dictionary: Dictionary) -> LanguageModel:
    torch.manual_seed(5)
    return LanguageModel(dictionary, True, hidden_size=8, nlayers=1, embedding_size=4, dropout=0.0)


def test_extended_dictionary_keeps_old_ids_and_adds_new_characters(corpus):
    old = Dictionary.from_items(["\n", " ", "a", "b"])
    new = extended(old, corpus)
    assert new.idx2item[: len(old)] == old.idx2item
    assert {"ü", "ß", "ä", "Z", "H"} <= set(new.get_items())
    assert len(old) == 5  # the old one is left alone


def test_new_characters_start_as_the_mean_and_old_ones_stay():
    old = Dictionary.from_items(["\n", " ", "a"])
    model = model_of(old)
    larger = model.with_dictionary(Dictionary.from_items(["\n", " ", "a", "ß", "ü"]))
    assert torch.equal(larger.encoder.weight[:4], model.encoder.weight)
    assert torch.allclose(larger.encoder.weight[4], model.encoder.weight.mean(0))
    assert torch.allclose(larger.decoder.bias[5], model.decoder.bias.mean())
    assert larger.calculate_perplexity("a a\n") > model.calculate_perplexity("a a\n")  # two more to choose from


def test_a_dictionary_that_moves_ids_is_refused():
    model = model_of(Dictionary.from_items(["\n", " ", "a"]))
    with pytest.raises(ModelFileError, match="end"):
        model.with_dictionary(Dictionary.from_items(["\n", "a", " ", "b"]))


def test_unit_of_model_and_corpus_must_agree(corpus):
    model = model_of(Dictionary.from_items([bytes([code]) for code in range(256)], unit="byte"))
    with pytest.raises(ConfigError, match="byte"):
        initial_model(model, corpus, DictionaryChange())


def test_recipe_takes_the_architecture_of_the_model(corpus):
    model = model_of(Dictionary.from_items(["a"]))
    config = adapted(TrainingConfig(max_epochs=1), model)
    assert (config.hidden_size, config.embedding_size, config.nlayers, config.dropout) == (8, 4, 1, 0.0)
    assert config == dataclasses.replace(
        TrainingConfig(max_epochs=1), hidden_size=8, embedding_size=4, nlayers=1, dropout=0.0
    )


def test_every_domain_has_its_own_held_out_text_and_score(corpus, tmp_path):
    paths = write_domains(corpus, "test", tmp_path)
    texts = {domain: path.read_text(encoding="utf-8") for domain, path in paths.items()}
    assert set(texts) == {"english", "german"}
    assert all(line.startswith("line ") for line in texts["english"].splitlines())
    assert all(line.startswith("Zeile ") for line in texts["german"].splitlines())
    assert "".join(texts.values()) == corpus.test.read_text(encoding="utf-8")

    model = model_of(Dictionary.load_from_file(corpus.dictionary))
    scores = score_domains(model, corpus)
    assert scores["german"].unk_rate > 0 == scores["english"].unk_rate  # the dictionary was frozen on English
    assert scores["english"] == score_file(model, paths["english"])


def test_newest_shards_are_read_with_a_share_of_the_old(corpus):
    manifest = load_manifest(corpus)
    old = {Path(file.name).name: file.characters for file in manifest.revisions[0].train_files}
    new = {Path(file.name).name for file in manifest.revisions[1].train_files}

    def chosen_names(old_share: float, known_revision: int | None = None) -> set[str]:
        shards = choose_shards(manifest, old_share=old_share, seed=1, known_revision=known_revision)
        return {Path(file.name).name for file in shards}

    assert chosen_names(0.0) == new
    assert chosen_names(1.0) == new | set(old)
    chosen = chosen_names(0.3) - new
    share = sum(old[name] for name in chosen) / sum(old.values())
    assert 0.3 <= share < 0.3 + max(old.values()) / sum(old.values())

    assert chosen_names(0.0, known_revision=0) == new | set(old)


def test_new_and_old_shards_are_read_side_by_side(corpus):
    manifest = load_manifest(corpus)
    old, new = ({Path(file.name).name for file in revision.train_files} for revision in manifest.revisions)
    shards = choose_shards(manifest, old_share=1.0, seed=1)
    assert list(map(set, side_by_side(shards))) == [new | old]
    large = [dataclasses.replace(file, bytes=60_000_000) for file in shards]
    groups = side_by_side(large)
    assert sorted(name for group in groups for name in group) == sorted(new | old)
    assert {len(group) for group in groups} <= {2, 3}

    def groups_of(recipe: str) -> list[list[str]] | None:
        training = find_recipe(recipe)
        config = RunConfig(run_dir="run", corpus_dir=str(corpus.root), direction="forward", training=training)
        return shard_groups(config)

    assert groups_of("demo") == [sorted(new | old)]  # a training anew does so too,
    assert groups_of("flair_classic") is None  # and Flair does not

    dictionary = Dictionary.load_from_file(corpus.dictionary)
    settings = {"random_case_flip": False, "shuffle": False}
    names = [min(new), min(old)]
    one, other = TextCorpus(corpus.root, dictionary, True, shard_groups=[[name] for name in names], **settings).shards
    text = TextCorpus(corpus.root, dictionary, True, shard_groups=[names], **settings)
    assert text.shards == [[*one, *other]]
    streams = text.streams(0, 2, seed=1, epoch=0)
    written = "".join((corpus.train_dir / name).read_text(encoding="utf-8") for name in names)
    assert streams.T.reshape(-1).tolist() == dictionary.encode(written)[: streams.size].tolist()


@pytest.mark.parametrize("is_forward_lm", [True, False])
def test_the_scores_of_documents_add_up_to_those_of_their_domain(corpus, is_forward_lm):
    # German has characters that this dictionary lacks.
    torch.manual_seed(5)
    dictionary = Dictionary.from_items(["\n", " ", *"abcdefghijklmnopqrstuvwxyz0123456789"])
    model = LanguageModel(dictionary, is_forward_lm, hidden_size=8, nlayers=1, embedding_size=4, dropout=0.0)
    whole, by_document = score_domains(model, corpus), score_documents_by_domain(model, corpus)
    assert by_document.keys() == whole.keys() == {"english", "german"}
    for domain, score in whole.items():
        documents = by_document[domain]
        assert documents.nats.sum() == pytest.approx(score.nats)
        assert documents.bits_per_byte == pytest.approx(score.bits_per_byte)
        assert documents.unk_rate == pytest.approx(score.unk_rate)
        assert documents.unk_rate > 0


@pytest.mark.parametrize("is_forward_lm", [True, False])
def test_each_document_pays_for_its_own_characters(corpus, tmp_path, is_forward_lm):
    torch.manual_seed(5)
    dictionary = Dictionary.from_items(["\n", " ", *"abcdefghijklmnopqrstuvwxyz"])
    model = LanguageModel(dictionary, is_forward_lm, hidden_size=8, nlayers=1, embedding_size=4, dropout=0.0)
    text = write_domains(corpus, "test", tmp_path)["german"].read_text()
    lines = text.splitlines(keepends=True)
    nats = unit_nats(model, np.array([dictionary.get_idx_for_item(character) for character in text]))
    ends = np.cumsum([len(line) for line in lines])
    documents = score_documents_by_domain(model, corpus)["german"]
    assert documents.nats == pytest.approx([part.sum() for part in np.split(nats, ends[:-1])], rel=1e-5)
    assert documents.bytes.tolist() == [len(line.encode()) for line in lines]
    assert documents.unknown.tolist() == [sum(c not in "\n abcdefghijklmnopqrstuvwxyz" for c in line) for line in lines]


def test_documents_are_told_apart_by_the_revision_that_brought_them(corpus, tmp_path):
    prepare(corpus, tmp_path / "more.txt", [f"more {line}" for line in ENGLISH], "english")
    model = model_of(Dictionary.from_items(["\n", " ", *"abcdefghijklmnopqrstuvwxyz"]))
    by_domain = score_documents_by_domain(model, corpus)
    new, reference = score_since(model, corpus, 2)
    records = [
        file for revision in load_manifest(corpus).revisions for file in revision.files if file.name == "test.txt"
    ]
    assert list(new) == ["english"]
    more = new["english"]
    assert [len(reference.keys), len(more.keys)] == [records[0].documents + records[1].documents, records[2].documents]
    assert more.nats.tolist() == by_domain["english"].nats[records[0].documents :].tolist()
    assert reference.nats.sum() + more.nats.sum() == pytest.approx(sum(s.nats.sum() for s in by_domain.values()))
    nothing, everything = score_since(model, corpus, 3)
    assert (nothing, len(everything.keys)) == ({}, sum(record.documents for record in records))
