"""What programs written for Flair pass to taggers and classifiers, and what they get."""

from pathlib import Path

import pytest
import torch

from charlm.data import Dictionary, Sentence
from charlm.embeddings import DocumentPoolEmbeddings, FlairEmbeddings, OneHotEmbeddings
from charlm.errors import ConfigError, DatasetError
from charlm.models import SequenceTagger, TextClassifier
from charlm.nn import Classifier
from charlm.trainers import ModelTrainer
from tests.toy import GOLDEN, toy_corpus


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)
    torch.manual_seed(1)
    return tmp_path / "cache"


def span_tagger(**arguments) -> SequenceTagger:
    corpus = toy_corpus(12)
    embeddings = OneHotEmbeddings.from_corpus(corpus, min_freq=1, embedding_length=8)
    values = corpus.make_label_dictionary("ner")
    return SequenceTagger(embeddings=embeddings, tag_dictionary=values, tag_type="ner", hidden_size=8, **arguments)


def test_first_arguments_may_stand_in_the_order_of_newer_versions():
    corpus = toy_corpus(12)
    embeddings = OneHotEmbeddings.from_corpus(corpus, min_freq=1, embedding_length=8)
    values = corpus.make_label_dictionary("ner")
    newer = SequenceTagger(embeddings, values, "ner", hidden_size=8, use_crf=False)
    older = SequenceTagger(8, embeddings, values, "ner", use_crf=False)
    assert str(newer) == str(older)
    with pytest.raises(
        ConfigError, match="a number, vectors of words, a Dictionary, a name; got int, OneHotEmbeddings, "
    ):
        SequenceTagger(embeddings, "ner", values)
    with pytest.raises(ConfigError, match="name the arguments after embeddings, tag_dictionary, tag_type: use_crf="):
        SequenceTagger(embeddings, values, "ner", True)


def test_a_model_of_no_labels_runs_and_is_saved_but_learns_nothing(tmp_path):
    corpus = toy_corpus(12)
    for sentence in corpus.get_all_sentences():
        sentence.add_label("topic", "travel")
    words = OneHotEmbeddings.from_corpus(corpus, min_freq=1, embedding_length=8)
    models = [
        SequenceTagger(words, Dictionary(), "ner", hidden_size=8),
        TextClassifier(DocumentPoolEmbeddings([words]), label_dictionary=Dictionary(), label_type="topic"),
    ]
    for model in models:
        assert model.label_dictionary.get_items() == ["<unk>"]
        model.save(tmp_path / "model.pt")
        Classifier.load(tmp_path / "model.pt").predict([Sentence("I love Berlin"), Sentence("")])
        with pytest.raises(DatasetError, match="'s 1: make the"):
            ModelTrainer(model, corpus).train(tmp_path / "run", max_epochs=1)
    with pytest.raises(ConfigError, match="the dictionary holds no label"):
        SequenceTagger(words, Dictionary(add_unk=False), "ner")


@pytest.mark.parametrize(("tag_format", "prefixes"), [("BIOES", "SBEI"), ("BIO", "BI")])
def test_a_dictionary_of_span_values_gives_the_tags_of_the_format(tag_format, prefixes):
    tags = span_tagger(tag_format=tag_format).label_dictionary.get_items()
    assert tags[0] == "O"
    assert {tag[0] for tag in tags[1:]} == set(prefixes)


@pytest.mark.parametrize("arguments", [{"rnn_type": "GRU"}, {"rnn_type": "RNN", "bidirectional": False}])
def test_other_recurrent_layers_are_saved_and_loaded(tmp_path, arguments):
    tagger, sentence = span_tagger(**arguments), toy_corpus(12).test[0]
    tagger.save(tmp_path / "tagger.pt")
    loaded = Classifier.load(tmp_path / "tagger.pt")
    losses = [model.eval().forward_loss([sentence])[0].item() for model in (tagger, loaded)]
    assert losses[0] == losses[1]


def test_an_unknown_tag_is_learned_as_unk_where_that_is_allowed(tmp_path):
    sentence = toy_corpus(12).train[0]
    sentence[0].add_label("ner", "NEW")
    tagger = span_tagger(allow_unk_predictions=True)
    assert tagger.tags[:2] == ["<unk>", "O"]
    assert tagger.encode_labels(sentence)[0] == 0
    tagger.save(tmp_path / "tagger.pt")
    assert Classifier.load(tmp_path / "tagger.pt").tags == tagger.tags
    with pytest.raises(DatasetError, match="is not among the tagger's 5"):
        span_tagger().encode_labels(sentence)


@pytest.mark.parametrize("rnn_type", ["LSTM", "GRU"])
def test_the_first_state_of_the_recurrent_layer_can_be_learned(tmp_path, rnn_type):
    tagger, sentences = span_tagger(rnn_type=rnn_type, train_initial_hidden_state=True), toy_corpus(12).train
    tagger.forward_loss(sentences)[0].backward()
    states = list(tagger.rnn.start)
    assert [state.shape for state in states] == [(2, 8)] * (2 if rnn_type == "LSTM" else 1)
    assert all(state.grad.abs().min() > 0 for state in states)
    before = tagger.eval().forward_loss(sentences)[0].item()
    torch.nn.init.ones_(states[0])
    tagger.save(tmp_path / "tagger.pt")
    after = Classifier.load(tmp_path / "tagger.pt").forward_loss(sentences)[0].item()
    assert after == tagger.forward_loss(sentences)[0].item() != before


def test_loss_weights_scale_the_loss_of_a_tag():
    sentence = toy_corpus(12).train[0]
    plain = span_tagger(use_crf=False).eval()
    torch.manual_seed(1)
    tripled = span_tagger(use_crf=False, loss_weights=dict.fromkeys(plain.tags, 3.0)).eval()
    tripled.load_state_dict(plain.state_dict())
    assert tripled.forward_loss([sentence])[0].item() == pytest.approx(3 * plain.forward_loss([sentence])[0].item())
    with pytest.raises(ConfigError, match="loss_weights names 'nothing'"):
        span_tagger(use_crf=False, loss_weights={"nothing": 2.0})


def test_probabilities_of_all_tags_leave_the_spans_and_stand_on_the_tokens():
    tagger, sentence = span_tagger(), toy_corpus(12).test[0]
    tagger.predict(sentence, label_name="plain")
    loss, count = tagger.predict(
        (one for one in [sentence]), return_probabilities_for_all_classes=True, return_loss=True, label_name="all"
    )
    assert count == len(sentence)
    assert loss == pytest.approx(tagger.eval().forward_loss([sentence])[0].item())
    assert [span.text for span in sentence.get_spans("all")] == [span.text for span in sentence.get_spans("plain")]
    for token in sentence:
        assert sum(label.score for label in token.get_tags_proba_dist("all")) == pytest.approx(1, abs=1e-5)


def test_spans_can_be_predicted_as_tags_of_words_and_vectors_kept():
    tagger, sentence = span_tagger(), toy_corpus(12).test[0]
    tagger.predict(sentence, force_token_predictions=True, label_name="words", embedding_storage_mode="cpu")
    assert not sentence.get_spans("words")
    assert len(sentence[0].embedding) == 8
    tagger.predict(sentence)
    assert len(sentence[0].embedding) == 0


def test_a_training_takes_flairs_arguments_and_reads_like_a_dictionary(tmp_path, capsys):
    corpus = toy_corpus(12)
    trainer = ModelTrainer(span_tagger(), corpus)
    result = trainer.train(
        tmp_path, learning_rate=0.05, max_epochs=2, momentum=0.9, main_evaluation_metric=("macro avg", "f1-score"),
        save_model_each_k_epochs=2, monitor_train_sample=0.5, anneal_with_restarts=True, write_weights=False,
    )  # fmt: skip
    assert result["test_score"] == result.test.classification_report["macro avg"]["f1-score"]
    assert len(result["train_loss_history"]) == 2
    assert (tmp_path / "model_epoch_2.pt").is_file()
    assert not (tmp_path / "weights.txt").exists()
    assert "train sample loss" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="plugins is not supported: observers"):
        trainer.train(tmp_path, plugins=["any"])
    with pytest.raises(ConfigError, match="there is no score"):
        trainer.train(tmp_path / "other", max_epochs=1, main_evaluation_metric=("no avg", "f1-score"))


def test_fine_tuning_warms_up_falls_to_zero_and_keeps_the_last_model(tmp_path):
    corpus = toy_corpus(12)
    embeddings = DocumentPoolEmbeddings([FlairEmbeddings(GOLDEN / "forward.pt")], fine_tune_mode="nonlinear")
    classifier = TextClassifier(
        embeddings=embeddings, label_dictionary=corpus.make_label_dictionary("class"), label_type="class"
    )
    rates = []

    class Optimizer(torch.optim.AdamW):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    result = ModelTrainer(classifier, corpus).fine_tune(tmp_path, 1e-3, max_epochs=2, optimizer=Optimizer)
    assert rates[0] == 0
    assert max(rates) == pytest.approx(1e-3, rel=0.2)
    assert rates[-1] < rates[-2]
    assert result.epochs == 2
    assert not (tmp_path / "best-model.pt").exists()


def test_a_training_of_no_epoch_scores_the_model_as_it_is(tmp_path):
    corpus = toy_corpus(12)
    tagger = span_tagger()
    before = tagger.evaluate(corpus.test, "ner").main_score
    assert ModelTrainer(tagger, corpus).train(tmp_path, max_epochs=0)["test_score"] == before
