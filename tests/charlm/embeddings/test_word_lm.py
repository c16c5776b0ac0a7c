"""States of language models of words as vectors of tokens and of texts, and classifiers that train the models too."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from charlm.config import SplitConfig
from charlm.data import Corpus, Sentence
from charlm.data.dictionary import Dictionary
from charlm.embeddings import (
    DocumentWordLMEmbeddings,
    FlairEmbeddings,
    StackedEmbeddings,
    WordLMEmbeddings,
)
from charlm.embeddings.base import embeddings_from_json
from charlm.embeddings.export import embed_file
from charlm.errors import ConfigError, ModelFileError
from charlm.language_models.language_model import LanguageModel
from charlm.models import TextClassifier
from charlm.nn.inference import inference
from charlm.serialization.bundle import write_bundle
from charlm.trainers import ModelTrainer
from charlm.trainers.downstream.build import stack_embeddings
from charlm.units.unit import find_unit
from tests.toy import GOLDEN, toy_sentences

pytestmark = pytest.mark.numeric

WORDS = ["\n", "I", "love", "Berlin", "the", "rain", "Paris", "New", "York", "n't", "do"]


def word_model(*, is_forward: bool = True, **settings: object) -> LanguageModel:
    torch.manual_seed(1 + is_forward)
    unit = find_unit("word").with_split(SplitConfig(unit="word", tokenizer="whitespace"))
    dictionary = Dictionary.from_items(WORDS, unit=unit)
    model = LanguageModel(dictionary, is_forward, **({"hidden_size": 6, "nlayers": 2, "embedding_size": 5} | settings))
    for weight in model.parameters():
        torch.nn.init.uniform_(weight, -0.5, 0.5)
    return model.eval()


def states_of(model: LanguageModel, words: list[str]) -> torch.Tensor:
    """The states of a model after a newline and each word, in reading direction, (N + 1, D)."""
    order = words if model.is_forward_lm else words[::-1]
    ids = torch.tensor([model.dictionary.get_idx_for_item(word) for word in ("\n", *order)])
    with inference(model):
        return model(ids.unsqueeze(1))[1][:, 0].clone()


SENTENCE = ["I", "love", "unheard", "Berlin"]


def vectors(embeddings: WordLMEmbeddings, words: list[str]) -> torch.Tensor:
    sentence = Sentence(words)
    embeddings.embed(sentence)
    return sentence.get_token_embeddings([embeddings.name])


def test_vectors_are_the_states_after_each_word() -> None:
    forward, backward = word_model(), word_model(is_forward=False)
    found = vectors(WordLMEmbeddings([forward, backward]), SENTENCE)
    expected = torch.cat([states_of(forward, SENTENCE)[1:], states_of(backward, SENTENCE)[1:].flip(0)], dim=1)
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("is_forward", [True, False])
def test_a_token_that_the_tokenizer_splits_has_the_state_after_its_last_word(is_forward: bool) -> None:
    model = word_model(is_forward=is_forward)
    found = vectors(WordLMEmbeddings(model), ["I", "New York", "love"])
    states = states_of(model, ["I", "New", "York", "love"])
    assert torch.allclose(found, states[[1, 3, 4]] if is_forward else states[[4, 3, 1]], atol=1e-6)


def test_sentences_get_the_same_vectors_alone_and_together() -> None:
    embeddings = WordLMEmbeddings([word_model(), word_model(is_forward=False)])
    sentences = [Sentence(SENTENCE[:length]) for length in (4, 1, 0, 3)]
    embeddings.embed(sentences)
    for sentence, length in zip(sentences, (4, 1, 0, 3), strict=True):
        together = sentence.get_token_embeddings([embeddings.name])
        assert together.shape == (length, 12)
        assert torch.allclose(together, vectors(embeddings, SENTENCE[:length]), atol=1e-6)


def stacks() -> list[dict[str, object]]:
    return [{}, {"recurrent_type": "GRU"}, {"nout": 4}, {"tie_weights": True, "weight_dropout": 0.5}]


@pytest.mark.parametrize("settings", stacks())
def test_layers_stand_side_by_side_or_are_mixed(settings: dict[str, object]) -> None:
    model = word_model(**settings)
    top, every = WordLMEmbeddings(model), WordLMEmbeddings(model, layers="all")
    width = top.embedding_length
    assert torch.allclose(vectors(top, SENTENCE), states_of(model, SENTENCE)[1:], atol=1e-6)
    both = vectors(every, SENTENCE)
    assert both.shape[1] == every.embedding_length > width
    assert torch.allclose(both[:, -width:], vectors(top, SENTENCE), atol=1e-6)


def test_the_weights_of_a_mix_begin_equal_and_are_learned() -> None:
    model = word_model()
    mix = WordLMEmbeddings(model, layers="mix")
    first, second = vectors(WordLMEmbeddings(model, layers="all"), SENTENCE).split(6, dim=1)
    found = vectors(mix, SENTENCE)
    assert torch.allclose(found, (first + second) / 2, atol=1e-6)
    found.square().sum().backward()
    assert mix.mix_weights is not None
    assert mix.mix_weights[0].grad is not None
    assert all(weight.grad is None for weight in model.parameters())
    with pytest.raises(ConfigError, match="layers of one width"):
        WordLMEmbeddings(word_model(nout=4), layers="mix")


def test_they_stand_beside_character_models() -> None:
    stacked = StackedEmbeddings([FlairEmbeddings(GOLDEN / "forward.pt"), WordLMEmbeddings(word_model())])
    sentence = Sentence(SENTENCE)
    stacked.embed(sentence)
    assert sentence[0].embedding.shape == (stacked.embedding_length,)
    assert stacked.static_embeddings


@pytest.mark.parametrize("layers", ["top", "all", "mix"])
def test_they_are_the_same_after_settings_and_weights_were_stored(layers: str) -> None:
    embeddings = WordLMEmbeddings([word_model(), word_model(is_forward=False)], layers=layers)  # type: ignore[arg-type]
    loaded = embeddings_from_json(embeddings.to_json())
    loaded.load_state_dict(embeddings.state_dict())
    assert isinstance(loaded, WordLMEmbeddings)
    assert torch.equal(vectors(loaded, SENTENCE), vectors(embeddings, SENTENCE))


def test_models_are_found_in_bundles_and_those_of_characters_are_refused(tmp_path: Path) -> None:
    models = {"forward": word_model(), "backward": word_model(is_forward=False)}
    write_bundle(tmp_path / "pair", {name: model.language_model_state() for name, model in models.items()}, {})
    embeddings = WordLMEmbeddings(tmp_path / "pair")
    assert torch.equal(vectors(embeddings, SENTENCE), vectors(WordLMEmbeddings([*models.values()]), SENTENCE))
    with pytest.raises(ModelFileError, match="needs models of words"):
        WordLMEmbeddings(GOLDEN / "forward.pt")
    with pytest.raises(ModelFileError, match="WordLMEmbeddings"):
        FlairEmbeddings(models["forward"])
    with pytest.raises(ConfigError, match="top, all or mix"):
        WordLMEmbeddings(models["forward"], layers="bottom")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at least one"):
        WordLMEmbeddings([])


def test_the_unit_of_a_model_decides_what_embeds_with_it(tmp_path: Path) -> None:
    models = {"forward": word_model(), "backward": word_model(is_forward=False)}
    stacked = stack_embeddings([models["forward"], LanguageModel.load_language_model(GOLDEN / "forward.pt")])
    assert [type(part) for part in stacked.parts] == [WordLMEmbeddings, FlairEmbeddings]
    (tmp_path / "text.txt").write_text(" ".join(SENTENCE) + "\n")
    written = embed_file(models, tmp_path / "text.txt", tmp_path / "vectors.parquet")
    assert (written.tokens, written.dimensions) == (4, 12)
    found = np.array(pq.read_table(tmp_path / "vectors.parquet")["embedding"].to_pylist())
    assert found == pytest.approx(vectors(WordLMEmbeddings([*models.values()]), SENTENCE).numpy(), abs=1e-6)
    write_bundle(tmp_path / "pair", {name: model.language_model_state() for name, model in models.items()}, {})
    card = (tmp_path / "pair" / "README.md").read_text()
    assert 'WordLMEmbeddings("BUNDLE/forward")' in card
    assert "FlairEmbeddings" not in card


# ---- texts ---------------------------------------------------------------------------------------------------------


def test_the_vector_of_a_text_is_its_last_state_and_the_maximum_and_mean_of_all() -> None:
    models = [word_model(), word_model(is_forward=False)]
    pooled = DocumentWordLMEmbeddings(WordLMEmbeddings(models))
    sentence, empty = Sentence(SENTENCE), Sentence([])
    pooled.embed([sentence, empty])
    all_states = vectors(WordLMEmbeddings(models), SENTENCE)  # (N, 12)
    last = torch.cat([all_states[-1, :6], all_states[0, 6:]])
    expected = torch.cat([last, all_states.max(dim=0).values, all_states.mean(dim=0)])
    assert torch.allclose(sentence.get_embedding([pooled.name]), expected, atol=1e-6)
    assert not empty.get_embedding([pooled.name]).any()
    assert pooled.embedding_length == 36


def classifier(corpus: Corpus) -> TextClassifier:
    embeddings = WordLMEmbeddings([word_model(), word_model(is_forward=False)], fine_tune=True)
    labels = corpus.make_label_dictionary(label_type="class")
    return TextClassifier(DocumentWordLMEmbeddings(embeddings), labels, label_type="class")


def toy_corpus() -> Corpus:
    return Corpus(toy_sentences(60, 1), toy_sentences(15, 2), toy_sentences(15, 3), name="toy")


def test_a_classifier_trains_its_language_models_layer_by_layer(tmp_path: Path) -> None:
    corpus = toy_corpus()
    model = classifier(corpus)
    names = ("decoder.weight", "lms.0.rnn.weight_ih_l1", "lms.1.rnn.weight_ih_l0", "lms.0.encoder.weight")
    changes: list[list[bool]] = []
    for epochs in (1, 2, 3, 4):
        model = classifier(corpus)
        before = {name: weight.clone() for name, weight in model.state_dict().items()}
        ModelTrainer(model, corpus).train(
            tmp_path / str(epochs),
            0.5,
            8,
            max_epochs=epochs,
            gradual_unfreezing=True,
            layer_decay=2.6,
            show_progress=False,
            use_final_model_for_eval=True,
        )
        after = model.state_dict()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        changes.append([any(name.endswith(part) for name in changed) for part in names])
        assert all(weight.requires_grad for weight in model.parameters())
    assert changes == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, True],
    ]


PARTS = ("_l1", "_l0", "encoder")


def test_lower_layers_learn_more_slowly(tmp_path: Path) -> None:
    corpus = toy_corpus()
    moved = []
    for decay in (1.0, 4.0):
        model = classifier(corpus)
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        ModelTrainer(model, corpus).train(
            tmp_path / str(decay), 0.1, 60, max_epochs=1, layer_decay=decay, show_progress=False
        )
        after = {name: weight.detach() for name, weight in model.named_parameters()}
        distance = {name: (after[name] - before[name]).abs().sum().item() for name in after}
        moved.append([sum(distance[name] for name in distance if part in name) for part in PARTS])
    for depth, (fast, slow) in enumerate(zip(*moved, strict=True), 1):
        assert slow == pytest.approx(fast / 4**depth, rel=0.02)


def test_a_fine_tuned_classifier_learns_and_is_the_same_after_it_was_saved(tmp_path: Path) -> None:
    corpus = toy_corpus()
    model = classifier(corpus)
    result = ModelTrainer(model, corpus).train(
        tmp_path / "run", 0.05, 8, optimizer=torch.optim.AdamW, max_epochs=30, layer_decay=2.6, show_progress=False
    )
    assert result.test_score > 0.8  # 0.93 to 1 over eight seeds: two of 15 sentences may be wrong
    loaded = TextClassifier.load(tmp_path / "run" / "best-model.pt")
    predicted = []
    for classifier_of in (model, loaded):
        sentences = [Sentence(sentence.words) for sentence in corpus.test]
        classifier_of.predict(sentences)
        labels = [sentence.get_label("class") for sentence in sentences]
        predicted.append([(label.value, label.score) for label in labels])
    assert predicted[0] == predicted[1]


def test_settings_of_layers_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    corpus = toy_corpus()
    with pytest.raises(ConfigError, match="layer_decay must be at least 1"):
        ModelTrainer(classifier(corpus), corpus).train(tmp_path / "run", layer_decay=0.5)
