"""What programs written for Flair do with embeddings beside embedding."""

import pytest
import torch

from charlm.data import Dictionary, Sentence
from charlm.embeddings import (
    CharacterEmbeddings,
    DocumentCNNEmbeddings,
    DocumentRNNEmbeddings,
    Embeddings,
    FlairEmbeddings,
    HashEmbeddings,
    StackedEmbeddings,
)
from charlm.embeddings.base import load_embeddings
from charlm.errors import ConfigError
from charlm.models import LanguageModel

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def language_model() -> LanguageModel:
    torch.manual_seed(1)
    return LanguageModel(Dictionary.load("chars"), True, hidden_size=8, nlayers=1, embedding_size=8)


def test_embeddings_are_saved_and_loaded_as_they_are(language_model):
    stacked = StackedEmbeddings([FlairEmbeddings(language_model), CharacterEmbeddings(), HashEmbeddings(7, 5)])
    embeddings = DocumentRNNEmbeddings([stacked], hidden_size=6)
    loaded = load_embeddings(embeddings.save_embeddings(use_state_dict=True))
    assert loaded.get_names() == embeddings.get_names()
    first, second = Sentence("I love Berlin"), Sentence("I love Berlin")
    embeddings.embed(first)
    loaded.embed(second)
    assert torch.equal(first.embedding, second.embedding)
    assert not any(module.training for module in [*embeddings.modules(), *loaded.modules()])
    assert Embeddings[Sentence] is Embeddings


def test_words_of_one_hash_share_a_vector():
    embeddings = HashEmbeddings(num_embeddings=1, embedding_length=4)
    sentence = Sentence("one other")
    embeddings.embed(sentence)
    assert torch.equal(sentence[0].embedding, sentence[1].embedding)
    many = HashEmbeddings(num_embeddings=1000, embedding_length=4, hash_method="sha1")
    again = Sentence("one other")
    many.embed(again)
    assert not torch.equal(again[0].embedding, again[1].embedding)
    with pytest.raises(ConfigError, match="hash_method is a function of hashlib such as md5, got 'md0'"):
        HashEmbeddings(hash_method="md0")


def test_one_token_loses_its_vector(language_model):
    sentence = Sentence("I love Berlin")
    FlairEmbeddings(language_model).embed(sentence)
    kept = sentence[1].embedding.clone()
    sentence[0].clear_embeddings()
    assert (len(sentence[0].embedding), len(sentence[1].embedding)) == (0, 8)
    assert torch.equal(sentence[1].embedding, kept)
    sentence.set_token_embeddings(FlairEmbeddings(language_model).name, torch.zeros(3, 8))
    assert torch.equal(sentence[1].embedding, torch.zeros(8))


def test_states_after_every_character(language_model):
    states = language_model.get_representation(["ab", "abcd"], "\n", " ")
    assert states.shape == (6, 2, 8)
    assert torch.allclose(states[:3, 0], states[:3, 1], atol=1e-6)
    assert not states.requires_grad


def test_convolutions_see_a_sentence_alone():
    torch.manual_seed(2)
    embeddings = DocumentCNNEmbeddings([HashEmbeddings(9, 4)], kernels=((3, 1), (2, 3)), reproject_words=False)
    short, long, empty = Sentence("Hi"), Sentence("I love Berlin very much indeed"), Sentence("")
    embeddings.embed([short, long, empty])
    assert torch.equal(empty.embedding, torch.zeros(5))
    padded = torch.nn.functional.pad(short.get_token_embeddings(), (0, 0, 0, 2))  # as many words as a kernel sees
    expected = [conv(padded.T).relu().amax(dim=1) for conv in embeddings.convs]
    assert torch.allclose(short.embedding, torch.cat(expected), atol=1e-6)
    loaded = load_embeddings(embeddings.save_embeddings())
    again = Sentence("I love Berlin very much indeed")
    loaded.embed(again)
    assert torch.allclose(again.embedding, long.embedding, atol=1e-6)
    with pytest.raises(ConfigError, match="kernels are pairs of positive numbers"):
        DocumentCNNEmbeddings([HashEmbeddings(9, 4)], kernels=())
