"""The programs of Flair's tutorial on training a model, with `flair` replaced by `charlm`, on local data.

Names and arguments are the printed ones. Widths, batches and epochs are small, and the printed ones in slow tests.
"""

import contextlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.labelled_data import write_entities, write_questions, write_treebank, write_vectors

pytestmark = pytest.mark.numeric


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """All that Flair would download, under the names that it has there; programs run in a folder of their own."""
    from charlm.data import Dictionary
    from charlm.models import LanguageModel

    torch.set_num_threads(1)
    cache = tmp_path / "cache"
    monkeypatch.setenv("CHARLM_CACHE", str(cache))
    write_vectors(cache / "glove.txt")
    write_treebank(cache / "datasets" / "ud_english", "en_ewt")
    write_treebank(cache / "datasets" / "ud_german", "de_gsd", counts=(30, 5, 5))
    write_questions(cache / "datasets" / "trec_6")
    wnut = ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")
    write_entities(cache / "datasets" / "wnut_17", names=wnut)
    for name in ("multi-forward", "multi-backward"):
        model = LanguageModel(Dictionary.load("chars"), name.endswith("forward"), hidden_size=16, nlayers=1)
        model.save(cache / f"{name}.pt")
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    return cache


@pytest.fixture(params=["small", pytest.param("printed", marks=pytest.mark.slow)])
def size(request) -> Callable[[int, int], int]:
    """Which of two numbers is used: that of the tutorial, or a small one."""
    return (lambda printed, small: printed) if request.param == "printed" else (lambda printed, small: small)


def majority_share(sentences, layer: str = "question_class") -> float:
    """The score of always answering with the most frequent label."""
    counts = Counter(label.value for sentence in sentences for label in sentence.get_labels(layer))
    return max(counts.values()) / counts.total()


def check_learned(result, majority: float) -> None:
    losses = result["train_loss_history"]
    assert losses[-1] < losses[0]
    assert result["test_score"] > majority


def check_drawn(folder: str) -> None:
    """The tutorial's paragraph on plots, of what a training has left."""
    from charlm.visual.training_curves import Plotter

    with contextlib.chdir(folder):
        plotter = Plotter()
        plotter.plot_training_curves("loss.tsv")
        plotter.plot_weights("weights.txt")
    for name in ("training.png", "weights.png"):
        assert Path(folder, name).read_bytes().startswith(b"\x89PNG")


def test_part_of_speech_tagger_is_trained_and_predicts(size):
    from charlm.data import Corpus, Sentence
    from charlm.datasets import UD_ENGLISH
    from charlm.embeddings import CharacterEmbeddings, StackedEmbeddings, WordEmbeddings

    corpus: Corpus = UD_ENGLISH().downsample(0.5)
    assert str(corpus) == "Corpus: 30 train + 5 dev + 5 test sentences"
    tag_type = "pos"
    tag_dictionary = corpus.make_tag_dictionary(tag_type=tag_type)
    assert set(tag_dictionary.get_items()) == {"O", "PRP", "VBP", "DT", "NN", "NNP", "."}
    embedding_types = [WordEmbeddings("glove"), CharacterEmbeddings()]
    embeddings: StackedEmbeddings = StackedEmbeddings(embeddings=embedding_types)

    from charlm.models import SequenceTagger

    tagger: SequenceTagger = SequenceTagger(
        hidden_size=size(256, 32),
        embeddings=embeddings,
        tag_dictionary=tag_dictionary,
        tag_type=tag_type,
        use_crf=True,
    )

    from charlm.trainers import ModelTrainer

    trainer: ModelTrainer = ModelTrainer(tagger, corpus)
    result = trainer.train(
        "resources/taggers/example-pos",
        learning_rate=0.1,
        mini_batch_size=size(32, 8),
        max_epochs=size(150, 12),
    )
    check_learned(result, majority_share(corpus.test, "pos"))
    check_drawn("resources/taggers/example-pos")

    model = SequenceTagger.load("resources/taggers/example-pos/final-model.pt")
    sentence = Sentence("I love Berlin")
    model.predict(sentence)
    assert sentence[1].get_label("pos").value == "VBP"
    assert '"love"/VBP' in sentence.to_tagged_string()


def test_text_classifier_is_trained_and_predicts(size):
    from charlm.data import Corpus, Sentence
    from charlm.datasets import TREC_6
    from charlm.embeddings import DocumentRNNEmbeddings, WordEmbeddings
    from charlm.models import TextClassifier
    from charlm.trainers import ModelTrainer

    corpus: Corpus = TREC_6()
    label_dict = corpus.make_label_dictionary()
    word_embeddings = [WordEmbeddings("glove")]
    document_embeddings = DocumentRNNEmbeddings(word_embeddings, hidden_size=size(256, 32))
    classifier = TextClassifier(document_embeddings, label_dictionary=label_dict)
    trainer = ModelTrainer(classifier, corpus)
    result = trainer.train(
        "resources/taggers/trec",
        learning_rate=0.1,
        mini_batch_size=size(32, 8),
        anneal_factor=0.5,
        patience=5,
        max_epochs=size(150, 12),
    )
    check_learned(result, majority_share(corpus.test))
    check_drawn("resources/taggers/trec")

    classifier = TextClassifier.load("resources/taggers/trec/final-model.pt")
    sentence = Sentence("Who built the Eiffel Tower ?")
    classifier.predict(sentence)
    assert [label.value for label in sentence.labels] == ["HUM"]


def test_transformer_is_fine_tuned_to_classify_texts(cache):
    import transformers

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "who", "where", "how", "many", "is", "the", "?"]
    folder = cache / "distilbert-base-uncased"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    transformers.DistilBertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    # Random weights; wide, because a width of 16 would learn nothing in so few steps of 3e-5.
    settings = transformers.DistilBertConfig(
        vocab_size=len(vocabulary), dim=128, hidden_dim=64, n_layers=1, n_heads=2, max_position_embeddings=32
    )
    write_questions(cache / "datasets" / "trec_6", counts=(600, 60))
    torch.manual_seed(1)
    transformers.DistilBertModel(settings).save_pretrained(folder)

    from torch.optim.adam import Adam

    from charlm.data import Corpus
    from charlm.datasets import TREC_6
    from charlm.embeddings import TransformerDocumentEmbeddings
    from charlm.models import TextClassifier
    from charlm.trainers import ModelTrainer

    corpus: Corpus = TREC_6()
    label_dict = corpus.make_label_dictionary()
    document_embeddings = TransformerDocumentEmbeddings("distilbert-base-uncased", fine_tune=True)
    before = next(document_embeddings.parameters()).detach().clone()
    classifier = TextClassifier(document_embeddings, label_dictionary=label_dict)
    trainer = ModelTrainer(classifier, corpus, optimizer=Adam)
    result = trainer.train(
        "resources/taggers/trec", learning_rate=3e-5, mini_batch_size=16, mini_batch_chunk_size=4, max_epochs=5
    )
    assert result.reason == "5 epochs are done"
    check_learned(result, majority_share(corpus.test))
    assert not torch.equal(next(document_embeddings.parameters()), before)


def test_one_tagger_learns_from_two_corpora(size):
    from charlm.data import MultiCorpus
    from charlm.datasets import UD_ENGLISH, UD_GERMAN
    from charlm.embeddings import FlairEmbeddings, StackedEmbeddings, TokenEmbeddings
    from charlm.training_utils import EvaluationMetric

    corpus: MultiCorpus = MultiCorpus([UD_ENGLISH(), UD_GERMAN()]).downsample(0.5)
    assert len(corpus.train) == 45
    tag_type = "upos"
    tag_dictionary = corpus.make_tag_dictionary(tag_type=tag_type)
    embedding_types: list[TokenEmbeddings] = [FlairEmbeddings("multi-forward"), FlairEmbeddings("multi-backward")]
    embeddings: StackedEmbeddings = StackedEmbeddings(embeddings=embedding_types)

    from charlm.models import SequenceTagger

    tagger: SequenceTagger = SequenceTagger(
        hidden_size=size(256, 32),
        embeddings=embeddings,
        tag_dictionary=tag_dictionary,
        tag_type=tag_type,
        use_crf=True,
    )

    from charlm.trainers import ModelTrainer

    trainer: ModelTrainer = ModelTrainer(tagger, corpus)
    result = trainer.train(
        "resources/taggers/example-universal-pos",
        learning_rate=0.1,
        mini_batch_size=size(32, 8),
        max_epochs=size(150, 8),
        evaluation_metric=EvaluationMetric.MICRO_ACCURACY,
    )
    check_learned(result, majority_share(corpus.test, "upos"))
    assert Path("resources/taggers/example-universal-pos/final-model.pt").is_file()


def test_training_is_resumed_from_its_checkpoint_and_plotted(size):
    from charlm.data import Corpus
    from charlm.datasets import WNUT_17
    from charlm.embeddings import StackedEmbeddings, TokenEmbeddings, WordEmbeddings

    corpus: Corpus = WNUT_17().downsample(0.5)
    tag_type = "ner"
    tag_dictionary = corpus.make_tag_dictionary(tag_type=tag_type)
    assert tag_dictionary.get_items()[0] == "O"
    assert "B-location" in tag_dictionary.get_items()
    embedding_types: list[TokenEmbeddings] = [WordEmbeddings("glove")]
    embeddings: StackedEmbeddings = StackedEmbeddings(embeddings=embedding_types)

    from charlm.models import SequenceTagger

    tagger: SequenceTagger = SequenceTagger(
        hidden_size=size(256, 32),
        embeddings=embeddings,
        tag_dictionary=tag_dictionary,
        tag_type=tag_type,
        use_crf=True,
    )

    from charlm.trainers import ModelTrainer

    trainer: ModelTrainer = ModelTrainer(tagger, corpus)
    settings = {"learning_rate": 0.1, "mini_batch_size": size(32, 8), "checkpoint": True}
    trainer.train("resources/taggers/example-ner", max_epochs=2, **settings)  # stopped at some point

    checkpoint = "resources/taggers/example-ner/checkpoint.pt"
    trainer = ModelTrainer.load_checkpoint(checkpoint, corpus)
    result = trainer.train("resources/taggers/example-ner", max_epochs=size(150, 12), **settings)
    losses = len(Path("resources/taggers/example-ner/loss.tsv").read_text().splitlines()) - 1
    assert losses == result.epochs > 2
    check_learned(result, 0.5)
    check_drawn("resources/taggers/example-ner")


def test_where_embeddings_are_stored_changes_no_score():
    from charlm.datasets import UD_ENGLISH
    from charlm.embeddings import FlairEmbeddings, StackedEmbeddings
    from charlm.models import SequenceTagger
    from charlm.trainers import ModelTrainer

    def test_loss(embeddings_storage_mode: str) -> float:
        torch.manual_seed(1)
        corpus = UD_ENGLISH()
        embeddings = StackedEmbeddings([FlairEmbeddings("multi-forward")])
        tagger = SequenceTagger(8, embeddings, corpus.make_tag_dictionary("upos"), "upos")
        trainer = ModelTrainer(tagger, corpus)
        result = trainer.train("resources/taggers/any", max_epochs=1, embeddings_storage_mode=embeddings_storage_mode)
        return result.test.loss

    # Vectors are rounded differently where other sentences are embedded at the same time.
    assert test_loss("none") == pytest.approx(test_loss("cpu"), abs=1e-4)
