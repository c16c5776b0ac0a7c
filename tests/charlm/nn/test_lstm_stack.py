"""Stacks of LSTM layers against torch's own, and the kinds of dropout that language models of words use."""

import pytest
import torch
from torch import nn

from charlm.nn.dropout import EmbeddingDropout, TimeLockedDropout, WeightDropout
from charlm.nn.lstm_stack import LSTMStack

pytestmark = pytest.mark.numeric


@pytest.fixture(autouse=True)
def one_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def test_layers_of_one_width_are_torchs_lstm():
    stack, plain = LSTMStack(3, [5, 5], projections=[0, 0]), nn.LSTM(3, 5, 2)
    for number, layer in enumerate(stack.layers):
        for name, parameter in layer.named_parameters():
            parameter.data.copy_(getattr(plain, name.replace("_l0", f"_l{number}")))
    x, state, cell = torch.randn(7, 2, 3), torch.randn(2, 2, 5), torch.randn(2, 2, 5)
    output, hidden = stack(x, tuple(torch.cat(list(part), dim=1)[None] for part in (state, cell)))
    expected, expected_hidden = plain(x, (state, cell))
    torch.testing.assert_close(output, expected)
    for own, part in zip(hidden, expected_hidden, strict=True):
        torch.testing.assert_close(own, torch.cat(list(part), dim=1)[None])


@pytest.mark.parametrize("projections", [[0, 0], [2, 2]])
def test_two_sequences_are_one_when_the_state_is_carried_on(projections):
    stack = LSTMStack(3, [6, 4], projections=projections).eval()
    x = torch.randn(8, 2, 3)
    whole, end = stack(x)
    first, hidden = stack(x[:3])
    second, hidden = stack(x[3:], hidden)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(hidden, end)
    outputs, _ = stack.all_outputs(x)
    assert [part.shape[2] for part in outputs] == stack.state_sizes
    assert stack.zero_state(2)[0].shape == (1, 2, sum(stack.state_sizes))


def test_weight_dropout_drops_recurrent_weights_only_anew_each_time_and_only_while_training():
    stack = LSTMStack(3, [6], projections=[0], weight_dropout=0.5)
    x = torch.randn(4, 2, 3)
    first, second = stack(x)[0], stack(x)[0]
    assert not torch.equal(first, second)
    assert torch.equal(first[0], second[0])  # the first step has no recurrent part
    first.sum().backward()
    gradient = dict(stack.layers[0].named_parameters())["weight_hh_l0"].grad
    assert 0.2 < float((gradient == 0).float().mean()) < 0.8
    stack.eval()
    assert torch.equal(stack(x)[0], stack.layers[0](x)[0])


def test_without_weight_dropout_training_is_torchs_own_call():
    stack = LSTMStack(3, [6, 4], projections=[0, 0])
    x = torch.randn(4, 2, 3)
    assert torch.equal(stack(x)[0], stack.layers[1](stack.layers[0](x)[0])[0])


def test_values_between_layers_are_dropped_at_all_times():
    dropped = TimeLockedDropout(0.5)(torch.ones(9, 2, 50))
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(dropped[0, 0], dropped[0, 1])


def test_embedding_dropout_drops_words_wherever_they_stand():
    dropout, ids = EmbeddingDropout(0.5, 20), torch.arange(20).repeat(3, 1)  # (T, B)
    dropped = dropout(torch.ones(3, 20, 4), ids)
    assert torch.equal(dropped, dropped[:1, :, :1].expand_as(dropped))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropout.eval()(torch.ones(3, 20, 4), ids), torch.ones(3, 20, 4))


def test_weight_dropout_keeps_the_mean():
    weight = torch.ones(200, 200)
    assert float(WeightDropout(0.3)(weight).mean()) == pytest.approx(1, abs=0.02)
