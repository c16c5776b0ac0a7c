"""The programs of Flair's tutorial on training language models, with `flair` replaced by `charlm`, on local text.

Its three versions differ in the name of the embeddings. Names, arguments and numbers are the printed ones, but for the
number of epochs of the fine-tuning, which the tutorial leaves open.
"""

import glob
import pickle
import pydoc_data.topics
from collections import Counter
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.numeric


@pytest.fixture
def corpus_path(tmp_path) -> Path:
    """Flair's folder layout: train/train_split_1 and so on, valid.txt, test.txt, and no manifest."""
    topics = pydoc_data.topics.topics
    text = "".join(topics[name] for name in sorted(topics))
    root = tmp_path / "corpus"
    (root / "train").mkdir(parents=True)
    for number in range(2):
        (root / "train" / f"train_split_{number + 1}").write_text(text[number * 1_500 : (number + 1) * 1_500])
    (root / "valid.txt").write_text(text[16_000:17_000])
    (root / "test.txt").write_text(text[17_000:18_000])
    return root


def test_default_dictionary_corpus_model_trainer_and_embeddings(corpus_path, tmp_path, capsys):
    from charlm.data import Dictionary, Sentence
    from charlm.embeddings import CharLMEmbeddings, FlairEmbeddings
    from charlm.models import LanguageModel
    from charlm.trainers.language_model_trainer import LanguageModelTrainer, TextCorpus

    is_forward_lm = True
    dictionary: Dictionary = Dictionary.load("chars")
    corpus = TextCorpus(corpus_path, dictionary, is_forward_lm, character_level=True)
    language_model = LanguageModel(dictionary, is_forward_lm, hidden_size=128, nlayers=1)
    trainer = LanguageModelTrainer(language_model, corpus)
    base_path = str(tmp_path / "resources" / "taggers" / "language_model")
    text = (corpus_path / "test.txt").read_text()
    before = language_model.calculate_perplexity(text)
    result = trainer.train(base_path, sequence_length=10, mini_batch_size=10, max_epochs=10)
    assert result.test.perplexity < before / 4
    assert "perplexity" in capsys.readouterr().err

    for embeddings_class in (CharLMEmbeddings, FlairEmbeddings):
        sentence = Sentence("I love Berlin")
        char_lm_embeddings = embeddings_class(f"{base_path}/best-lm.pt")
        char_lm_embeddings.embed(sentence)
        assert [token.text for token in sentence] == ["I", "love", "Berlin"]
        assert all(token.embedding.shape == (128,) for token in sentence)
        assert not torch.equal(sentence[0].embedding, sentence[1].embedding)


def test_own_dictionary_for_another_alphabet(tmp_path):
    from charlm.data import Dictionary

    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one.txt").write_text("こんにちは\nこん\n", encoding="utf-8")

    char_dictionary: Dictionary = Dictionary()
    counter = Counter()
    processed = 0
    files = glob.glob(str(tmp_path / "files" / "*.*"))  # noqa: PTH207  # as users write it
    for file in files:
        with Path(file).open("r", encoding="utf-8") as f:
            for line in f:
                processed += 1
                counter.update(list(line))
    total_count = 0
    for _, count in counter.most_common():
        total_count += count
    assert (total_count, processed) == (9, 2)
    summed = 0
    for letter, count in counter.most_common():
        summed += count
        char_dictionary.add_item(letter)
    assert summed == total_count
    assert list(char_dictionary.item2idx.values()) == [0, 1, 2, 3, 4, 5, 6]
    with (tmp_path / "char_mappings").open("wb") as f:
        mappings = {"idx2item": char_dictionary.idx2item, "item2idx": char_dictionary.item2idx}
        pickle.dump(mappings, f)

    dictionary = Dictionary.load_from_file(str(tmp_path / "char_mappings"))
    assert dictionary.get_items() == ["<unk>", "こ", "ん", "\n", "に", "ち", "は"]
    assert dictionary.idx2item == char_dictionary.idx2item
    assert dictionary.item2idx["ん".encode()] == 2


def test_existing_model_is_fine_tuned_with_its_dictionary_and_direction(corpus_path, tmp_path):
    from charlm.data import Dictionary
    from charlm.embeddings import FlairEmbeddings
    from charlm.models import LanguageModel
    from charlm.trainers.language_model_trainer import LanguageModelTrainer, TextCorpus

    general = LanguageModel(Dictionary.load("chars"), is_forward_lm=False, hidden_size=32, nlayers=1)
    general.save(tmp_path / "general.pt")

    language_model = FlairEmbeddings(str(tmp_path / "general.pt")).lm
    is_forward_lm = language_model.is_forward_lm
    assert is_forward_lm is False
    dictionary: Dictionary = language_model.dictionary
    corpus = TextCorpus(corpus_path, dictionary, is_forward_lm, character_level=True)
    before = language_model.calculate_perplexity((corpus_path / "test.txt").read_text())

    trainer = LanguageModelTrainer(language_model, corpus)
    result = trainer.train(
        tmp_path / "tuned",
        sequence_length=100,
        mini_batch_size=100,
        learning_rate=20,
        patience=10,
        max_epochs=12,
        checkpoint=True,
    )
    assert result.test.perplexity < before
    tuned = LanguageModel.load_language_model(tmp_path / "tuned" / "best-lm.pt")
    assert tuned.is_forward_lm is False
    assert tuned.dictionary == dictionary


def test_stopped_training_goes_on_from_its_checkpoint(corpus_path, tmp_path):
    from charlm.data import Dictionary
    from charlm.models import LanguageModel
    from charlm.trainers.language_model_trainer import LanguageModelTrainer, TextCorpus

    dictionary = Dictionary.load("chars")
    corpus = TextCorpus(corpus_path, dictionary, True)
    settings = {"sequence_length": 20, "mini_batch_size": 10, "checkpoint": True}
    torch.manual_seed(3)
    model = LanguageModel(dictionary, True, hidden_size=16, nlayers=1)
    LanguageModelTrainer(model, corpus).train(tmp_path / "run", max_epochs=1, **settings)

    trainer = LanguageModelTrainer.load_checkpoint(tmp_path / "run" / "checkpoint.pt", corpus)
    result = trainer.train(tmp_path / "run", max_epochs=2, **settings)

    torch.manual_seed(3)
    model = LanguageModel(dictionary, True, hidden_size=16, nlayers=1)
    undisturbed = LanguageModelTrainer(model, corpus).train(tmp_path / "whole", max_epochs=2, **settings)
    assert result.test == undisturbed.test
