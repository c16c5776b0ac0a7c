"""Embeddings, taggers and classifiers on a GPU, on machines without one: see tests/simulated_cuda.py."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import charlm
from charlm.config import GateConfig
from charlm.data.corpus import Corpus
from charlm.data.dictionary import Dictionary
from charlm.data.sentence import Sentence
from charlm.embeddings import DocumentPoolEmbeddings, DocumentRNNEmbeddings, FlairEmbeddings, StackedEmbeddings
from charlm.embeddings.document_lm import DocumentLMEmbeddings
from charlm.embeddings.export import embed_file
from charlm.embeddings.flair import PooledFlairEmbeddings
from charlm.embeddings.token import CharacterEmbeddings, WordEmbeddings
from charlm.language_models.language_model import LanguageModel
from charlm.models import SequenceTagger, TextClassifier
from charlm.trainers.downstream.probe import PROBE, run_probe
from charlm.trainers.model_trainer import ModelTrainer
from tests.simulated_cuda import simulated_cuda

pytestmark = pytest.mark.numeric

TEXTS = ("The grass is green .", "I love Berlin", "a", "Berlin is far away")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path))


@pytest.fixture
def model() -> LanguageModel:
    torch.manual_seed(1)
    return LanguageModel(Dictionary.from_items([*" \nabcdefghijklmnopqrstuvwxyzBIT."]), True, 12, 1, 8).eval()


def labelled() -> Corpus:
    sentences = []
    for text in TEXTS * 3:
        sentence = Sentence(text)
        for token in sentence:
            token.add_label("ner", "S-LOC" if token.text == "Berlin" else "O")
        sentence.add_label("topic", "city" if "Berlin" in text else "other")
        sentences.append(sentence)
    return Corpus(sentences[:4], sentences[4:8], sentences[8:], "toy", sample_missing_splits=False)


def word_vectors(folder: Path) -> WordEmbeddings:
    (folder / "tiny.vec").write_text("grass 1 2\nberlin 3 4\n")
    return WordEmbeddings(folder / "tiny.vec")


@pytest.mark.parametrize("mode", ["cpu", "gpu", "none"])
@pytest.mark.parametrize("kind", ["frozen", "learned", "tuned"])
def test_a_tagger_learns_in_every_storage_mode(model, tmp_path, mode, kind) -> None:
    corpus = labelled()
    with simulated_cuda() as ledger:
        parts = {
            "frozen": [FlairEmbeddings(model)],
            "learned": [FlairEmbeddings(model), CharacterEmbeddings(), word_vectors(tmp_path)],
            "tuned": [FlairEmbeddings(model, fine_tune=True)],
        }[kind]
        tagger = SequenceTagger(8, StackedEmbeddings(parts), corpus.make_tag_dictionary("ner"), "ner")
        assert tagger.device.type == "cuda"
        result = ModelTrainer(tagger, corpus).train(
            tmp_path / "run", max_epochs=2, mini_batch_size=4, embeddings_storage_mode=mode,
            optimizer=torch.optim.AdamW, learning_rate=0.02, show_progress=False,
        )  # fmt: skip
        assert result.train_losses[1] < result.train_losses[0]
        assert not [line for line in ledger.waits if "crf.py" in line and "viterbi" not in line]
        assert not [line for line in ledger.waits if "dropout" in line]
        # Weights are moved and watched.
        others = ("elsewhere", "charlm/models/downstream_model.py", "charlm/trainers/downstream/reporting.py")
        assert not [line for line in ledger.uploads if not line.startswith(others)]
    tagger = SequenceTagger.load(tmp_path / "run" / "final-model.pt")  # a GPU's model, without one
    sentence = Sentence("Berlin is far")
    tagger.predict(sentence)
    assert tagger.device.type == "cpu"


def test_the_store_is_copied_to_the_gpu_once_and_only_what_is_wanted(model, tmp_path) -> None:
    from charlm.embeddings.store import EmbeddingStore

    embeddings = FlairEmbeddings(model)
    everything, some = [Sentence(text) for text in TEXTS], [Sentence(TEXTS[1]), Sentence(TEXTS[1])]
    EmbeddingStore(embeddings, tmp_path / "store").attach(everything)
    with simulated_cuda() as ledger:
        before = torch.cuda.memory_allocated(0)
        EmbeddingStore(embeddings, tmp_path / "store").attach(some, torch.device("cuda"))
        assert torch.cuda.memory_allocated(0) - before == 3 * 12 * 4
        assert ledger.pinned_uploads.total() == 1
        found = some[1].get_token_embeddings().cpu()
    assert torch.equal(found, everything[1].get_token_embeddings())


@pytest.mark.parametrize("mode", ["cpu", "gpu", "none"])
@pytest.mark.parametrize("kind", ["pool", "linear", "rnn", "last"])
def test_a_classifier_learns_in_every_storage_mode(model, tmp_path, mode, kind) -> None:
    corpus = labelled()
    with simulated_cuda():
        tokens = [FlairEmbeddings(model)]
        document = {
            "pool": lambda: DocumentPoolEmbeddings([*tokens, CharacterEmbeddings()]),
            "linear": lambda: DocumentPoolEmbeddings(tokens, fine_tune_mode="linear"),
            "rnn": lambda: DocumentRNNEmbeddings([*tokens, CharacterEmbeddings()], hidden_size=8),
            "last": lambda: DocumentLMEmbeddings(tokens),
        }[kind]()
        classifier = TextClassifier(document, corpus.make_label_dictionary("topic"), label_type="topic")
        result = ModelTrainer(classifier, corpus).train(
            tmp_path / "run", max_epochs=1, mini_batch_size=4, embeddings_storage_mode=mode, precision="fp32",
            show_progress=False,
        )  # fmt: skip
        sentences = [Sentence("I love Berlin"), Sentence("")]
        classifier.predict(sentences)
    assert result.epochs == 1
    assert len(sentences[0].get_labels("topic")) == 1


def test_a_tagger_that_was_stopped_on_a_gpu_goes_on_without_one(model, tmp_path) -> None:
    corpus = labelled()
    arguments = {"mini_batch_size": 4, "checkpoint": True, "show_progress": False}
    with simulated_cuda():
        tagger = SequenceTagger(8, FlairEmbeddings(model), corpus.make_tag_dictionary("ner"), "ner")
        ModelTrainer(tagger, corpus).train(tmp_path / "run", max_epochs=1, precision="bf16", **arguments)
        again = ModelTrainer.load_checkpoint(tmp_path / "run" / "checkpoint.pt", corpus)
        assert again.model.device.type == "cuda"
    trainer = ModelTrainer.load_checkpoint(tmp_path / "run" / "checkpoint.pt", corpus)
    assert trainer.train(tmp_path / "run", max_epochs=2, precision="fp32", **arguments).epochs == 2


# ---- embeddings ----------------------------------------------------------------------------------------------------


def test_vectors_of_characters_take_two_copies_a_batch() -> None:
    with simulated_cuda() as ledger:
        embeddings = CharacterEmbeddings().to("cuda")
        ledger.clear()
        embeddings.embed([Sentence(text) for text in TEXTS])
        assert (ledger.pinned_uploads.total(), ledger.uploads.total(), ledger.waits.total()) == (2, 0, 0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_vectors_are_those_of_the_cpu_and_sentences_without_words_go_with_others(model, precision) -> None:
    vectors = {}
    for device in ("cpu", "cuda"):
        with simulated_cuda() as ledger:
            embeddings = FlairEmbeddings(model.to(device), precision=precision)
            stack = StackedEmbeddings([embeddings, CharacterEmbeddings().to(device)])
            sentences = [Sentence(text) for text in (*TEXTS, "")]
            stack.embed(sentences)
            assert [len(sentence.get_token_embeddings()) for sentence in sentences] == [5, 3, 1, 4, 0]
            names = [embeddings.name]
            vectors[device] = torch.cat([sentence.get_token_embeddings(names).float().cpu() for sentence in sentences])
            assert not [line for line in ledger.uploads if "states.py" in line]
    assert torch.allclose(vectors["cpu"], vectors["cuda"], atol=1e-6 if precision == "fp32" else 0.02)


@pytest.mark.parametrize("pooling", ["token", "mean", "first_last"])
def test_a_text_with_blank_lines_is_embedded(model, tmp_path, pooling) -> None:
    (tmp_path / "text.txt").write_text("I love Berlin\n\nThe grass is green .\n   \n\u200b\n")
    with simulated_cuda():
        models = {"forward": model.to("cuda")}
        found = embed_file(models, tmp_path / "text.txt", tmp_path / "vectors.parquet", pooling=pooling)
    assert found.tokens >= 8


def test_pooled_vectors_remember_words_on_a_gpu(model) -> None:
    with simulated_cuda():
        embeddings = PooledFlairEmbeddings(FlairEmbeddings(model), only_capitalized=True).to("cuda")
        sentences = [Sentence(text) for text in TEXTS]
        embeddings.embed(sentences)
        assert sentences[1].get_token_embeddings().device.type == "cuda"
        assert sentences[1].get_token_embeddings().shape == (3, 24)


@pytest.fixture
def device_of_charlm() -> Iterator[None]:
    yield
    vars(charlm).pop("device", None)


def test_charlm_device_moves_everything_to_the_cpu(model, tmp_path, device_of_charlm) -> None:
    model.save(tmp_path / "lm.pt")
    corpus = labelled()
    with simulated_cuda(devices=2):
        assert FlairEmbeddings(tmp_path / "lm.pt").lm.device == torch.device("cuda:0")
        charlm.device = torch.device("cuda:1")
        assert FlairEmbeddings(tmp_path / "lm.pt").lm.device == torch.device("cuda:1")
        charlm.device = "cpu"
        tagger = SequenceTagger(8, FlairEmbeddings(tmp_path / "lm.pt"), corpus.make_tag_dictionary("ner"), "ner")
        assert {weight.device.type for weight in tagger.parameters()} == {"cpu"}
        tagger.predict(Sentence("I love Berlin"))


def test_the_probe_of_the_gate_runs_on_a_gpu(model) -> None:
    config = dataclasses.replace(PROBE, max_epochs=1, hidden_size=8)
    with simulated_cuda():
        scores = run_probe(labelled(), "ner", [model], [model], GateConfig(bootstrap_rounds=100), config=config)
    assert scores.interval[0] <= 0 <= scores.interval[1]
