"""Taggers and classifiers: what they predict, and the one file that holds them."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.data import Dictionary, Sentence
from charlm.embeddings import (
    CharacterEmbeddings,
    DocumentPoolEmbeddings,
    DocumentRNNEmbeddings,
    FlairEmbeddings,
    PooledFlairEmbeddings,
    StackedEmbeddings,
    TransformerDocumentEmbeddings,
    WordEmbeddings,
)
from charlm.errors import ConfigError, DatasetError, ModelFileError
from charlm.models import DownstreamModel, LanguageModel, SequenceTagger, TextClassifier, TokenClassifier
from tests.toy import GOLDEN, toy_corpus, toy_embeddings, toy_sentences

pytestmark = pytest.mark.numeric


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)
    torch.manual_seed(0)


def tagger(layer: str = "ner", embeddings=None, **settings) -> SequenceTagger:
    dictionary = toy_corpus().make_tag_dictionary(layer)
    return SequenceTagger(8, embeddings or toy_embeddings(), dictionary, layer, **settings).eval()


def classifier(document_embeddings=None, **settings) -> TextClassifier:
    document_embeddings = document_embeddings or DocumentPoolEmbeddings(toy_embeddings())
    return TextClassifier(document_embeddings, toy_corpus().make_label_dictionary("class"), **settings).eval()


def token_classifier(embeddings) -> TokenClassifier:
    dictionary = toy_corpus().make_label_dictionary("ner")
    return TokenClassifier(embeddings, dictionary, "ner", "BIO", dropout=0.1).eval()


def predictions(model: DownstreamModel, sentences: list[Sentence]) -> list[tuple[str, str, float]]:
    model.predict(sentences, label_name="predicted", return_probabilities_for_all_classes=True)
    labels = [label for sentence in sentences for label in sentence.get_labels("predicted")]
    return [(label.data_point.text, label.value, label.score) for label in labels]


# ---- predicting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_crf", [True, False])
def test_the_probabilities_of_all_tags_sum_to_one_and_leave_the_labels(use_crf):
    sentence = Sentence("I love New York")
    model = tagger("kind", use_crf=use_crf)
    model.predict(sentence)
    chosen = [token.get_label("kind") for token in sentence]
    model.predict(sentence, return_probabilities_for_all_classes=True)
    for token, first in zip(sentence, chosen, strict=True):
        probabilities = {label.value: label.score for label in token.get_tags_proba_dist("kind")}
        assert set(probabilities) == {"O", "name", "word"}
        assert sum(probabilities.values()) == pytest.approx(1)
        assert token.get_label("kind").value == first.value
        if token.has_label("kind"):  # a word that is tagged `O` gets no label, as in Flair
            assert probabilities[first.value] == first.score


def test_a_prediction_does_not_depend_on_the_other_sentences_of_a_batch():
    model = tagger()
    together = toy_sentences(30, seed=5)
    alone = toy_sentences(30, seed=5)
    found = predictions(model, together)
    expected = [prediction for sentence in alone for prediction in predictions(model, [sentence])]
    assert [(text, value) for text, value, _ in found] == [(text, value) for text, value, _ in expected]
    assert np.allclose([score for *_, score in found], [score for *_, score in expected], atol=1e-5)


def test_spans_are_put_on_the_sentence_with_the_mean_of_their_tags_probabilities():
    model = tagger(use_crf=False, use_rnn=False)
    ids = {tag: idx for idx, tag in enumerate(model.tags)}
    with torch.no_grad():
        model.linear.weight.zero_()
        model.linear.bias.zero_()
        model.linear.bias[ids["B-LOC"]] = 10  # every word begins a span, so every word is one
    sentence = Sentence("New York")
    model.predict(sentence)
    assert [(span.text, span.get_label("ner").value) for span in sentence.get_spans("ner")] == [
        ("New", "LOC"),
        ("York", "LOC"),
    ]
    expected = np.exp(10) / (np.exp(10) + len(ids) - 1)
    assert sentence.get_spans("ner")[0].score == pytest.approx(expected, rel=1e-5)


def test_predicting_replaces_the_layer_leaves_others_and_drops_the_vectors():
    (sentence,) = toy_sentences(1, seed=4)
    empty = Sentence("")
    kinds = [token.get_label("kind").value for token in sentence]
    model = tagger("kind")
    model.predict([sentence, empty], label_name="ner")
    model.predict([sentence, empty], label_name="ner")
    assert [token.get_label("kind").value for token in sentence] == kinds
    assert all(len(token.get_labels("ner")) == (token.get_label("ner").value != "O") for token in sentence)
    assert sentence.get_token_embeddings().shape[1] == 0
    assert not empty.labels


def test_a_label_that_the_model_never_saw_counts_as_missed():
    sentences = toy_sentences(10, seed=1)
    model = tagger("kind")
    before = model.evaluate(sentences)
    for token in sentences[0]:
        token.set_label("kind", "number")
    after = model.evaluate(sentences)
    assert after.scores.classes["number"].true == len(sentences[0])
    assert after.scores.items == before.scores.items
    assert np.isfinite(after.loss)
    with pytest.raises(DatasetError, match=r"the tag 'number' of .* is not among the tagger's 3"):
        model.encode_labels(sentences[0])


def test_scores_are_those_of_the_predictions_and_stand_in_the_file_beside_the_truth(tmp_path):
    sentences = toy_sentences(10, seed=1)
    model = tagger("kind")
    evaluation = model.evaluate(sentences, out_path=tmp_path / "test.tsv", mini_batch_size=3)
    model.predict(sentences, label_name="predicted")
    blocks = (tmp_path / "test.tsv").read_text().strip().split("\n\n")
    rows = [line.split("\t") for block in blocks for line in block.split("\n")]
    tokens = [token for sentence in sentences for token in sentence]
    assert [row[:3] for row in rows] == [
        [token.text, token.get_label("kind").value, token.get_label("predicted").value] for token in tokens
    ]
    assert evaluation.main_score == pytest.approx(np.mean([row[1] == row[2] for row in rows]))


def test_several_labels_are_given_from_the_threshold_on():
    labels = Dictionary(add_unk=False)
    for label in ("sure", "likely", "no"):
        labels.add_item(label)
    model = TextClassifier(DocumentPoolEmbeddings(toy_embeddings()), labels, multi_label=True)
    with torch.no_grad():
        model.decoder.weight.zero_()
        model.decoder.bias.copy_(torch.tensor([2.0, 0.1, -0.1]))
    sentence = Sentence("I love Berlin")
    model.predict(sentence)
    assert [label.value for label in sentence.labels] == ["sure", "likely"]
    model.multi_label_threshold = 0.6
    model.predict(sentence)
    assert [(label.value, label.score) for label in sentence.labels] == [("sure", pytest.approx(0.880797))]
    loss, count = model.forward_loss([sentence])
    expected = -np.log([0.880797, 1 - 0.524979, 1 - 0.475021]).sum()  # sigmoids of 2, 0.1 and -0.1
    assert (loss.item(), count) == (pytest.approx(expected, rel=1e-4), 1)


def test_a_text_with_two_labels_needs_a_classifier_for_several():
    (sentence,) = toy_sentences(1, seed=1)
    sentence.add_label("class", "claim")
    sentence.add_label("class", "question")
    with pytest.raises(DatasetError, match="labels in the layer 'class': a text needs exactly one, or multi_label"):
        classifier().encode_labels(sentence)
    assert classifier(multi_label=True).encode_labels(sentence).tolist() == [1, 1]


@pytest.mark.parametrize("threshold", [0, 1])
def test_a_threshold_that_makes_no_sense_is_refused(threshold):
    with pytest.raises(ConfigError, match=f"in \\(0, 1\\), got {threshold}"):
        classifier(multi_label_threshold=threshold)


# ---- files ---------------------------------------------------------------------------------------------------------


def word_vectors(folder: Path) -> WordEmbeddings:
    (folder / "vectors.txt").write_text("berlin 1 2\ni 3 4\nberlin 5 6\nrain 7 8\n")
    return WordEmbeddings(folder / "vectors.txt")


def remembering(folder: Path) -> PooledFlairEmbeddings:
    embeddings = PooledFlairEmbeddings(FlairEmbeddings(folder / "forward.pt"), pooling="mean")
    embeddings.eval().embed(toy_sentences(5, seed=8))
    return embeddings


def transformer(folder: Path) -> TransformerDocumentEmbeddings:
    import transformers

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "berlin", "i", "love", "##ve"]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "tiny")
    config = transformers.BertConfig(
        vocab_size=9, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    transformers.BertModel(config).save_pretrained(folder / "tiny")
    return TransformerDocumentEmbeddings(folder / "tiny", pooling="mean")


MODELS = {
    "flair": lambda folder: tagger(embeddings=StackedEmbeddings([FlairEmbeddings(folder / "forward.pt")])),
    "one": lambda folder: tagger(embeddings=FlairEmbeddings(folder / "forward.pt", with_whitespace=False)),
    "words": lambda folder: tagger(embeddings=word_vectors(folder), use_crf=False, rnn_layers=2),
    "linear": lambda folder: token_classifier(word_vectors(folder)),
    "stack": lambda folder: tagger(embeddings=StackedEmbeddings([word_vectors(folder), CharacterEmbeddings()])),
    "pooled": lambda folder: tagger(embeddings=StackedEmbeddings([remembering(folder)]), reproject_embeddings=False),
    "rnn": lambda folder: classifier(DocumentRNNEmbeddings([word_vectors(folder)], 6, bidirectional=True)),
    "pool": lambda folder: classifier(DocumentPoolEmbeddings([word_vectors(folder)], "max"), multi_label=True),
    "transformer": lambda folder: classifier(transformer(folder)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_file_works_alone(tmp_path, monkeypatch, kind):
    folder = tmp_path / "sources"
    folder.mkdir()
    shutil.copy(GOLDEN / "forward.pt", folder)
    model = MODELS[kind](folder)
    model.save(tmp_path / "model.pt")
    expected = predictions(model, toy_sentences(10, seed=3))
    shutil.rmtree(folder)
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "elsewhere"))
    loaded = DownstreamModel.load(tmp_path / "model.pt")
    assert type(loaded) is type(model)
    loaded.save(tmp_path / "again.pt")
    assert (tmp_path / "model.pt").read_bytes() == (tmp_path / "again.pt").read_bytes()
    assert predictions(loaded, toy_sentences(10, seed=3)) == expected


def test_a_model_is_found_by_name_in_the_cache(tmp_path):
    tagger().save(tmp_path / "cache" / "places.pt")
    assert SequenceTagger.load("places").tag_type == "ner"


def rewritten(path: Path, *, compression: int = zipfile.ZIP_STORED, **changes) -> Path:
    """A copy of a model file with other settings of its model."""
    target = path.with_name("rewritten.pt")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", compression) as copy:
        for name in source.namelist():
            content = source.read(name)
            if name == "model.json":
                content = json.dumps(json.loads(content) | changes).encode()
            copy.writestr(name, content)
    return target


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path("/tmp/charlm-was-here"),))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "TextClassifier"}, "it holds a TextClassifier, not a SequenceTagger"),
        ({"kind": "Path"}, "it holds a Path, not a SequenceTagger"),
        ({"hidden_size": 10**6}, "size mismatch|damaged"),
        ({"hidden_size": 10**30}, "damaged"),
        ({"embeddings": {"kind": "os.system"}}, "no embeddings of the kind 'os.system'"),
        ({"tags": ["O"]}, "damaged"),
        ({"surprise": 1}, "damaged"),
    ],
)
def test_a_file_that_says_impossible_things_is_refused_in_one_line(tmp_path, changes, reason):
    tagger().save(tmp_path / "model.pt")
    with pytest.raises(ModelFileError, match=reason) as refusal:
        SequenceTagger.load(rewritten(tmp_path / "model.pt", **changes))
    assert "rewritten.pt" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_compressed_file_and_a_pickle_are_refused(tmp_path):
    tagger().save(tmp_path / "model.pt")
    with pytest.raises(ModelFileError, match="compressed"):
        SequenceTagger.load(rewritten(tmp_path / "model.pt", compression=zipfile.ZIP_DEFLATED))
    (tmp_path / "trap.pt").write_bytes(pickle.dumps(Trap()))
    torch.save({"state_dict": Trap()}, tmp_path / "torch.pt")
    for name in ("trap.pt", "torch.pt"):
        with pytest.raises(ModelFileError, match=name):
            DownstreamModel.load(tmp_path / name)
    assert not Path("/tmp/charlm-was-here").exists()
    with pytest.raises(ModelFileError, match="it is a pickle of torch, and it asks to import"):
        DownstreamModel.load(tmp_path / "torch.pt")
    with pytest.raises(ModelFileError, match="no model 'nowhere'"):
        DownstreamModel.load("nowhere")


def test_a_language_model_is_no_tagger(tmp_path):
    LanguageModel(Dictionary.from_items("ab"), True, 4, 1).save(tmp_path / "best-lm.pt")
    with pytest.raises(ModelFileError, match=r"best-lm\.pt"):
        SequenceTagger.load(tmp_path / "best-lm.pt")
