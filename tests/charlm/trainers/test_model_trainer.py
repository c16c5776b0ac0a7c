"""ModelTrainer: what it learns, what it writes, and that a stop leaves no trace in the weights."""

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from charlm.data import Corpus, Sentence
from charlm.embeddings import (
    CharacterEmbeddings,
    DocumentRNNEmbeddings,
    FlairEmbeddings,
    StackedEmbeddings,
)
from charlm.embeddings.store import EmbeddingStore, embeddings_fingerprint
from charlm.errors import (
    CharLMWarning,
    ModelFileError,
    RunError,
    TrainingInterruptedError,
)
from charlm.evaluation.labels import EvaluationMetric
from charlm.models import DownstreamModel, SequenceTagger, TextClassifier
from charlm.nn.precision import can_compute_bf16, precision_notice
from charlm.storage.archive import read_archive
from charlm.trainers import ModelTrainer
from charlm.trainers.downstream.checkpoint import DownstreamCheckpoint
from charlm.trainers.downstream.plateau import PlateauScheduler
from tests.charlm.models.test_downstream_models import transformer
from tests.conftest import ROOT
from tests.precision import CPU
from tests.toy import GOLDEN, toy_corpus, toy_embeddings

pytestmark = pytest.mark.numeric


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)
    return tmp_path / "cache"


def new_tagger(corpus: Corpus, layer: str = "ner", embeddings=None) -> SequenceTagger:
    torch.manual_seed(0)
    return SequenceTagger(8, embeddings or toy_embeddings(), corpus.make_tag_dictionary(layer), layer)


def new_classifier(corpus: Corpus, embeddings=None) -> TextClassifier:
    torch.manual_seed(0)
    document = DocumentRNNEmbeddings(embeddings or [FlairEmbeddings(GOLDEN / "forward.pt")], hidden_size=8)
    return TextClassifier(document, corpus.make_label_dictionary("class"))


def weights(model: DownstreamModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def stored_weights(path: Path) -> dict[str, torch.Tensor]:
    return read_archive(path)["model"].tensors


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


# ---- learning ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["ner", "kind"])
def test_a_tagger_learns_what_can_be_learned(tmp_path, layer):
    corpus = toy_corpus()
    embeddings = StackedEmbeddings([FlairEmbeddings(GOLDEN / "forward.pt"), CharacterEmbeddings()])
    model = new_tagger(corpus, layer, embeddings)
    result = ModelTrainer(model, corpus).train(tmp_path, mini_batch_size=8, max_epochs=25, patience=8)
    assert result.test_score > 0.9
    sentence = Sentence("I love New York")
    SequenceTagger.load(tmp_path / "best-model.pt").predict(sentence)
    if layer == "ner":
        assert [span.text for span in sentence.get_spans("ner")] == ["New York"]
    else:
        assert [token.get_label("kind").value for token in sentence] == ["word", "word", "name", "name"]


def test_a_classifier_learns_what_can_be_learned(tmp_path):
    corpus = toy_corpus()
    trainer = ModelTrainer(new_classifier(corpus, [CharacterEmbeddings()]), corpus, optimizer=torch.optim.Adam)
    result = trainer.train(tmp_path, 0.01, 8, max_epochs=15)
    assert result.test_score > 0.9
    sentence = Sentence("I love rain")
    TextClassifier.load(tmp_path / "final-model.pt").predict(sentence)
    assert sentence.get_label("class").value == "question"


def test_a_transformer_learns_with_its_classifier_only_when_it_may(tmp_path):
    corpus = toy_corpus(20)
    embeddings = transformer(tmp_path)
    model = TextClassifier(embeddings, corpus.make_label_dictionary("class"))
    before = weights(model)
    settings = {"mini_batch_size": 8, "mini_batch_chunk_size": 4, "max_epochs": 1}
    ModelTrainer(model, corpus, torch.optim.Adam).train(tmp_path / "tuned", 1e-3, **settings)
    name = "embeddings.model.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(before[name], weights(model)[name])
    model.load_state_dict(before)
    embeddings.fine_tune, embeddings.static_embeddings = False, True
    ModelTrainer(model, corpus, torch.optim.Adam).train(tmp_path / "frozen", 1e-3, **settings)
    assert torch.equal(before[name], weights(model)[name])
    assert not torch.equal(before["decoder.weight"], weights(model)["decoder.weight"])


def test_a_mini_batch_in_chunks_learns_the_same_in_less_memory(tmp_path):
    corpus = toy_corpus(32)
    found = []
    for chunk in (None, 5):
        model = new_tagger(corpus)
        model.locked_dropout.share = model.word_dropout.share = 0.0
        ModelTrainer(model, corpus).train(
            tmp_path / str(chunk), max_epochs=2, mini_batch_chunk_size=chunk, precision="fp32"
        )
        found.append(weights(model))
    for name, tensor in found[0].items():
        torch.testing.assert_close(tensor, found[1][name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("embeddings", ["static", "changing"])
def test_where_vectors_are_kept_changes_nothing_but_the_time(tmp_path, embeddings):
    corpus = toy_corpus(32)
    found = []
    for mode in ("none", "cpu", "cpu"):
        torch.manual_seed(0)
        parts = [FlairEmbeddings(GOLDEN / "forward.pt", fine_tune=embeddings == "changing"), CharacterEmbeddings()]
        model = new_tagger(corpus, embeddings=StackedEmbeddings(parts))
        folder = tmp_path / f"{mode}-{len(found)}"
        ModelTrainer(model, corpus).train(folder, max_epochs=2, embeddings_storage_mode=mode, precision="fp32")
        found.append(weights(model))
        assert all(sentence.get_token_embeddings().shape[1] == 0 for sentence in corpus.get_all_sentences())
    for name, tensor in found[0].items():
        torch.testing.assert_close(tensor, found[1][name], rtol=1e-4, atol=1e-6)
    assert_same(found[2], found[1])


@pytest.mark.skipif(not can_compute_bf16(CPU), reason="no bf16 on this machine")
def test_bf16_learns_about_the_same(tmp_path):
    corpus = toy_corpus()
    losses = []
    for precision in ("fp32", "bf16"):
        folder = tmp_path / precision
        ModelTrainer(new_tagger(corpus), corpus).train(folder, max_epochs=5, precision=precision)
        losses.append([float(row["dev_loss"]) for row in rows(folder / "loss.tsv")])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_where_bf16_is_not_possible_a_tagger_is_the_one_in_fp32_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("charlm.nn.precision._cpu_computes_bf16", lambda: False)
    corpus = toy_corpus(16)
    found = []
    for asked, part in (("fp32", "fp32"), ("bf16", "bf16")):  # of the training, and of vectors that it reads
        model = new_tagger(corpus, embeddings=FlairEmbeddings(GOLDEN / "forward.pt", precision=part))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            trainer = ModelTrainer(model, corpus)
            trainer.train(tmp_path / asked, max_epochs=2, precision=asked, embeddings_storage_mode="none")
        found.append(weights(model))
    assert_same(found[0], found[1])
    said = {str(warning.message) for warning in caught if warning.category is CharLMWarning}
    assert said == {precision_notice("bf16", "fp32", CPU)}
    assert "guard: precision=bf16 is not possible" in (tmp_path / "bf16" / "training.log").read_text()
    assert "fp32 on cpu (torch " in (tmp_path / "bf16" / "training.log").read_text()


def test_a_tagger_that_goes_on_in_another_precision_says_so(tmp_path):
    corpus = toy_corpus(16)
    ModelTrainer(new_tagger(corpus), corpus).train(tmp_path, max_epochs=1, checkpoint=True)
    path = tmp_path / "checkpoint.pt"
    checkpoint = DownstreamCheckpoint.load(path)
    before = {"fp32": "bf16", "bf16": "fp32"}[checkpoint.precision]
    dataclasses.replace(checkpoint, precision=before).save(path)
    with pytest.warns(CharLMWarning, match=f"was in {before} so far"):
        ModelTrainer.load_checkpoint(path, corpus).train(tmp_path, max_epochs=2, checkpoint=True)


@pytest.mark.filterwarnings("ignore::charlm.errors.CharLMWarning")
def test_in_bf16_vectors_to_learn_from_are_rounded_and_those_to_score_by_are_not(tmp_path, monkeypatch):
    attached = []
    monkeypatch.setattr(
        EmbeddingStore, "attach", lambda store, sentences, device: attached.append((store.folder.name, len(sentences)))
    )
    corpus, exact = toy_corpus(), FlairEmbeddings(GOLDEN / "forward.pt")
    ModelTrainer(new_tagger(corpus, embeddings=exact), corpus).train(tmp_path, max_epochs=1, precision="bf16")
    to_learn_from = exact.in_bf16() if can_compute_bf16(CPU) else exact
    names = [embeddings_fingerprint(embeddings) for embeddings in (to_learn_from, exact, exact)]
    assert attached == list(zip(names, map(len, (corpus.train, corpus.dev, corpus.test)), strict=True))


def test_vectors_of_another_model_with_the_same_name_are_not_taken_for_its_own(tmp_path):
    corpus = toy_corpus(16)
    strangers = FlairEmbeddings(GOLDEN / "backward.pt", name="lm")
    strangers.embed(list(corpus.get_all_sentences()))
    found = []
    for prepared in (corpus, toy_corpus(16)):
        model = new_tagger(corpus, embeddings=FlairEmbeddings(GOLDEN / "forward.pt", name="lm"))
        ModelTrainer(model, prepared).train(tmp_path / str(len(found)), max_epochs=1)
        found.append(weights(model))
    assert_same(found[0], found[1])


# ---- when it ends, and what is best --------------------------------------------------------------------------------


def test_the_rate_falls_when_more_than_patience_epochs_bring_nothing():
    plateau = PlateauScheduler(learning_rate=1.0)
    steps = [(0.5, 9.0), (0.6, 9.0), (0.6, 8.0), (0.6, 8.0), (0.5, 1.0), (0.4, 1.0), (0.7, 9.0)]
    best, rates = [], []
    for score, loss in steps:
        best.append(plateau.step(score, loss, anneal_factor=0.5, patience=2))
        rates.append(plateau.learning_rate)
    assert best == [True, True, False, False, False, False, True]
    assert rates == [1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5]  # the third improves by its loss; three after it do not


def test_a_training_ends_when_the_rate_has_annealed_away_and_its_best_model_is_tested(tmp_path):
    corpus = toy_corpus(16)
    model = new_tagger(corpus)
    result = ModelTrainer(model, corpus).train(
        tmp_path, 1.0, 4, max_epochs=50, patience=0, anneal_factor=0.1, min_learning_rate=0.05, monitor_test=True
    )
    table = rows(tmp_path / "loss.tsv")
    assert result.reason == "the learning rate has annealed to nothing"
    assert len(table) == result.epochs < 50
    scores = [float(row["dev_micro_f1"]) for row in table]
    assert [row["best"] for row in table] == [str(int(s > max(scores[:i], default=-1))) for i, s in enumerate(scores)]
    assert result.best_epoch == 1 + int(np.argmax(scores))
    assert float(table[result.best_epoch - 1]["test_micro_f1"]) == pytest.approx(result.test_score, rel=1e-5)
    assert_same(stored_weights(tmp_path / "best-model.pt"), weights(model))
    rates = [float(row["learning_rate"]) for row in table]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] >= 0.05 > rates[-1] * 0.1


def test_with_dev_among_the_train_sentences_the_last_model_is_tested(tmp_path):
    corpus = toy_corpus(16)
    model = new_tagger(corpus)
    result = ModelTrainer(model, corpus).train(tmp_path, max_epochs=2, train_with_dev=True)
    assert not (tmp_path / "best-model.pt").exists()
    assert_same(stored_weights(tmp_path / "final-model.pt"), weights(model))
    assert result.test is not None
    assert rows(tmp_path / "loss.tsv")[0]["dev_loss"] == ""
    assert "36 train" in (tmp_path / "training.log").read_text()


def test_what_decides_about_the_best_model_can_be_chosen(tmp_path):
    corpus = toy_corpus(16)
    result = ModelTrainer(new_classifier(corpus), corpus).train(
        tmp_path, max_epochs=2, evaluation_metric=EvaluationMetric.MACRO_F1_SCORE
    )
    assert [float(row["dev_macro_f1"]) for row in rows(tmp_path / "loss.tsv")] == pytest.approx(
        result.dev_scores, rel=1e-5
    )


def test_weights_are_followed_and_predictions_stand_beside_the_truth(tmp_path):
    corpus = toy_corpus(16)
    model = new_tagger(corpus, "kind")
    ModelTrainer(model, corpus).train(tmp_path, max_epochs=2)
    watched = [line.split("\t") for line in (tmp_path / "weights.txt").read_text().splitlines()]
    assert {row[0] for row in watched} == {"1", "2"}
    assert {row[1] for row in watched} == {
        name for name, _ in model.named_parameters() if not name.startswith("embeddings.")
    }
    last = {(name, number): value for epoch, name, number, value in watched if epoch == "2"}
    final = stored_weights(tmp_path / "final-model.pt")["linear.weight"].flatten()
    assert float(last["linear.weight", "0"]) == pytest.approx(final[0].item(), rel=1e-5)
    first = (tmp_path / "test.tsv").read_text().splitlines()[0].split("\t")
    assert first[:2] == [corpus.test[0][0].text, corpus.test[0][0].get_label("kind").value]


# ---- stopping and going on -----------------------------------------------------------------------------------------

_KILLED = """
import os, signal, sys, torch
from tests.charlm.trainers.test_model_trainer import MAKERS, SETTINGS
from tests.toy import toy_corpus
from charlm.trainers import ModelTrainer

class Killer:
    def on_event(self, event):
        if event["event"] == "train" and event["epoch"] == 3 and event["share"] > 0.3:
            os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(1)
corpus = toy_corpus()
make, optimizer = MAKERS[sys.argv[1]]
ModelTrainer(make(corpus), corpus, optimizer).train(sys.argv[2], **SETTINGS, observers=[Killer()])
"""
SETTINGS = {"mini_batch_size": 8, "max_epochs": 5, "patience": 0, "checkpoint": True, "learning_rate": 0.02}
MAKERS = {
    "tagger": (new_tagger, torch.optim.SGD),
    "classifier": (new_classifier, torch.optim.AdamW),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_training_that_was_killed_and_resumed_ends_as_if_undisturbed(tmp_path, cache, kind):
    corpus = toy_corpus()
    make, optimizer = MAKERS[kind]
    undisturbed = ModelTrainer(make(corpus), corpus, optimizer).train(tmp_path / "whole", **SETTINGS)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CHARLM_CACHE": str(cache)}
    killed = subprocess.run([sys.executable, "-c", _KILLED, kind, tmp_path / "run"], cwd=ROOT, env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert len(rows(tmp_path / "run" / "loss.tsv")) == 2
    torch.manual_seed(99)
    trainer = ModelTrainer.load_checkpoint(tmp_path / "run" / "checkpoint.pt", toy_corpus(), optimizer)
    resumed = trainer.train(tmp_path / "run", **SETTINGS)
    for name in ("final-model.pt", "best-model.pt"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    for name in ("loss.tsv", "weights.txt", "dev.tsv", "test.tsv"):
        assert (tmp_path / "run" / name).read_text() == (tmp_path / "whole" / name).read_text()
    assert resumed.test == undisturbed.test
    assert (resumed.epochs, resumed.best_epoch) == (undisturbed.epochs, undisturbed.best_epoch)


def test_a_finished_training_goes_on_for_more_epochs(tmp_path):
    corpus = toy_corpus(16)
    ModelTrainer(new_tagger(corpus), corpus).train(tmp_path / "whole", max_epochs=4, checkpoint=True)
    ModelTrainer(new_tagger(corpus), corpus).train(tmp_path / "run", max_epochs=2, checkpoint=True)
    trainer = ModelTrainer.load_checkpoint(tmp_path / "run" / "checkpoint.pt", corpus)
    trainer.train(tmp_path / "run", max_epochs=4, checkpoint=True)
    assert_same(stored_weights(tmp_path / "run" / "final-model.pt"), stored_weights(tmp_path / "whole/final-model.pt"))
    assert isinstance(SequenceTagger.load(tmp_path / "run" / "checkpoint.pt"), SequenceTagger)


def test_ctrl_c_leaves_the_model_as_it_is_and_says_how_to_go_on(tmp_path):
    class Hurry:
        def on_event(self, event):
            if event["event"] == "train" and event["epoch"] == 2:
                raise KeyboardInterrupt

    corpus = toy_corpus(16)
    with pytest.raises(TrainingInterruptedError, match=r"after 1 whole epochs; ModelTrainer\.load_checkpoint"):
        ModelTrainer(new_tagger(corpus), corpus).train(tmp_path, checkpoint=True, observers=[Hurry()])
    assert "interrupted: stopped after 1 whole epochs" in (tmp_path / "training.log").read_text()
    SequenceTagger.load(tmp_path / "final-model.pt")
    ModelTrainer.load_checkpoint(tmp_path / "checkpoint.pt", corpus).train(tmp_path, max_epochs=2, checkpoint=True)


def test_a_checkpoint_goes_on_only_with_its_corpus_in_its_folder(tmp_path):
    corpus = toy_corpus(16)
    ModelTrainer(new_tagger(corpus), corpus).train(tmp_path / "run", max_epochs=1, checkpoint=True)
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    with pytest.raises(RunError, match="other train sentences"):
        ModelTrainer.load_checkpoint(checkpoint, toy_corpus(17)).train(tmp_path / "run")
    with pytest.raises(RunError, match="goes on in its own folder; train with base_path="):
        ModelTrainer.load_checkpoint(checkpoint, corpus).train(tmp_path / "elsewhere")
    with pytest.raises(ModelFileError, match="is a model but no checkpoint: train with checkpoint=True"):
        ModelTrainer.load_checkpoint(tmp_path / "run" / "final-model.pt", corpus)


def test_the_checkpoint_is_a_zip_of_json_and_safetensors(tmp_path):
    corpus = toy_corpus(16)
    ModelTrainer(new_tagger(corpus), corpus, torch.optim.Adam).train(tmp_path, max_epochs=1, checkpoint=True)
    with zipfile.ZipFile(tmp_path / "checkpoint.pt") as archive:
        assert {Path(name).suffix for name in archive.namelist()} == {".json", ".safetensors"}
        assert any(name.endswith("exp_avg") for name in load(archive.read("training.safetensors")))
