"""Word, character, document and transformer embeddings."""

import shutil
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
    StackedEmbeddings,
    TransformerDocumentEmbeddings,
    TransformerEmbeddings,
    TransformerWordEmbeddings,
    WordEmbeddings,
)
from charlm.embeddings.base import load_embeddings
from charlm.embeddings.pieces import word_vectors
from charlm.errors import CharLMWarning, ConfigError, ModelFileError
from charlm.nn.dropout import LockedDropout, WordDropout
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden" / "flair"

pytestmark = pytest.mark.numeric


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)
    return tmp_path / "cache"


def token_vectors(embeddings, *words: str) -> list[list[float]]:
    return embeddings.embed(Sentence(list(words)))[0].get_token_embeddings().tolist()


# ---- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["", "4 2\n"])
def test_vectors_are_read_with_and_without_a_header(tmp_path, header):
    path = tmp_path / "vectors.vec"
    path.write_text(header + "the 1 2\nberlin 3 4\n. . 5 6\n#### 7 8 \n")
    embeddings = WordEmbeddings(path)
    assert embeddings.embedding_length == 2
    assert token_vectors(embeddings, "the", "Berlin", "1999", ". .", "nowhere") == [
        [1, 2], [3, 4], [7, 8], [5, 6], [0, 0],
    ]  # fmt: skip


def test_digits_fall_back_to_zeros(tmp_path):
    (tmp_path / "vectors.txt").write_text("00 1 2\n")
    assert token_vectors(WordEmbeddings(tmp_path / "vectors.txt"), "47") == [[1, 2]]


def test_a_converted_file_is_mapped_and_an_edited_one_converted_again(tmp_path, cache):
    path = tmp_path / "vectors.txt"
    path.write_text("a 1 2\n")
    WordEmbeddings(path)
    assert isinstance(WordEmbeddings(path).vectors, np.memmap)
    path.write_text("a 1 3\n")
    assert token_vectors(WordEmbeddings(path), "a") == [[1, 3]]
    assert len(list((cache / "word_vectors").iterdir())) == 2


def test_glove_is_looked_up_in_the_cache(cache):
    with pytest.raises(ModelFileError, match=f"no word vectors 'glove'.*{cache}/glove.txt"):
        WordEmbeddings("glove")
    cache.mkdir()
    (cache / "glove.txt").write_text("a 1 2\n")
    assert token_vectors(WordEmbeddings("glove"), "a") == [[1, 2]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1 is not a word|holds no word vectors"),
        (b"0 2\n", "holds no word vectors"),
        (b"a 1 2\nb 1\n", "line 2 is not a word and its numbers"),
        (b"a 1 2\nb 1 x\n", "line 2 is not a word and its numbers"),
        (b"a 1 2\n\xff 1 2\n", "line 2 is not a word and its numbers"),
    ],
)
def test_a_damaged_file_is_refused_and_leaves_nothing(tmp_path, cache, content, reason):
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=reason):
        WordEmbeddings(path)
    assert not list((cache / "word_vectors").iterdir())


# ---- characters ----------------------------------------------------------------------------------------------------


def test_vectors_of_a_file_are_learned_where_that_is_asked_for(tmp_path):
    (tmp_path / "vectors.txt").write_text("a 1 2\nb 3 4\na 5 6\n")
    embeddings = WordEmbeddings(tmp_path / "vectors.txt", fine_tune=True)
    sentence = Sentence("a unknown b")
    for _ in range(2):  # learned vectors are computed anew each time
        embeddings.embed(sentence)
    assert [token.embedding.tolist() for token in sentence] == [[1, 2], [0, 0], [3, 4]]
    sum(token.embedding.sum() for token in sentence).backward()
    assert embeddings.learned.grad.tolist() == [[1, 1], [1, 1]]
    with torch.no_grad():
        embeddings.learned[1] = 7
    loaded = load_embeddings(embeddings.save_embeddings())
    loaded.embed(other := Sentence("b"))
    assert other[0].embedding.tolist() == [7, 7]
    assert other[0].embedding.requires_grad


def test_vectors_of_labels_are_looked_up_where_a_layer_is_named(tmp_path):
    (tmp_path / "vectors.txt").write_text("NOUN 1 2\nVERB 3 4\n")
    embeddings = WordEmbeddings(tmp_path / "vectors.txt", "upos")
    sentence = Sentence("go home")
    sentence[0].add_label("upos", "VERB")
    for part in (embeddings, load_embeddings(embeddings.save_embeddings())):
        sentence.clear_embeddings()
        part.embed(sentence)
        assert [token.embedding.tolist() for token in sentence] == [[3, 4], [0, 0]]


def test_a_word_has_one_vector_wherever_it_stands():
    embeddings = CharacterEmbeddings(Dictionary.from_items("abc"), char_embedding_dim=3, hidden_size_char=4)
    first, second = embeddings.embed([Sentence("abc b a"), Sentence("b")])
    assert embeddings.embedding_length == 8
    assert torch.equal(first[1].embedding, second[0].embedding)
    assert not torch.allclose(first[0].embedding, first[1].embedding)


def test_character_vectors_are_the_final_states_of_both_directions():
    embeddings = CharacterEmbeddings(Dictionary.from_items("abc"), char_embedding_dim=3, hidden_size_char=4)
    vector = embeddings.embed([Sentence(["ab", "abc"])])[0][0].embedding
    output, _ = embeddings.char_rnn(embeddings.char_embedding(torch.tensor([1, 2])))
    torch.testing.assert_close(vector, torch.cat([output[-1, :4], output[0, 4:]]))
    vector.sum().backward()
    assert embeddings.char_embedding.weight.grad.abs().sum() > 0


# ---- documents -----------------------------------------------------------------------------------------------------


def lm_embeddings() -> list[FlairEmbeddings]:
    return [FlairEmbeddings(GOLDEN / "forward.pt"), FlairEmbeddings(GOLDEN / "backward.pt")]


@pytest.mark.parametrize("pooling", ["mean", "max", "min"])
def test_pooling_by_hand(pooling):
    embeddings = DocumentPoolEmbeddings(lm_embeddings(), pooling=pooling)
    sentence, empty = embeddings.embed([Sentence("I love Berlin"), Sentence("")])
    matrix = sentence.get_token_embeddings().numpy()
    assert np.allclose(sentence.embedding.numpy(), getattr(np, pooling)(matrix, axis=0))
    assert empty.embedding.tolist() == [0.0] * 16


@pytest.mark.parametrize("rnn_type", ["GRU", "LSTM"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_recurrent_vector_is_that_of_the_sentence_alone(rnn_type, bidirectional):
    """The same numbers as Flair's for the same weights (compared by hand with flair 0.15.1: difference 0.0)."""
    embeddings = DocumentRNNEmbeddings(
        lm_embeddings(), hidden_size=5, reproject_words_dimension=4, rnn_type=rnn_type, bidirectional=bidirectional
    )
    short, _, empty = embeddings.embed([Sentence("I love"), Sentence("a much longer one"), Sentence("")])
    with torch.no_grad():
        output, _ = embeddings.rnn(embeddings.word_reprojection_map(short.get_token_embeddings())[None])
    expected = torch.cat([output[0, 0], output[0, -1]]) if bidirectional else output[0, -1]
    assert embeddings.embedding_length == len(expected)
    torch.testing.assert_close(short.embedding.detach(), expected)
    assert not empty.embedding.any()


def test_fine_tuning_decides_about_gradients():
    assert DocumentRNNEmbeddings(lm_embeddings()).embed(Sentence("a"))[0].embedding.requires_grad
    assert not DocumentRNNEmbeddings(lm_embeddings(), fine_tune=False).embed(Sentence("a"))[0].embedding.requires_grad


def test_dropout_of_words_and_of_places_keeps_the_mean_and_stops_after_training():
    ones = torch.ones(200, 50, 10)
    locked, words = LockedDropout(0.4), WordDropout(0.4)
    torch.manual_seed(0)
    dropped = locked(ones)
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)
    zeros = words(ones)
    assert torch.equal(zeros, zeros[:, :, :1].expand_as(zeros))
    assert (zeros == 0).float().mean().item() == pytest.approx(0.4, abs=0.02)
    assert torch.equal(locked.eval()(ones), ones)
    assert torch.equal(words.eval()(ones), ones)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DocumentPoolEmbeddings(lm_embeddings(), pooling="sum"),
        lambda: DocumentRNNEmbeddings(lm_embeddings(), rnn_type="RNN"),
        lambda: TransformerDocumentEmbeddings("any", pooling="sum"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make):
    with pytest.raises(ConfigError, match=r"sum|RNN"):
        make()


def test_a_stack_says_what_it_is_made_of():
    stack = StackedEmbeddings([CharacterEmbeddings(Dictionary.from_items("a")), FlairEmbeddings(GOLDEN / "gru.pt")])
    assert stack.embedding_length == 50 + 5
    assert stack.get_names() == ["0-Char", f"1-{GOLDEN / 'gru.pt'}"]
    assert str(stack) == f"StackedEmbeddings [0-Char,1-{GOLDEN / 'gru.pt'}]"


# ---- transformers --------------------------------------------------------------------------------------------------


@pytest.fixture
def transformer(tmp_path) -> Path:
    """A model of one layer with random weights."""
    import transformers

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "tiny")
    config = transformers.BertConfig(
        vocab_size=7, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    transformers.BertModel(config).save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_a_transformer_is_found_by_name_where_hugging_face_keeps_it(transformer, monkeypatch, tmp_path):
    kept = tmp_path / "hub" / "models--tiny--bert"
    shutil.copytree(transformer, kept / "snapshots" / ("0" * 40))
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert TransformerWordEmbeddings("tiny/bert").embedding_length == 16
    for missing in ("tiny/other", "no/such/folder", "C:\\models"):
        with pytest.raises(ModelFileError, match="give a path, or put the file at"):
            TransformerWordEmbeddings(missing)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_a_transformers_vector_is_that_of_the_sentence_alone(transformer, pooling):
    embeddings = TransformerDocumentEmbeddings(transformer, fine_tune=False, pooling=pooling)
    short, _ = embeddings.embed([Sentence("hello"), Sentence("hello world hello world")])
    with torch.no_grad():
        states = embeddings.model(torch.tensor([[2, 5, 3]])).last_hidden_state[0]  # [CLS] hello [SEP]
    expected = {"cls": states[0], "mean": states.mean(0), "max": states.amax(0)}[pooling]
    torch.testing.assert_close(short.embedding, expected)
    assert not short.embedding.requires_grad


def test_layers_of_a_transformer_are_averaged_as_in_flair(transformer):
    embeddings = TransformerWordEmbeddings(transformer, layers="all")
    assert embeddings.fine_tune
    (sentence,) = embeddings.embed(Sentence("hello"))
    with torch.no_grad():
        states = embeddings.model(torch.tensor([[2, 5, 3]]), output_hidden_states=True).hidden_states
    torch.testing.assert_close(sentence[0].embedding.detach(), torch.stack(states)[:, 0, 1].mean(dim=0))
    assert TransformerWordEmbeddings(transformer, layers="0,1", layer_mean=False).embedding_length == 32


def test_a_transformer_gives_vectors_of_words_and_of_the_sentence_at_once(transformer):
    both = TransformerEmbeddings(transformer, fine_tune=False)
    words, texts = TransformerWordEmbeddings(transformer), TransformerDocumentEmbeddings(transformer)
    assert [part.embedding_type for part in (both, words, texts)] == ["word-level", "word-level", "sentence-level"]
    for embeddings in (both, load_embeddings(both.save_embeddings())):
        sentence, plain = Sentence("hello world"), Sentence("hello world")
        embeddings.embed(sentence)
        assert embeddings.is_on(sentence)
        words.embed(plain)
        torch.testing.assert_close(sentence[1].embedding, plain[1].embedding.detach())
        texts.embed(plain)
        torch.testing.assert_close(sentence.get_embedding([both.name]), plain.get_embedding([texts.name]).detach())
    with pytest.raises(ConfigError, match="is_token_embedding or is_document_embedding must be true"):
        TransformerEmbeddings(transformer, is_token_embedding=False, is_document_embedding=False)


@pytest.mark.parametrize("pooling", ["first", "last", "first_last", "mean"])
def test_a_word_of_several_pieces_gets_the_pooling_that_is_asked_for(pooling):
    states = torch.tensor([[1.0], [2.0], [4.0], [7.0], [9.0]])  # of a special piece, two of word 0, one of 2, one more
    expected = {"first": [2, 0, 7], "last": [4, 0, 7], "mean": [3, 0, 7]}
    vectors = word_vectors(states, [None, 0, 0, 2, None], 3, pooling)
    if pooling == "first_last":
        assert vectors.tolist() == [[2, 4], [0, 0], [7, 7]]
    else:
        assert vectors.flatten().tolist() == expected[pooling]


def test_a_long_sentence_is_read_in_windows_that_overlap_as_in_flair(transformer):
    """Of a window of 8 pieces 6 are words; windows share 4, of which each gives the 2 that it has more text around."""
    embeddings = TransformerWordEmbeddings(transformer, fine_tune=False)
    embeddings.tokenizer.model_max_length = 8
    texts = TransformerDocumentEmbeddings(transformer, pooling="mean", allow_long_sentences=True, fine_tune=False)
    texts.tokenizer.model_max_length = 8
    embeddings.stride = texts.stride = 4
    sentence = Sentence(" ".join(["hello", "world", "world", "hello", "hello"] * 2))
    ids = [5, 6, 6, 5, 5] * 2
    with torch.no_grad():
        windows = [
            embeddings.model(torch.tensor([[2, *ids[start : start + 6], 3]])).last_hidden_state[0]
            for start in (0, 2, 4)
        ]
    expected = torch.cat([windows[0][1:5], windows[1][3:5], windows[2][3:7]])
    embeddings.embed([Sentence("hello"), sentence])
    torch.testing.assert_close(sentence.get_token_embeddings(), expected)
    texts.embed([Sentence("hello"), sentence])
    pieces = torch.cat([windows[0][:1], expected, windows[2][7:]])
    torch.testing.assert_close(sentence.get_embedding([texts.name]), pieces.mean(dim=0))
    short = TransformerWordEmbeddings(transformer, allow_long_sentences=False, fine_tune=False)
    short.tokenizer.model_max_length = 8
    with pytest.warns(CharLMWarning, match="longer ones are truncated"):
        (cut,) = short.embed(Sentence(sentence.text))
    assert cut.get_token_embeddings().abs().sum(dim=1).count_nonzero() == 6


def test_a_transformer_reads_the_sentences_around(transformer):
    embeddings = TransformerWordEmbeddings(transformer, use_context=2, fine_tune=False)
    sentences = [Sentence("hello hello world"), Sentence("world"), Sentence("hello world")]
    embeddings.embed(sentences)
    separator = embeddings.tokenizer.convert_tokens_to_ids("[FLERT]")
    ids = [2, 5, 6, separator, 6, separator, 5, 6, 3]  # [CLS] hello world [FLERT] world [FLERT] hello world [SEP]
    with torch.no_grad():
        states = embeddings.model(torch.tensor([ids])).last_hidden_state[0]
    torch.testing.assert_close(sentences[1][0].embedding, states[4])
    loaded = load_embeddings(embeddings.save_embeddings())
    assert loaded.context == embeddings.context
    alone = Sentence("world")
    embeddings.embed(alone)
    assert not torch.allclose(alone[0].embedding, sentences[1][0].embedding)


def test_context_is_left_out_now_and_then_in_training(transformer):
    embeddings = TransformerDocumentEmbeddings(
        transformer, use_context=True, use_context_separator=False, context_dropout=0.5
    )
    assert embeddings.context_length == 64
    first, second = Sentence("hello"), Sentence("world")
    Sentence.set_context_for_sentences([first, second])
    torch.manual_seed(3)
    seen = {len(embeddings.context.around(second, training=True)[0]) for _ in range(20)}
    assert seen == {0, 1}
    assert embeddings.context.around(second, training=False) == (["hello"], [])
    second.is_document_boundary = first.is_document_boundary = True
    assert embeddings.context.around(second, training=False) == ([], [])
    with pytest.raises(ConfigError, match="use_context is true, false or a number"):
        TransformerDocumentEmbeddings(transformer, use_context=-1)


def test_a_transformer_as_pickle_is_refused(transformer):
    (transformer / "model.safetensors").unlink()
    torch.save({}, transformer / "pytorch_model.bin")
    with pytest.raises(ModelFileError, match="is not a transformer that charlm can read"):
        TransformerDocumentEmbeddings(transformer)
