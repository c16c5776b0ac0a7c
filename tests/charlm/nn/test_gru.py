"""The GRU against torch's own, sentence by sentence, and the linear layer in bf16 against that in float32."""

import pytest
import torch
from torch import nn

from charlm.nn.bf16_linear import Linear
from charlm.nn.gru import gru_states
from charlm.nn.ragged import Ragged
from tests.precision import CPU, needs_bf16_products

pytestmark = pytest.mark.numeric

LENGTHS = [[1], [7], [50, *[30] * 20], [50, 9, 9, 3, 1, 1], [3, 3, 3]]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("nlayers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_states_and_all_gradients_are_those_of_each_sentence_alone(lengths, nlayers, bidirectional):
    torch.manual_seed(0)
    rnn = nn.GRU(5, 4, nlayers, bidirectional=bidirectional)
    x = torch.randn(sum(lengths), 5, requires_grad=True)
    found = gru_states(rnn, x, Ragged(lengths, CPU))
    expected = torch.cat([rnn(sentence)[0] for sentence in torch.split(x, lengths)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    direction = torch.randn_like(found) / len(x)
    inputs = [x, *rnn.parameters()]
    for gradient, expected_gradient in zip(
        torch.autograd.grad((found * direction).sum(), inputs),
        torch.autograd.grad((expected * direction).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-5)


@needs_bf16_products
@pytest.mark.parametrize("lengths", LENGTHS)
def test_in_bf16_states_and_all_gradients_are_the_same_but_for_rounding(lengths):
    torch.manual_seed(0)
    rnn = nn.GRU(5, 4, 2, bidirectional=True)
    x = torch.randn(sum(lengths), 5)
    direction = torch.randn(sum(lengths), 8)
    found = []
    for is_bf16 in (False, True):
        inputs = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            states = gru_states(rnn, inputs, Ragged(lengths, CPU))
        assert states.dtype == torch.float32
        gradients = torch.autograd.grad((states * direction).sum(), [inputs, *rnn.parameters()])
        found.append([states, *gradients])
    for exact, rounded in zip(*found, strict=True):
        assert (exact - rounded).norm() <= 0.03 * exact.norm()


@needs_bf16_products
@pytest.mark.parametrize("rows", [1, 31, 32, 33])
def test_a_linear_layer_in_bf16_is_that_in_float32_but_for_rounding(rows):
    torch.manual_seed(0)
    layer = Linear(7, 5)
    x = torch.randn(rows, 7)
    direction = torch.randn(rows, 5)
    found = []
    for is_bf16 in (False, True):
        inputs = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            y = layer(inputs)
        assert y.dtype == (torch.bfloat16 if is_bf16 else torch.float32)
        found.append([y, *torch.autograd.grad((y * direction).sum(), [inputs, *layer.parameters()])])
    for exact, rounded in zip(*found, strict=True):
        assert (exact - rounded).norm() <= 0.03 * exact.norm()
