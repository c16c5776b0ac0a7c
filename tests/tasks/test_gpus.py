"""Trainings and the GPUs that they share."""

import threading

import pytest

from charlm.artifacts import Workspace
from charlm.recipes import gpu_base, gpu_large
from charlm.trainers.lm.gpu_memory import gpu_bytes
from tasks.services.gpus import GpuPool
from tasks.training.child import gpu_turn
from tests.simulated_cuda import simulated_cuda

GB = 10**9


def test_two_trainings_have_a_gpu_each_where_there_are_two() -> None:
    pool = GpuPool()
    with pool.hold([GB, GB], needed=GB // 10) as first, pool.hold([GB, GB], needed=GB // 10) as second:
        assert (first, second) == ((0,), (1,))


def test_two_small_trainings_share_a_large_gpu() -> None:
    pool = GpuPool()
    with pool.hold([GB], needed=GB // 4) as first, pool.hold([GB], needed=GB // 4) as second:
        assert first == second == (0,)


@pytest.mark.parametrize("needed", [None, GB // 2])
def test_a_training_waits_where_the_memory_is_too_small_for_two(needed) -> None:
    pool, began = GpuPool(), threading.Event()

    def train() -> None:
        with pool.hold([GB], needed=needed):
            began.set()

    thread = threading.Thread(target=train)
    with pool.hold([GB], needed=GB // 2):
        thread.start()
        assert not began.wait(0.1)
    thread.join(10)
    assert began.is_set()


def test_several_processes_hold_as_many_gpus_and_a_named_one_is_the_only_one() -> None:
    pool = GpuPool()
    with pool.hold([GB] * 3, count=2) as several, pool.hold([GB] * 3) as one:
        assert (several, one) == ((0, 1), (2,))
    with pool.hold([GB] * 3, only=1) as named:
        assert named == (1,)
    with pool.hold([GB], count=4) as all_there_are:
        assert all_there_are == (0,)


def test_a_training_is_told_which_gpu_is_its_own(tmp_path, monkeypatch) -> None:
    workspace = Workspace(tmp_path)
    monkeypatch.delenv("CHARLM_DEVICE", raising=False)
    with gpu_turn(workspace, None) as device:
        assert device is None  # there is none
    with simulated_cuda(devices=2):
        with gpu_turn(workspace, None) as first, gpu_turn(workspace, None) as second:
            assert (first, second) == ("cuda:0", "cuda:1")
        with gpu_turn(workspace, None, num_processes=2) as device:
            assert device is None  # each process has the one of its rank
        monkeypatch.setenv("CHARLM_DEVICE", "cuda:1")
        with gpu_turn(workspace, None) as device:
            assert device == "cuda:1"
        monkeypatch.setenv("CHARLM_DEVICE", "cpu")
        with gpu_turn(workspace, None) as device:
            assert device is None


def test_the_memory_that_a_training_plans_to_need() -> None:
    base, large = gpu_bytes(gpu_base(), 300), gpu_bytes(gpu_large(), 300)
    assert 2 * GB < base < large < 32 * GB
    assert gpu_bytes(gpu_large(), 300, num_processes=2) < large
    assert gpu_bytes(gpu_base(), 100_000) > 2 * base
