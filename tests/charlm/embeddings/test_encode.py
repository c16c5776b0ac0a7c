"""Vectors for programs: of texts in one call, in pipelines of scikit-learn, and static ones of words."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import charlm
from charlm.data import Sentence
from charlm.embeddings import FlairEmbeddings, StackedEmbeddings, TextVectorizer, WordEmbeddings
from charlm.embeddings.encode import encode
from charlm.embeddings.static_vectors import frequent_words, static_vectors, write_word_vectors
from charlm.errors import CharLMError, ConfigError, CorpusError
from charlm.language_models.language_model import LanguageModel
from charlm.serialization.bundle import write_bundle
from tests.toy import GOLDEN, toy_sentences

pytestmark = pytest.mark.numeric

TEXTS = ["I love Berlin .", "", "the grass is green", "x"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    states = {
        name: LanguageModel.load_language_model(GOLDEN / f"{name}.pt").language_model_state()
        for name in ("forward", "backward")
    }
    folder = tmp_path_factory.mktemp("encode") / "pair"
    write_bundle(folder, states, {})
    return folder


@pytest.fixture(scope="module")
def embeddings() -> StackedEmbeddings:
    return StackedEmbeddings([FlairEmbeddings(GOLDEN / f"{name}.pt") for name in ("forward", "backward")])


def matrix(embeddings: StackedEmbeddings, text: str | list[str]) -> np.ndarray:
    return np.asarray(embeddings.embed(Sentence(text))[0].get_token_embeddings().numpy())


def test_a_vector_is_made_of_those_of_the_words(pair: Path, embeddings: StackedEmbeddings) -> None:
    done: list[int] = []
    means = charlm.encode(pair, iter(TEXTS), on_progress=done.append)
    ends = encode(str(pair), TEXTS, pooling="first_last")
    assert (means.shape, ends.shape, means.dtype) == ((4, 16), (4, 32), np.float32)
    assert done == [1, 2, 3, 4]
    assert not means[1].any()
    assert not ends[1].any()
    for number in (0, 2, 3):
        words = matrix(embeddings, TEXTS[number])
        np.testing.assert_allclose(means[number], words.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(ends[number], np.concatenate([words[0], words[-1]]), atol=1e-6)
    np.testing.assert_allclose(encode(embeddings, TEXTS, pooling="max")[2], matrix(embeddings, TEXTS[2]).max(axis=0))
    assert encode(pair / "forward", []).shape == (0, 8)


def test_words_are_those_of_the_tokenizer_or_are_given(pair: Path, embeddings: StackedEmbeddings) -> None:
    text = "I-love Berlin."
    given = encode(pair, [["I-love", "Berlin."]])
    for tokenizer in (str.split, "whitespace", False):
        np.testing.assert_allclose(encode(pair, [text], tokenizer=tokenizer), given, atol=1e-6)  # type: ignore[arg-type]
    assert np.abs(encode(pair, [text]) - given).max() > 1e-3
    with pytest.raises(CharLMError, match="'LOVE', which is not in the text"):
        encode(pair, ["I love Berlin"], tokenizer=lambda text: text.upper().split())
    with pytest.raises(ConfigError, match="a tokenizer is one of rules, whitespace"):
        encode(pair, [text], tokenizer="nothing")


@pytest.mark.parametrize(
    ("texts", "pooling", "message"),
    [
        ("one text", "mean", "takes a list of texts, not one text"),
        (["a", None], "mean", "text 1 is neither a text nor a list of words: None"),
        (["a", float("nan")], "mean", "text 1 is neither"),
        (["a"], "median", "pooling is mean, max, first_last"),
    ],
)
def test_what_is_no_text_is_refused(texts: object, pooling: str, message: str, pair: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        encode(pair, texts, pooling=pooling)  # type: ignore[arg-type]


def test_a_pipeline_of_scikit_learn_learns_from_the_vectors(pair: Path) -> None:
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    sentences = toy_sentences(60, 1)
    texts = [sentence.to_original_text() for sentence in sentences]
    labels = [sentence.get_label("class").value for sentence in sentences]
    vectorizer = TextVectorizer(str(pair), pooling="max")
    pipeline = make_pipeline(vectorizer, LogisticRegression(max_iter=200))
    predicted = pipeline.fit(texts, labels).predict(texts)
    vectors = encode(pair, texts, pooling="max")
    assert predicted.tolist() == LogisticRegression(max_iter=200).fit(vectors, labels).predict(vectors).tolist()
    copy = clone(pipeline)
    assert copy.get_params()["textvectorizer__pooling"] == "max"
    assert copy.steps[0][1] is not vectorizer
    search = GridSearchCV(copy, {"textvectorizer__pooling": ["mean", "max"]}, cv=2).fit(texts, labels)
    assert search.best_params_["textvectorizer__pooling"] in ("mean", "max")
    assert len(vectorizer.get_feature_names_out()) == 16
    again = pickle.loads(pickle.dumps(pipeline))
    assert again.predict(texts).tolist() == predicted.tolist()
    assert "_opened" not in pickle.loads(pickle.dumps(vectorizer)).__dict__
    with pytest.raises(ValueError, match="no parameter 'width'"):
        vectorizer.set_params(width=3)


def test_a_static_vector_is_the_mean_over_the_contexts(embeddings: StackedEmbeddings, tmp_path: Path) -> None:
    texts = ["the grass is green", "the sky", "is it the sky", "no\u00a0break", ""]
    words = frequent_words(texts, 3)
    assert words == ["the", "is", "sky"]
    vectors, counts = static_vectors(embeddings, texts, words)
    assert counts.tolist() == [3, 2, 2]
    rows = [matrix(embeddings, texts[0])[0], matrix(embeddings, texts[1])[0], matrix(embeddings, texts[2])[2]]
    np.testing.assert_allclose(vectors[0], np.mean(rows, axis=0), atol=1e-6)
    write_word_vectors(tmp_path / "words.vec", words, vectors)
    assert (tmp_path / "words.vec").read_text().splitlines()[0] == "3 16"
    read = WordEmbeddings(tmp_path / "words.vec").embed(Sentence("The sky ."))[0].get_token_embeddings()
    np.testing.assert_allclose(read[0], vectors[0], rtol=1e-5, atol=1e-7)
    assert not read[2].any()


def test_no_more_contexts_are_embedded_than_needed(
    embeddings: StackedEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charlm.embeddings.static_vectors.ENOUGH_CONTEXTS", 2)
    _, counts = static_vectors(embeddings, ["a b"] * 50 + ["a c"], ["a", "c"])
    assert counts.tolist() == [3, 1]


def test_texts_without_words_have_no_static_vectors() -> None:
    with pytest.raises(CorpusError, match="no words"):
        frequent_words(["", " "], 5)
    with pytest.raises(ConfigError, match="at least 1"):
        frequent_words(["a"], 0)


@pytest.mark.parametrize("package", ["gensim", "spacy"])
def test_other_packages_read_static_vectors(package: str, embeddings: StackedEmbeddings, tmp_path: Path) -> None:
    found = pytest.importorskip(package, reason="a large package that nothing else here needs")
    texts = ["the grass is green", "the sky"]
    words = frequent_words(texts, 4)
    vectors, _ = static_vectors(embeddings, texts, words)
    write_word_vectors(tmp_path / "words.vec", words, vectors)
    if package == "gensim":
        read = found.models.KeyedVectors.load_word2vec_format(str(tmp_path / "words.vec"))["the"]
    else:
        nlp = found.blank("en")
        lines = (tmp_path / "words.vec").read_text().splitlines()[1:]
        for word, *numbers in map(str.split, lines):
            nlp.vocab.set_vector(word, np.array(numbers, dtype=np.float32))
        read = nlp("the")[0].vector
    np.testing.assert_allclose(read, vectors[words.index("the")], rtol=1e-5, atol=1e-7)
