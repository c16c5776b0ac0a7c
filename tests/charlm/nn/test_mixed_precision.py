"""The precision of a training on a GPU, and gradients that fp16 must not lose; see tests/simulated_cuda.py."""

import pytest
import torch

from charlm.nn.mixed_precision import LOSS_SCALE, MixedPrecision
from charlm.nn.precision import resolve_training_precision
from charlm.nn.softmax import softmax_loss
from charlm.trainers.computing import computing
from tests.simulated_cuda import simulated_cuda

pytestmark = pytest.mark.numeric

CUDA = torch.device("cuda", 0)


def test_a_gpu_with_tensor_cores_trains_in_fp16(monkeypatch) -> None:
    with simulated_cuda():
        assert [resolve_training_precision(asked, CUDA) for asked in ("auto", "bf16", "fp32")] == [
            "fp16",
            "fp16",
            "fp32",
        ]
        monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (6, 1))
        assert resolve_training_precision("auto", CUDA) == "fp32"


def test_the_switches_of_torch_are_recorded(monkeypatch) -> None:
    assert "tf32" not in computing(torch.device("cpu"), "fp32")
    with simulated_cuda():
        facts = computing(CUDA, "fp16")
        assert (facts["device"], facts["precision"], facts["instruction_set"]) == ("cuda:0", "fp16", "sm_90")
        assert (facts["tf32"], facts["deterministic"]) == (torch.backends.cudnn.allow_tf32, False)
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
        assert (computing(CUDA, "fp32")["tf32"], computing(CUDA, "fp32")["deterministic"]) == (False, True)


def test_the_scale_of_the_loss_is_restored() -> None:
    with simulated_cuda():
        mixed, again = (MixedPrecision(CUDA, "fp16") for _ in range(2))
        weight = torch.ones(2, device="cuda", requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr=0.1, fused=True)
        mixed.backward(weight.sum() * float("inf"))
        mixed.step(optimizer, [weight], 1.0)
        again.restore(mixed.state())
        assert again.loss_scale == mixed.loss_scale == LOSS_SCALE / 2
        again.restore({})
        assert again.loss_scale == LOSS_SCALE
    plain = MixedPrecision(torch.device("cpu"), "bf16")
    plain.restore({"scale": 2.0})  # of a GPU
    assert plain.loss_scale is None
    assert plain.state() == {}


def test_gradients_of_a_softmax_over_many_targets_do_not_vanish_in_fp16() -> None:
    found = {}
    with simulated_cuda():
        for precision in ("fp32", "fp16"):
            torch.manual_seed(1)
            x = torch.randn(20_000, 8, device="cuda", requires_grad=True)
            weight = torch.randn(40, 8, device="cuda", requires_grad=True)
            targets = torch.arange(20_000, device="cuda") % 40
            mixed = MixedPrecision(CUDA, precision)
            with mixed.autocast():
                loss = softmax_loss(x, weight, torch.zeros(40, device="cuda", requires_grad=True), targets)
            mixed.backward(loss)
            scale = mixed.loss_scale or 1.0
            found[precision] = [tensor.grad.cpu().flatten() / scale for tensor in (x, weight)]
    for low, exact in zip(found["fp16"], found["fp32"], strict=True):
        assert torch.cosine_similarity(low, exact, dim=0) > 0.9999
        assert low.norm() / exact.norm() == pytest.approx(1, abs=2e-3)
