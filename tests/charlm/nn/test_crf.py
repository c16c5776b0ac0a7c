"""The conditional random field against every sequence of tags, spelled out."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm.nn.crf import ConditionalRandomField
from charlm.nn.ragged import Ragged

pytestmark = pytest.mark.numeric

CPU = torch.device("cpu")

LENGTHS = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(lambda lengths: sorted(lengths, reverse=True))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def random_field(lengths: list[int], num_tags: int, seed: int, scale: float = 1.0):
    """A field, emissions for sentences of these lengths, and how these lie."""
    torch.manual_seed(seed)
    crf = ConditionalRandomField(num_tags).double()
    for parameter in crf.parameters():
        parameter.data.normal_(std=scale)
    emissions = (scale * torch.randn(sum(lengths), num_tags, dtype=torch.float64)).requires_grad_()
    return crf, emissions, Ragged(lengths, CPU)


def all_scores(crf: ConditionalRandomField, emissions: torch.Tensor) -> dict[tuple[int, ...], torch.Tensor]:
    """The score of every sequence of tags of one sentence (N, K), added up by hand."""
    scores = {}
    for tags in itertools.product(range(emissions.shape[1]), repeat=len(emissions)):
        score = crf.start[tags[0]] + crf.stop[tags[-1]]
        score = score + sum(emissions[place, tag] for place, tag in enumerate(tags))
        scores[tags] = score + sum(crf.transitions[pair] for pair in itertools.pairwise(tags))
    return scores


def by_sentence(rows: torch.Tensor, ragged: Ragged) -> tuple[torch.Tensor, ...]:
    return torch.split(rows, ragged.lengths.tolist())


def gradients(loss: torch.Tensor, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(loss, inputs, materialize_grads=True)  # without neighbours there are no transitions


@given(LENGTHS, st.integers(1, 3), st.integers(0, 10**6), st.sampled_from([0.1, 1.0, 10.0]))
def test_the_loss_and_its_gradients_are_those_of_all_sequences_summed(lengths, num_tags, seed, scale):
    crf, emissions, ragged = random_field(lengths, num_tags, seed, scale)
    tags = torch.randint(num_tags, (sum(lengths),))
    inputs = (emissions, *crf.parameters())
    expected = torch.zeros((), dtype=torch.float64)
    for sentence, chosen in zip(by_sentence(emissions, ragged), by_sentence(tags, ragged), strict=True):
        scores = all_scores(crf, sentence)
        expected = expected + torch.stack(list(scores.values())).logsumexp(0) - scores[tuple(chosen.tolist())]
    loss = crf.loss(emissions, tags, ragged)
    torch.testing.assert_close(loss, expected)
    for found, true in zip(gradients(loss, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(found, true)


@given(LENGTHS, st.integers(1, 3), st.integers(0, 10**6))
def test_the_likeliest_sequence_and_the_marginals_are_those_of_all_sequences_compared(lengths, num_tags, seed):
    crf, emissions, ragged = random_field(lengths, num_tags, seed)
    found = crf.viterbi(emissions, ragged)
    marginals = crf.marginals(emissions, ragged)
    for sentence, tags, shares in zip(
        *(by_sentence(rows, ragged) for rows in (emissions, found, marginals)), strict=True
    ):
        scores = all_scores(crf, sentence)
        assert tuple(tags.tolist()) == max(scores, key=lambda tags: scores[tags].item())
        likelihoods = torch.stack(list(scores.values())).softmax(0)
        expected = torch.zeros_like(shares)
        for sequence, likelihood in zip(scores, likelihoods, strict=True):
            for place, tag in enumerate(sequence):
                expected[place, tag] += likelihood
        torch.testing.assert_close(shares, expected)


def test_a_sentence_far_from_the_model_has_a_finite_loss_and_gradient_in_single_precision():
    torch.manual_seed(0)
    crf = ConditionalRandomField(3)
    emissions = torch.tensor([[500.0, 0.0, -500.0]] * 200, requires_grad=True)
    loss = crf.loss(emissions, torch.full((200,), 2), Ragged([150, 50], CPU))
    loss.backward()
    assert loss.item() == pytest.approx(200 * 1000, rel=0.01)
    assert torch.isfinite(emissions.grad).all()
