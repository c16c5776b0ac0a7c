"""The plan of a training is scaled from a real one."""

import dataclasses
import json
import os
import platform

import pytest

from charlm.artifacts import CorpusFiles, RunFiles
from charlm.config import TrainingConfig
from charlm.errors import CorpusError, RunError
from charlm.trainers.lm.planning import plan_training
from tasks.training.direction import threads_for
from tests.charlm.trainers.test_training import corpus_dir, train  # noqa: F401  # the fixture

pytestmark = pytest.mark.numeric

CONFIG = TrainingConfig(
    hidden_size=32, embedding_size=16, sequence_length=20, mini_batch_size=8, max_characters=300_000
)


def test_plan_foretells_a_real_training(corpus_dir, tmp_path):  # noqa: F811
    plan = plan_training(CorpusFiles(corpus_dir), CONFIG, num_threads=1, calibration_seconds=2)
    result, recorder = train(corpus_dir, tmp_path, CONFIG)
    assert plan.characters == 300_000
    # Loose: another test may run beside; the docs state the error that was measured.
    assert plan.characters_per_second == pytest.approx(result.characters_per_second, rel=0.8)
    assert plan.training_minutes == pytest.approx(300_000 / plan.characters_per_second / 60)
    assert 0 < plan.scoring_minutes < 1
    files = RunFiles(tmp_path)
    assert plan.disk_bytes == pytest.approx(
        2 * (files.checkpoint.stat().st_size + files.best_lm.stat().st_size), rel=0.05
    )
    assert 100e6 < plan.memory_bytes < 4e9
    assert json.loads(json.dumps(plan.to_json()))["minutes"] == plan.minutes
    assert recorder.of("end")[0]["peak_memory_bytes"] > 0


def test_time_budget_is_the_time_that_is_planned(corpus_dir):  # noqa: F811
    config = dataclasses.replace(CONFIG, max_characters=None, max_minutes=30)
    plan = plan_training(CorpusFiles(corpus_dir), config, num_threads=1, calibration_seconds=1)
    assert plan.training_minutes == 30
    assert plan.characters == pytest.approx(1800 * plan.characters_per_second, rel=0.01)


def test_a_calibration_is_no_longer_than_the_training_that_is_planned(corpus_dir):  # noqa: F811
    config = dataclasses.replace(CONFIG, max_characters=8_000)
    plan = plan_training(CorpusFiles(corpus_dir), config, num_threads=1, calibration_seconds=3600)
    assert plan.characters == 8_000


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have no such limit")
def test_the_plan_names_the_precision_and_the_instructions_that_are_used(corpus_dir, monkeypatch):  # noqa: F811
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    config = dataclasses.replace(CONFIG, max_characters=8_000, precision="bf16")
    plan = plan_training(CorpusFiles(corpus_dir), config, num_threads=1)
    assert plan.precision == "fp32"
    assert plan.instruction_set.endswith(", oneDNN SSE41")
    assert plan.notice is not None
    assert plan.notice.startswith("precision=bf16 is not possible on this cpu")


def test_corpus_that_is_not_prepared_cannot_be_planned(tmp_path):
    with pytest.raises(CorpusError, match="prepare"):
        plan_training(CorpusFiles(tmp_path / "nowhere"), CONFIG)


def test_failing_calibration_gives_its_reason(corpus_dir):  # noqa: F811
    with pytest.raises(RunError, match="cuda"):
        plan_training(CorpusFiles(corpus_dir), CONFIG, device="cuda:7", calibration_seconds=1)


def test_trainings_share_the_cores_and_take_no_more_threads_than_openmp_may(monkeypatch):
    cores = len(os.sched_getaffinity(0))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert (threads_for(1), threads_for(cores), threads_for(2 * cores)) == (cores, 1, 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads_for(1) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", str(2 * cores))
    assert threads_for(1) == cores
