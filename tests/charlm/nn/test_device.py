"""One rule says where tensors are computed."""

import pytest
import torch

import charlm
from charlm.errors import ConfigError
from charlm.nn.device import DEVICE_VARIABLE, find_device

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_preference(monkeypatch):
    monkeypatch.setitem(vars(charlm), "device", None)
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_auto_is_the_first_gpu_where_there_is_one(two_gpus):
    assert find_device() == find_device("auto") == find_device("cuda") == torch.device("cuda:0")


def test_auto_is_the_cpu_where_there_is_no_gpu(no_gpu):
    assert find_device() == find_device("auto") == CPU


def test_the_argument_comes_before_charlm_device_and_that_before_the_variable(two_gpus, monkeypatch):
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    assert find_device() == CPU
    monkeypatch.setitem(vars(charlm), "device", "cuda:1")
    assert find_device() == find_device("auto") == torch.device("cuda:1")
    assert find_device("cuda:0") == torch.device("cuda:0")


def test_charlm_device_may_be_a_device_of_torch(two_gpus, monkeypatch):
    monkeypatch.setitem(vars(charlm), "device", torch.device("cpu"))
    assert find_device() == CPU


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_refused(no_gpu, name):
    with pytest.raises(ConfigError, match=f"device={name}, but torch finds no GPU"):
        find_device(name)


def test_the_error_names_the_setting_that_asked(no_gpu, monkeypatch):
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda")
    with pytest.raises(ConfigError, match="CHARLM_DEVICE=cuda"):
        find_device()


def test_a_gpu_beyond_the_last_is_refused(two_gpus):
    with pytest.raises(ConfigError, match="cuda:2, but torch finds 2"):
        find_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:x", "cuda:-1", "cpu:0"])
def test_a_name_that_is_no_device_is_refused(two_gpus, name):
    with pytest.raises(ConfigError, match="auto, cpu, cuda or cuda:0"):
        find_device(name)
