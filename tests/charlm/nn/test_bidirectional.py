"""The bidirectional LSTM against torch's own, sentence by sentence."""

import pytest
import torch
from torch import nn

from charlm.nn.bidirectional import BidirectionalLSTM
from charlm.nn.ragged import Ragged
from tests.precision import needs_bf16_products

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def torchs_own(ours: BidirectionalLSTM, width: int, hidden_size: int, nlayers: int) -> nn.LSTM:
    """An nn.LSTM with the same weights."""
    theirs = nn.LSTM(width, hidden_size, nlayers, bidirectional=True)
    with torch.no_grad():
        for layer, pair in enumerate(zip(ours.forward_layers, ours.backward_layers, strict=True)):
            for suffix, lstm in zip(("", "_reverse"), pair, strict=True):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(theirs, f"{name}_l{layer}{suffix}").copy_(getattr(lstm, f"{name}_l0"))
    return theirs


@pytest.mark.parametrize("lengths", [[1], [7], [100, *[30] * 64], [50, 9, 9, 3, 1, 1], [3, 3, 3]])
@pytest.mark.parametrize("nlayers", [1, 2])
def test_states_and_gradients_are_those_of_each_sentence_alone(lengths, nlayers):
    torch.manual_seed(0)
    ours = BidirectionalLSTM(5, 4, nlayers, dropout=0.0)
    theirs = torchs_own(ours, 5, 4, nlayers)
    x = torch.randn(sum(lengths), 5, requires_grad=True)
    found = ours(x, Ragged(lengths, torch.device("cpu")))
    expected = torch.cat([theirs(sentence)[0] for sentence in torch.split(x, lengths)])
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    (gradient,) = torch.autograd.grad((found * weights).sum(), x)
    (expected_gradient,) = torch.autograd.grad((expected * weights).sum(), x)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


@needs_bf16_products
@pytest.mark.parametrize("lengths", [[1], [7], [50, *[30] * 20], [50, 9, 9, 3, 1, 1], [3, 3, 3]])
@pytest.mark.parametrize("nlayers", [1, 2])
def test_in_bf16_states_and_all_gradients_are_the_same_but_for_rounding(lengths, nlayers):
    torch.manual_seed(0)
    ours = BidirectionalLSTM(5, 4, nlayers, dropout=0.0)
    x = torch.randn(sum(lengths), 5)
    ragged = Ragged(lengths, torch.device("cpu"))
    direction = torch.randn(sum(lengths), 8)
    found = []
    for is_bf16 in (False, True):
        inputs = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            states = ours(inputs, ragged)
        gradients = torch.autograd.grad((states.float() * direction).sum(), [inputs, *ours.parameters()])
        found.append([states.float(), *gradients])
    for exact, rounded in zip(*found, strict=True):
        assert (exact - rounded).norm() <= 0.03 * exact.norm()
