"""The clustered softmax against logarithms of all probabilities and torch's own gradients."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from charlm.nn import softmax
from charlm.nn.cutoffs import choose_cutoffs, expected_rows, zipf_counts
from charlm.nn.softmax import ClusteredSoftmax

pytestmark = pytest.mark.numeric

SIZES = st.integers(2, 60)
SHAPES = SIZES.flatmap(
    lambda size: st.tuples(
        st.just(size), st.sets(st.integers(1, size - 1), max_size=4).map(sorted), st.integers(1, 30), st.integers(0, 9)
    )
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def random_softmax(size, cutoffs, num_targets, seed, width=5, dtype=torch.float64):
    """A softmax with random weights; the words' weights (V, D), outputs (N, D) and targets (N,)."""
    torch.manual_seed(seed)
    head = ClusteredSoftmax(size, width, cutoffs).to(dtype)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    weight = torch.randn(size, width, dtype=dtype, requires_grad=True)
    x = torch.randn(num_targets, width, dtype=dtype, requires_grad=True)
    return head, weight, x, torch.randint(size, (num_targets,))


@given(SHAPES, st.sampled_from([1, 7, 100, 1 << 24]), st.sampled_from([1.0, 0.25]))
def test_loss_and_gradients_are_those_of_all_probabilities(shape, logits_at_once, factor):
    head, weight, x, targets = random_softmax(*shape)
    everything = [x, weight, *head.parameters()]
    log_probabilities = head.log_probabilities(x, weight)
    torch.testing.assert_close(log_probabilities.exp().sum(1), torch.ones(len(x), dtype=torch.float64))
    expected = -log_probabilities.gather(1, targets[:, None]).squeeze(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(softmax, "LOGITS_AT_ONCE", logits_at_once)
        loss = head.loss(x, weight, targets)
        nats = head.nats(x, weight, targets)
    torch.testing.assert_close(nats, expected)
    torch.testing.assert_close(loss, expected.mean())
    gradients = torch.autograd.grad(factor * loss, everything)
    for own, by_torch in zip(gradients, torch.autograd.grad(factor * expected.mean(), everything), strict=True):
        torch.testing.assert_close(own, by_torch)


@given(SIZES, st.integers(1, 30), st.integers(0, 9))
def test_without_cutoffs_it_is_the_exact_softmax(size, num_targets, seed):
    head, weight, x, targets = random_softmax(size, (), num_targets, seed)
    assert [name for name, _ in head.named_parameters()] == ["bias"]
    loss = F.cross_entropy(x @ weight.t() + head.bias, targets)
    torch.testing.assert_close(head.loss(x, weight, targets), loss)
    torch.testing.assert_close(
        torch.autograd.grad(head.loss(x, weight, targets), [x, weight, head.bias]),
        torch.autograd.grad(loss, [x, weight, head.bias]),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1024, 1025, 2048, 3001])
def test_a_dictionary_of_any_size_has_the_gradients_of_torch(size, dtype):
    """Rows of logits are further apart than they are long, where that is faster."""
    head, weight, x, targets = random_softmax(size, (), 37, seed=1, dtype=dtype)
    loss = F.cross_entropy(x @ weight.t() + head.bias, targets)
    torch.testing.assert_close(head.loss(x, weight, targets), loss)
    torch.testing.assert_close(head.nats(x, weight, targets).mean(), loss)
    torch.testing.assert_close(
        torch.autograd.grad(head.loss(x, weight, targets), [x, weight, head.bias]),
        torch.autograd.grad(loss, [x, weight, head.bias]),
    )


def test_one_cluster_of_everything_beyond_a_word_that_never_occurs_is_the_exact_softmax():
    head, weight, x, targets = random_softmax(40, [1], 20, 1)
    with torch.no_grad():
        head.bias[0] = -1e9  # word 0 has no probability, the one cluster all of it
        targets.clamp_(min=1)
    exact = F.cross_entropy((x @ weight.t() + head.bias)[:, 1:], targets - 1)
    loss = head.loss(x, weight, targets)
    torch.testing.assert_close(loss, exact)
    torch.testing.assert_close(torch.autograd.grad(loss, [x, weight]), torch.autograd.grad(exact, [x, weight]))


def test_few_logits_are_in_memory_at_a_time(monkeypatch):
    monkeypatch.setattr(softmax, "LOGITS_AT_ONCE", 1000)
    seen = []
    compute = softmax._logits
    monkeypatch.setattr(softmax, "_logits", lambda *parts: seen.append(compute(*parts).numel()) or compute(*parts))
    for cutoffs in ([], [20, 80]):
        head, weight, x, targets = random_softmax(300, cutoffs, 100, 0)
        head.loss(x, weight, targets).backward()
        head.nats(x, weight, targets)
    assert max(seen) <= 1000
    assert sum(seen) >= 2 * 100 * 300


def test_low_precision_is_near_and_probabilities_stay_fp32():
    head, weight, x, targets = random_softmax(500, [50, 200], 70, 3, width=32, dtype=torch.float32)
    everything = [x, weight, *head.parameters()]
    exact, gradients = head.loss(x, weight, targets), torch.autograd.grad(head.loss(x, weight, targets), everything)
    with torch.autocast("cpu", torch.bfloat16):
        low = head.loss(x, weight, targets)
        assert low.dtype == head.nats(x, weight, targets).dtype == torch.float32
        for own, near in zip(gradients, torch.autograd.grad(low, everything), strict=True):
            assert own.dtype == near.dtype
            torch.testing.assert_close(own, near, rtol=0, atol=0.02 * float(own.abs().max()))
    assert float(low.detach()) == pytest.approx(float(exact.detach()), rel=0.01)


def test_a_cluster_that_no_target_needs_has_gradient_zero():
    head, weight, x, targets = random_softmax(30, [5, 10], 12, 0)
    head.loss(x, weight, targets.clamp(max=4)).backward()
    assert weight.grad[5:].abs().max() == 0
    assert head.bias.grad[5:].abs().max() == 0
    assert weight.grad[:5].abs().min() > 0
    assert head.cluster_weight.grad.abs().min() > 0  # they lose probability


# ---- cutoffs -------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=9).map(lambda counts: sorted(counts, reverse=True)))
def test_no_other_cutoffs_need_fewer_rows(counts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charlm.nn.cutoffs._ROWS_OF_A_CLUSTER", 0.0)
        chosen = choose_cutoffs(counts)
    assert list(chosen) == sorted(set(chosen))
    best = min(
        expected_rows(counts, cutoffs)
        for number in range(len(counts))
        for cutoffs in itertools.combinations(range(1, len(counts)), number)
    )
    assert expected_rows(counts, chosen) == pytest.approx(best)


def test_expected_rows_count_the_head_the_clusters_and_the_own_cluster():
    # 2 frequent words + 1 cluster; 2 of 10 targets also need the 3 words in it.
    assert expected_rows([5, 3, 1, 1, 0], [2]) == pytest.approx(2 + 1 + 0.2 * 3)
    assert expected_rows([5, 3, 1, 1, 0], []) == 5


def test_a_large_dictionary_is_cut_and_a_small_one_is_not():
    cutoffs = choose_cutoffs(zipf_counts(33_278))
    assert 2 <= len(cutoffs) <= 8
    assert expected_rows(zipf_counts(33_278), cutoffs) < 33_278 / 15
    assert len(choose_cutoffs(zipf_counts(1_000_000))) == 8
    assert choose_cutoffs(zipf_counts(100)) == ()
    assert choose_cutoffs(np.zeros(100)) == ()
    assert len(choose_cutoffs(zipf_counts(33_278), most=2)) == 2


def test_gradients_in_fp16_are_those_of_the_mean_on_a_cpu_too() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(40, 8), torch.randn(30, 8)
    bias, targets = torch.zeros(30), torch.randint(30, (40,))
    exact, low = (weight.clone().requires_grad_() for _ in range(2))
    softmax.softmax_loss(x, exact, bias, targets).backward()
    with torch.autocast("cpu", dtype=torch.float16):
        softmax.softmax_loss(x, low, bias, targets).backward()
    assert exact.grad is not None
    assert low.grad is not None
    assert torch.allclose(low.grad, exact.grad, atol=1e-3)
