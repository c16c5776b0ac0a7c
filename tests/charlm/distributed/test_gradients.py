"""Gradients are sent in buckets, in one order, as soon as they are there."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from charlm.distributed.gradients import GradientBuckets
from charlm.distributed.group import ProcessGroup


class Sent:
    """A message that has arrived."""

    def wait(self) -> None:
        pass


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the messages; the other process has three times what this one has."""
    sizes: list[int] = []

    def all_reduce(value: torch.Tensor, *, async_op: bool) -> Sent:
        sizes.append(value.numel())
        value.mul_(4)
        return Sent()

    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    return sizes


def backward(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor | None]:
    model(x).square().sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_gradients_are_the_mean_of_all_processes(sent):
    torch.manual_seed(1)
    model, x = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), torch.randn(4, 3)
    alone = {name: gradient.clone() for name, gradient in backward(model, x).items()}
    model.zero_grad()
    buckets = GradientBuckets(model.parameters(), ProcessGroup(0, 2), bucket_bytes=60)
    for _ in range(2):  # a second step begins without the sums of the first one
        model.zero_grad()
        with buckets.averaged():
            found = backward(model, x)
        found = {name: parameter.grad for name, parameter in model.named_parameters()}
        assert all(torch.equal(found[name], 2 * alone[name]) for name in alone)
    assert sent[: len(sent) // 2] == [12, 5, 15]  # from the last parameters to the first: 2 + 10, 5, 15


def test_only_the_last_backward_pass_of_a_step_sends(sent):
    model, x = nn.Linear(3, 1), torch.ones(1, 3)
    buckets = GradientBuckets(model.parameters(), ProcessGroup(0, 2))
    once = {name: gradient.clone() for name, gradient in backward(model, x).items()}
    assert not sent
    with buckets.averaged():
        backward(model, x)
    assert len(sent) == 1
    assert torch.equal(model.weight.grad, 2 * 2 * once["weight"])  # two passes, and the mean of one and three


def test_a_parameter_without_gradient_stays_without(sent):
    model = nn.ModuleDict({"used": nn.Linear(3, 1), "unused": nn.Linear(3, 1)})
    with GradientBuckets(model.parameters(), ProcessGroup(0, 2)).averaged():
        model["used"](torch.ones(1, 3)).sum().backward()
    assert model["unused"].weight.grad is None
    assert model["used"].weight.grad is not None


def test_a_process_by_itself_sends_nothing(sent):
    model = nn.Linear(3, 1)
    with GradientBuckets(model.parameters(), ProcessGroup()).averaged():
        backward(model, torch.ones(1, 3))
    assert not sent
