"""The language model: its parts, what it generates, and what its scores mean."""

import math

import numpy as np
import pytest
import torch

from charlm.config import TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import ConfigError, CorpusError, GateError, ModelFileError, SourceError
from charlm.evaluation import language_model as metrics
from charlm.evaluation.language_model import score_encoded, score_file, score_text, stream_shape, unit_nats
from charlm.evaluation.scores import LMScore
from charlm.language_models import decoding
from charlm.language_models.language_model import LanguageModel, load_language_models
from charlm.text.corpus.encoding import encode_file

pytestmark = pytest.mark.numeric

LETTERS = "\n abcde"
BYTES = Dictionary.from_items([bytes([code]) for code in range(256)], unit="byte")


def model_of(forward: bool = True, dictionary: Dictionary | None = None, **arguments) -> LanguageModel:
    torch.manual_seed(1)
    dictionary = dictionary or Dictionary.from_items(LETTERS)
    return LanguageModel(dictionary, forward, **{"hidden_size": 12, "nlayers": 1, "dropout": 0.0, **arguments}).eval()


def uniform_model(dictionary: Dictionary, forward: bool = True) -> LanguageModel:
    """A model that finds every unit equally likely."""
    model = model_of(forward, dictionary)
    with torch.no_grad():
        model.decoder.weight.zero_()
        model.decoder.bias.zero_()
    return model


# ---- architecture --------------------------------------------------------------------------------------------------


def test_shapes_are_time_first():
    model = model_of(nlayers=2, nout=5)
    logits, output, (hidden, cell) = model(torch.zeros(7, 3, dtype=torch.long), model.init_hidden(3))
    assert logits.shape == (7, 3, len(model.dictionary))
    assert output.shape == (7, 3, 5)
    assert hidden.shape == cell.shape == (2, 3, 12)


@pytest.mark.parametrize("settings", [{}, {"nlayers": 2, "nout": 5}, {"recurrent_type": "gru", "nlayers": 2}])
@torch.no_grad()
def test_a_single_step_is_that_of_the_layers(settings):
    model = model_of(**settings)
    _, _, hidden = model(torch.tensor([[1, 4], [2, 3]]), model.init_hidden(2))
    expected, _, expected_hidden = model(torch.tensor([[5, 6]]), hidden)
    logits, new_hidden = model.predict_next(torch.tensor([5, 6]), hidden)
    torch.testing.assert_close(logits, expected[0])
    torch.testing.assert_close(new_hidden, expected_hidden)


def test_gatewise_start_gives_orthogonal_recurrent_gates():
    model = LanguageModel.from_config(
        TrainingConfig(hidden_size=16, max_epochs=1), Dictionary.load("chars"), is_forward_lm=True
    )
    for gate in model.rnn.weight_hh_l0.detach().split(16):
        assert torch.allclose(gate @ gate.T, torch.eye(16), atol=1e-5)
    assert not model.rnn.bias_ih_l0.any()


def test_unknown_recurrent_type_is_refused():
    with pytest.raises(ConfigError, match="LSTM or GRU"):
        model_of(recurrent_type="transformer")


# ---- text ----------------------------------------------------------------------------------------------------------


def test_backward_model_reads_by_code_point_from_the_end():
    forward, backward = model_of(True), model_of(False)
    assert forward.encode_text("abc").tolist() == backward.encode_text("cba").tolist()
    assert forward.calculate_perplexity("abcde a") == pytest.approx(backward.calculate_perplexity("a edcba"))


def test_perplexity_is_that_of_the_probabilities_after_each_character():
    model = model_of()
    ids = model.encode_text("abe")
    logits, _, _ = model(ids[:-1, None])
    probabilities = logits[:, 0].detach().softmax(-1)
    expected = 1 / math.sqrt(float(probabilities[0, ids[1]] * probabilities[1, ids[2]]))
    assert model.calculate_perplexity("abe") == pytest.approx(expected, rel=1e-5)


def test_generation_repeats_with_its_seed_and_keeps_its_prefix():
    model = model_of()
    text, nats = model.generate_text("ab", number_of_characters=40, seed=3)
    assert text == model.generate_text("ab", number_of_characters=40, seed=3)[0]
    assert text != model.generate_text("ab", number_of_characters=40, seed=4)[0]
    assert text.startswith("ab")
    assert len(text) == 42
    assert 0 < nats < 2 * math.log(len(model.dictionary))
    assert set(text) <= set(LETTERS)  # never <unk>


def test_backward_generation_ends_with_its_prefix():
    assert model_of(False).generate_text("cab", number_of_characters=10, seed=1)[0].endswith("cab")


def test_generation_stops_at_a_suffix():
    model = uniform_model(Dictionary.from_items("a"))  # can only say "a"
    assert model.generate_text("a", number_of_characters=50, break_on_suffix="aaa", seed=1)[0] == "aaaa"


def test_low_temperature_chooses_the_likeliest():
    model = model_of()
    with torch.no_grad():
        model.decoder.bias[3] = 5.0
    assert model.generate_text("a", number_of_characters=5, temperature=0.01, seed=1)[0] == "a" + LETTERS[2] * 5


# ---- scores --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forward", [True, False])
def test_uniform_model_pays_the_logarithm_of_the_dictionary(forward):
    dictionary = Dictionary.from_items(LETTERS)  # eight with <unk>
    score = score_text(uniform_model(dictionary, forward), "abc abc\nde\n")
    assert score.loss == pytest.approx(math.log(8))
    assert score.bits_per_character == pytest.approx(3)
    assert score.perplexity == pytest.approx(8)
    assert score.bits_per_byte == pytest.approx(3)  # one byte each
    assert score.characters == 11


def test_unknown_characters_pay_for_their_names_in_bits_per_byte():
    score = score_text(uniform_model(Dictionary.from_items(LETTERS)), "aé€\n")  # 4 characters, 1 + 2 + 3 + 1 bytes
    assert score.unk_rate == 0.5
    assert score.bits_per_character == pytest.approx(3)
    assert score.bits_per_byte == pytest.approx((4 * 3 + 2 * math.log2(1_114_112)) / 7)


def test_byte_model_counts_bytes_in_loss_and_characters_in_bits_per_character():
    score = score_text(uniform_model(BYTES), "é\n")
    bits = math.log2(257)
    assert score.loss == pytest.approx(math.log(257))
    assert score.bits_per_byte == pytest.approx(bits)
    assert score.bits_per_character == pytest.approx(bits * 3 / 2)


@pytest.mark.parametrize(
    ("units", "shape"),
    [(1, (1, 1)), (999, (1, 999)), (2_500, (2, 1_250)), (20_000, (20, 1_000)), (20_001, (20, 1_001))],
)
def test_streams_are_fixed_by_the_text(units, shape):
    assert stream_shape(units) == shape


@pytest.mark.parametrize("forward", [True, False])
def test_score_is_that_of_each_stream_read_alone_whatever_is_computed_at_once(forward, monkeypatch, tmp_path):
    model = model_of(forward)
    draw = np.random.default_rng(2)
    text = "".join("".join(draw.choice(list("abcde "), 60)) + "\n" for _ in range(100))  # 6,100 characters, 6 streams
    ids = model.encode_text(text)  # in reading direction
    streams, length = stream_shape(len(ids))
    assert (streams, length) == (6, 1_017)
    newline = torch.tensor([model.dictionary.get_idx_for_item("\n")])
    inputs = torch.cat([newline, ids[:-1]])
    nats = 0.0
    for start in range(0, len(ids), length):
        logits, _, _ = model(inputs[start : start + length, None])
        nats += float(
            torch.nn.functional.cross_entropy(logits[:, 0], ids[start : start + length], reduction="sum").detach()
        )
    for chunk in (7, 512):
        monkeypatch.setattr(metrics, "_CHUNK", chunk)
        assert score_text(model, text).nats == pytest.approx(nats, rel=1e-6)
    by_position = unit_nats(model, model.dictionary.encode(text))
    assert by_position.sum() == pytest.approx(nats, rel=1e-5)
    first = float(by_position[0]) if forward else float(by_position[-1])
    logits, _, _ = model(newline[:, None])
    assert first == pytest.approx(float(torch.nn.functional.cross_entropy(logits[0], ids[:1])), rel=1e-4)


def test_a_sample_of_a_score_reads_the_beginning_of_each_stream(tmp_path):
    model = model_of()
    draw = np.random.default_rng(2)
    text = "".join("".join(draw.choice(list("abcdeé "), 60)) + "\n" for _ in range(100))  # 6,100 characters, 6 streams
    (tmp_path / "text").write_text(text, encoding="utf-8")
    info = encode_file(tmp_path / "text", tmp_path / "encoded", model.dictionary)
    score = score_encoded(model, tmp_path / "encoded", info, max_units=600)
    nats = unit_nats(model, model.dictionary.encode(text))
    starts = [stream * 1_017 for stream in range(6)]
    assert score.units == 600
    assert score.nats == pytest.approx(sum(nats[start : start + 100].sum() for start in starts), rel=1e-5)
    assert score.unknown == sum(text[start : start + 100].count("é") for start in starts)
    assert score_encoded(model, tmp_path / "encoded", info, max_units=6_100) == score_file(model, tmp_path / "text")


def test_empty_lines_and_line_ends_do_not_change_a_score(tmp_path):
    model = model_of()
    (tmp_path / "unix.txt").write_bytes(b"abc\nde\n")
    (tmp_path / "other.txt").write_bytes(b"\r\nabc\r\n\r\n\nde")
    assert score_file(model, tmp_path / "unix.txt") == score_file(model, tmp_path / "other.txt")


def test_sums_of_scores_are_those_of_both_texts():
    one = LMScore(nats=2.0, units=4, characters=4, bytes=4, unknown=1, unknown_bits=math.log2(1_114_112), unit="char")
    two = LMScore(nats=6.0, units=4, characters=4, bytes=12, unknown=0, unknown_bits=0.0, unit="char")
    both = one + two
    assert both.loss == 1.0
    assert both.unk_rate == 1 / 8
    assert both.bits_per_byte == pytest.approx((8 / math.log(2) + math.log2(1_114_112)) / 16)


def test_scores_of_characters_and_bytes_are_not_added():
    sums = {"nats": 2.0, "units": 4, "characters": 4, "bytes": 4, "unknown": 0, "unknown_bits": 0.0}
    with pytest.raises(GateError, match="char and byte"):
        LMScore(**sums, unit="char") + LMScore(**sums, unit="byte")


def test_a_score_makes_no_more_logits_at_once_than_allowed(tmp_path, monkeypatch):
    model = model_of()
    (tmp_path / "text").write_text("abcde a" * 300)
    expected = score_file(model, tmp_path / "text")
    sizes = []
    model.decoder.register_forward_hook(lambda layer, inputs, output: sizes.append(output.numel()))
    monkeypatch.setattr(decoding, "LOGITS_AT_ONCE", 7 * len(model.dictionary))
    assert score_file(model, tmp_path / "text") == expected
    assert max(sizes) == 7 * len(model.dictionary)


def test_text_without_text_has_no_score(tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(CorpusError, match="no text"):
        score_file(model_of(), tmp_path / "empty.txt")
    with pytest.raises(SourceError, match=r"missing\.txt"):
        score_file(model_of(), tmp_path / "missing.txt")
    (tmp_path / "latin1.txt").write_bytes("für\n".encode("latin-1"))
    with pytest.raises(CorpusError, match="UTF-8"):
        score_file(model_of(), tmp_path / "latin1.txt")


# ---- training mode -------------------------------------------------------------------------------------------------


def test_a_model_is_trained_on_after_a_generation_that_failed():
    model = model_of().train()
    with pytest.raises(RuntimeError):
        model.generate_text("a", temperature=math.nan)
    assert model.training


def test_a_model_is_trained_on_after_a_perplexity_that_failed():
    model = model_of(has_decoder=False).train()
    with pytest.raises(ModelFileError, match="without its decoder"):
        model.calculate_perplexity("abc")
    assert model.training


# ---- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{}, {"nlayers": 2, "nout": 7}, {"recurrent_type": "GRU"}])
def test_saved_model_comes_back_the_same(tmp_path, arguments):
    model = model_of(False, **arguments)
    model.save(tmp_path / "best-lm.pt")
    loaded = LanguageModel.load_language_model(tmp_path / "best-lm.pt")
    assert loaded.is_forward_lm is False
    assert loaded.dictionary == model.dictionary
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert list(load_language_models(tmp_path)) == ["backward"]  # the folder counts as a run


def test_what_is_no_model_is_one_clear_line(tmp_path):
    (tmp_path / "text.pt").write_text("no model")
    for path in (tmp_path / "text.pt", tmp_path / "missing.pt", tmp_path):
        with pytest.raises(ModelFileError) as error:
            load_language_models(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
