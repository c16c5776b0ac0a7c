"""ModelTrainer: mistakes are refused before anything is written."""

import pytest

from charlm.data import Corpus
from charlm.errors import ConfigError, DatasetError, RunError
from charlm.trainers import ModelTrainer
from tests.charlm.trainers.test_model_trainer import cache as cache  # a fixture
from tests.charlm.trainers.test_model_trainer import new_tagger
from tests.toy import toy_corpus


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_epochs": -1}, "max_epochs must be 0 or more, got -1"),
        ({"anneal_factor": 1.0}, r"anneal_factor must be in \(0, 1\), got 1.0"),
        ({"embeddings_storage_mode": "disk"}, "embeddings_storage_mode is one of none, cpu, gpu; got 'disk'"),
        ({"max_epoch": 3}, "has no field 'max_epoch'"),
        ({"learning_rate": 0.0}, "learning_rate must be greater than 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_written(tmp_path, settings, reason):
    corpus = toy_corpus(4)
    with pytest.raises(ConfigError, match=reason):
        ModelTrainer(new_tagger(corpus), corpus).train(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_label_that_the_model_does_not_know_is_named_before_anything_is_written(tmp_path):
    corpus = toy_corpus(4)
    model = new_tagger(corpus, "kind")
    corpus.train[0].tokens[0].set_label("kind", "number")
    with pytest.raises(DatasetError, match="the tag 'number'"):
        ModelTrainer(model, corpus).train(tmp_path / "run")
    with pytest.raises(DatasetError, match="no train sentences with words"):
        ModelTrainer(model, Corpus([], corpus.dev, [], name="empty")).train(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_explodes_ends_the_training_with_one_line(tmp_path):
    corpus = toy_corpus(16)
    with pytest.raises(RunError, match=r"the loss of epoch 1 is .*; lower the learning rate"):
        ModelTrainer(new_tagger(corpus), corpus).train(tmp_path, 1e38, mini_batch_size=2, max_grad_norm=1e30)
