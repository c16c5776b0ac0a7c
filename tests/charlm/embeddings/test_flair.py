"""FlairEmbeddings give Flair's vectors, in both directions of exchange, however the work is cut."""

import itertools
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.data import Dictionary, Sentence
from charlm.embeddings import CharLMEmbeddings, FlairEmbeddings, PooledFlairEmbeddings, StackedEmbeddings
from charlm.embeddings.states import used_precision
from charlm.errors import CharLMWarning, ConfigError, ModelFileError
from charlm.models import LanguageModel
from charlm.nn import precision
from charlm.nn.ragged import cuts
from tests.conftest import ROOT
from tests.flair import embeddings as flair_script
from tests.flair import train_tagger
from tests.flair.embeddings import MODELS, POOLINGS, SETTINGS, TEXTS, settings_key

pytestmark = pytest.mark.numeric

GOLDEN = ROOT / "tests" / "golden" / "flair"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "vectors.npz"))


def sentences() -> list[Sentence]:
    return [Sentence(text, use_tokenizer=False) for text in TEXTS]


def vectors(embedded: list[Sentence]) -> np.ndarray:
    return torch.cat([sentence.get_token_embeddings() for sentence in embedded]).numpy()


def embed_all(models: list[Path]) -> dict[str, np.ndarray]:
    """What `flair_script.write_vectors` computes, computed by us."""
    arrays = {}
    for path in models:
        for tokenized_lm, with_whitespace, is_lower in SETTINGS:
            embeddings = FlairEmbeddings(
                path, tokenized_lm=tokenized_lm, with_whitespace=with_whitespace, is_lower=is_lower
            )
            key = settings_key(path.stem, tokenized_lm, with_whitespace, is_lower)
            arrays[key] = vectors(embeddings.embed(sentences()))
    for pooling, only_capitalized in POOLINGS:
        lm = FlairEmbeddings(models[0], name="lm")
        pooled = PooledFlairEmbeddings(lm, pooling=pooling, only_capitalized=only_capitalized)
        batches = [pooled.embed(sentences()), pooled.embed(sentences()[::-1])]
        arrays[f"pooled {pooling} {only_capitalized:d}"] = np.concatenate([vectors(batch) for batch in batches])
    return arrays


def assert_equal(ours: dict[str, np.ndarray], flairs: dict[str, np.ndarray]) -> None:
    assert ours.keys() == flairs.keys()
    for key, theirs in flairs.items():
        np.testing.assert_allclose(ours[key], theirs, rtol=0, atol=1e-6, err_msg=key)


def test_models_saved_by_flair_give_flairs_vectors_in_all_settings(golden):
    assert_equal(embed_all([GOLDEN / f"{name}.pt" for name in MODELS]), golden)


def test_models_that_we_saved_again_give_the_same_vectors(golden, tmp_path):
    for name in MODELS:
        LanguageModel.load_language_model(GOLDEN / f"{name}.pt").save(tmp_path / f"{name}.pt")
    assert_equal(embed_all([tmp_path / f"{name}.pt" for name in MODELS]), golden)


@pytest.fixture(scope="module")
def flair_python() -> Path:
    python = Path(os.environ.get("CHARLM_FLAIR_PYTHON", ".venv-flair/bin/python"))
    if not python.exists():
        pytest.skip(f"no Flair environment at {python}; make test-flair builds one")
    return python


def run_flair(python: Path, *arguments: object) -> str:
    """Run a script of tests/flair on one thread: two that wait for each other are far slower on small models."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [str(python), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


@pytest.mark.flair
def test_flair_opens_our_models_and_gives_our_vectors(flair_python, tmp_path):
    paths = [tmp_path / f"{name}.pt" for name in MODELS]
    dictionary = Dictionary.from_items(flair_script.LETTERS)
    for seed, (path, arguments) in enumerate(zip(paths, MODELS.values(), strict=True)):
        torch.manual_seed(100 + seed)
        LanguageModel(dictionary, **{"hidden_size": 24, "nlayers": 1, "embedding_size": 7} | arguments).save(path)
    output = tmp_path / "vectors.npz"
    run_flair(flair_python, flair_script.__file__, "vectors", output, *paths)
    assert_equal(embed_all(paths), dict(np.load(output)))


@pytest.mark.flair
def test_golden_vectors_are_what_flair_computes_today(flair_python, golden, tmp_path):
    output = tmp_path / "vectors.npz"
    paths = [GOLDEN / f"{name}.pt" for name in MODELS]
    run_flair(flair_python, flair_script.__file__, "vectors", output, *paths)
    assert_equal(dict(np.load(output)), golden)


@pytest.mark.flair
def test_flairs_own_tagger_trains_on_our_pair(flair_python, tmp_path):
    dictionary = Dictionary.from_items("\n abcdefghijklmnopqrstuvwxyzBHILPW.")
    for direction in ("forward", "backward"):
        LanguageModel(dictionary, direction == "forward", 16, 1).save(tmp_path / f"{direction}.pt")
    paths = [tmp_path / "forward.pt", tmp_path / "backward.pt"]
    assert "score" in run_flair(flair_python, train_tagger.__file__, *paths, tmp_path / "run")


# ---- how the work is done changes no number ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return LanguageModel.load_language_model(GOLDEN / "backward.pt")


def test_a_sentence_has_the_same_vectors_alone_and_among_others(lm):
    together = FlairEmbeddings(lm).embed(sentences())
    alone = [FlairEmbeddings(lm).embed(sentence)[0] for sentence in sentences()]
    np.testing.assert_allclose(vectors(together), vectors(alone), atol=1e-6)


@pytest.mark.parametrize("chars_per_chunk", [1, 7, 100])
def test_reading_in_short_chunks_changes_nothing(lm, chars_per_chunk):
    whole = vectors(FlairEmbeddings(lm).embed(sentences()))
    chunked = vectors(FlairEmbeddings(lm, chars_per_chunk=chars_per_chunk).embed(sentences()))
    np.testing.assert_allclose(chunked, whole, atol=1e-6)


def test_a_batch_is_cut_only_where_padding_would_cost_more_than_a_call():
    assert cuts(np.array([100, 60, 50]), 512) == [0, 100]  # 40 + 50 steps of padding
    assert cuts(np.array([100, 48, 47]), 512) == [0, 48, 100]  # 52 + 53 would be too many, 1 is not
    assert cuts(np.array([100, *[30] * 64]), 512) == [0, 32, 100]  # in multiples of 4
    assert cuts(np.array([998]), 400) == [0, 400, 800, 1000]
    assert cuts(np.array([998]), 333) == [0, 333, 666, 1000]  # nothing is left to read at 999


def test_a_stream_keeps_order_and_vectors(lm, monkeypatch):
    monkeypatch.setattr("charlm.embeddings.base._STREAM_SENTENCES", 3)
    streamed = list(FlairEmbeddings(lm).embed_stream(iter(sentences())))
    assert [sentence.text for sentence in streamed] == [sentence.text for sentence in sentences()]
    np.testing.assert_allclose(vectors(streamed), vectors(FlairEmbeddings(lm).embed(sentences())), atol=1e-6)


@pytest.mark.filterwarnings("ignore::charlm.errors.CharLMWarning")
@pytest.mark.parametrize("shape", [{}, {"nlayers": 2, "nout": 5}])
@pytest.mark.parametrize("chars_per_chunk", [512, 50])
@pytest.mark.parametrize(("low", "least"), [("bf16", 0.999), ("int8", 0.99)])
def test_a_lower_precision_is_close_and_gives_float32(shape, chars_per_chunk, low, least):
    torch.manual_seed(5)
    lm = LanguageModel(Dictionary.from_items(flair_script.LETTERS), True, **{"hidden_size": 32, "nlayers": 1} | shape)
    for parameter in lm.parameters():
        parameter.data *= 2  # states as large as those of a trained model
    exact = vectors(FlairEmbeddings(lm.eval(), chars_per_chunk=chars_per_chunk).embed(sentences()))
    close = vectors(FlairEmbeddings(lm, precision=low, chars_per_chunk=chars_per_chunk).embed(sentences()))
    cosine = (exact * close).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(close, axis=1)
    assert close.dtype == np.float32
    assert np.array_equal(close, exact) == (used_precision(lm, low) == "fp32")
    assert cosine.min() > least


def test_where_int8_is_not_possible_the_vectors_are_those_of_the_next_precision_and_one_line_says_so(lm, monkeypatch):
    monkeypatch.setenv("CHARLM_NATIVE", "off")
    monkeypatch.setattr(precision, "_multiplies_bf16", lambda device: False)
    embeddings = FlairEmbeddings(lm, precision="int8")
    said = "precision=int8 is not possible for this model on this cpu .*, so fp32 is used"
    with pytest.warns(CharLMWarning, match=said) as warned:
        embedded = embeddings.embed(sentences())
    assert len(warned) == 1
    np.testing.assert_array_equal(vectors(embedded), vectors(FlairEmbeddings(lm).embed(sentences())))


def test_where_bf16_is_not_possible_the_vectors_are_exact_and_one_line_says_so(lm, monkeypatch):
    monkeypatch.setattr(precision, "_cpu_computes_bf16", lambda: False)
    embeddings = FlairEmbeddings(lm, precision="bf16")
    with pytest.warns(CharLMWarning, match="precision=bf16 is not possible on this cpu .*, so fp32 is used") as warned:
        embedded = embeddings.embed(sentences())
    assert len(warned) == 1
    np.testing.assert_array_equal(vectors(embedded), vectors(FlairEmbeddings(lm).embed(sentences())))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("is_possible", [True, False])
def test_a_gru_stays_exact_with_bf16(monkeypatch, is_possible):
    monkeypatch.setattr(precision, "_cpu_computes_bf16", lambda: is_possible)
    exact, low = (FlairEmbeddings(GOLDEN / "gru.pt", precision=name) for name in ("fp32", "bf16"))
    np.testing.assert_array_equal(vectors(low.embed(sentences())), vectors(exact.embed(sentences())))


def test_a_gru_stays_exact_with_int8_and_one_line_says_so():
    exact, low = (FlairEmbeddings(GOLDEN / "gru.pt", precision=name) for name in ("fp32", "int8"))
    with pytest.warns(CharLMWarning, match="precision=int8 is not possible for this model .*, so fp32 is used"):
        embedded = low.embed(sentences())
    np.testing.assert_array_equal(vectors(embedded), vectors(exact.embed(sentences())))


# ---- bytes ---------------------------------------------------------------------------------------------------------


def states_by_hand(lm: LanguageModel, data: bytes) -> torch.Tensor:
    """The model's output after each byte of `data`, (T, H)."""
    ids = torch.tensor([lm.dictionary.get_idx_for_item(bytes([byte])) for byte in data])
    with torch.no_grad():
        return lm.represent(lm.encoder(ids[:, None]))[0][:, 0]


@pytest.mark.parametrize("is_forward_lm", [True, False])
@pytest.mark.parametrize("is_lower", [True, False])
def test_a_byte_model_is_read_at_the_bytes_of_the_words(is_forward_lm, is_lower):
    torch.manual_seed(3)
    lm = LanguageModel(Dictionary.from_items([bytes([byte]) for byte in range(256)], unit="byte"), is_forward_lm, 8, 1)
    lm.eval()
    sentence = FlairEmbeddings(lm, is_lower=is_lower).embed(Sentence(["Ünï", "\u212aé"]))[0]  # U+212A lowers to k
    words = [word.lower() if is_lower else word for word in ("Ünï", "\u212aé")]
    text = " ".join(words).encode()
    first, second = (len(word.encode()) for word in words)
    states = states_by_hand(lm, b"\n" + (text if is_forward_lm else text[::-1]) + b" ")
    places = [1 + first, 1 + first + 1 + second] if is_forward_lm else [1 + len(text), 1 + second]
    torch.testing.assert_close(sentence.get_token_embeddings(), states[places])


# ---- what a user meets ---------------------------------------------------------------------------------------------


def test_embeddings_are_concatenated_in_their_order_and_can_be_cleared(lm):
    forward, backward = FlairEmbeddings(GOLDEN / "forward.pt"), CharLMEmbeddings(str(GOLDEN / "backward.pt"))
    stacked = StackedEmbeddings([forward, backward])
    sentence = stacked.embed(Sentence("I love Berlin"))[0]
    alone = FlairEmbeddings(lm).embed(Sentence("I love Berlin"))[0]
    assert stacked.embedding_length == 16
    assert sentence[2].embedding.shape == (16,)
    assert torch.equal(sentence[2].embedding[8:], alone[2].embedding)
    sentence.clear_embeddings()
    assert sentence[2].embedding.shape == (0,)


def test_without_fine_tune_no_gradient_flows_and_training_mode_has_no_dropout():
    embeddings = FlairEmbeddings(GOLDEN / "forward.pt")
    calm = vectors(embeddings.embed([Sentence("I love Berlin")]))
    embeddings.train()
    trained = embeddings.embed(Sentence("I love Berlin"))[0]
    assert not trained[0].embedding.requires_grad
    np.testing.assert_array_equal(vectors([trained]), calm)


def test_with_fine_tune_gradients_reach_the_language_model():
    embeddings = FlairEmbeddings(GOLDEN / "gru.pt", fine_tune=True)
    embeddings.embed(Sentence("I love Berlin"))[0].get_token_embeddings().sum().backward()
    assert all(p.grad is not None for n, p in embeddings.lm.named_parameters() if not n.startswith("decoder"))


def test_static_vectors_are_not_computed_twice(lm):
    embeddings = FlairEmbeddings(lm)
    sentence = embeddings.embed(Sentence("I love Berlin"))[0]
    before = sentence.get_token_embeddings()
    embeddings.embed(sentence)
    assert sentence.get_token_embeddings() is before


def test_a_sentence_without_words_has_no_vectors(lm):
    empty, full = FlairEmbeddings(lm).embed([Sentence(""), Sentence("a b")])
    assert empty.get_token_embeddings().shape == (0, 8)
    assert full.get_token_embeddings().shape == (2, 8)


def test_the_decoder_can_be_left_out():
    assert FlairEmbeddings(GOLDEN / "forward.pt", has_decoder=False).lm.decoder is None
    assert FlairEmbeddings(GOLDEN / "forward.pt").lm.decoder is not None  # to fine-tune `lm`, as in Flair's tutorial


def test_a_name_that_flair_would_download_is_looked_up_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path))
    with pytest.raises(ModelFileError, match=f"put the file at {tmp_path}/news-forward.pt"):
        FlairEmbeddings("news-forward")
    (tmp_path / "news-forward.pt").write_bytes((GOLDEN / "forward.pt").read_bytes())
    assert FlairEmbeddings("news-forward").embedding_length == 8


@pytest.mark.parametrize(
    "arguments", [{"precision": "int4"}, {"precision": "int8", "fine_tune": True}, {"chars_per_chunk": 0}]
)
def test_settings_that_make_no_sense_are_refused(lm, arguments):
    with pytest.raises(ConfigError):
        FlairEmbeddings(lm, **arguments)


def test_mean_pooling_by_hand(lm):
    first, second = (Sentence(text) for text in ("new york", "york new"))
    context = [FlairEmbeddings(lm, name="c").embed(Sentence(text))[0] for text in ("new york", "york new")]
    pooled = PooledFlairEmbeddings(FlairEmbeddings(lm, name="c"), pooling="mean")
    pooled.embed([first, second])
    by_hand = (context[0][0].embedding + context[1][1].embedding) / 2
    torch.testing.assert_close(first[0].get_embedding(["c-context"]), by_hand)
    pooled.train()
    assert not pooled.word_embeddings


def test_remembered_words_of_another_epoch_bring_their_own_vectors(lm):
    """The best epoch met the words in another order than the last one."""
    best, last = (PooledFlairEmbeddings(FlairEmbeddings(lm, name="c"), pooling="mean") for _ in range(2))
    best.eval().embed([Sentence("new york"), Sentence("in york")])
    last.eval().embed([Sentence("york is new in new"), Sentence("york")])
    last.load_state_dict(best.state_dict())
    assert last.word_count == best.word_count == {"new": 1, "york": 2, "in": 1}
    for word, vector in best.word_embeddings.items():
        assert torch.equal(last.word_embeddings[word], vector)
    last.train()
    last.load_state_dict(PooledFlairEmbeddings(FlairEmbeddings(lm, name="c")).state_dict())
    assert last.word_count == {}


def test_remembered_words_of_the_first_version_stand_in_the_settings(lm):
    pooled = PooledFlairEmbeddings(FlairEmbeddings(lm, name="c"), pooling="mean")
    pooled.embed([Sentence("new york")])
    loaded = PooledFlairEmbeddings._from_settings(pooled._settings() | {"word_count": pooled.word_count})
    loaded.set_extra_state(torch.stack(list(pooled.word_embeddings.values())))
    assert loaded.word_count == {"new": 1, "york": 1}
    assert torch.equal(loaded.word_embeddings["york"], pooled.word_embeddings["york"])


def test_all_settings_of_the_golden_file_differ(golden):
    """The comparison would prove nothing if a setting changed no vector."""
    for first, second in itertools.combinations([key for key in golden if key.startswith("forward ")], 2):
        assert not np.allclose(golden[first], golden[second])
