"""Trainings that are stopped, killed, resumed or rolled back, and full disks and memories."""

import dataclasses
import itertools
import json
import math
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from charlm.artifacts import RunFiles
from charlm.errors import (
    ModelFileError,
    RunError,
    TrainingInterruptedError,
)
from charlm.language_models.language_model import LanguageModel, load_language_models
from charlm.storage.fingerprints import sha256_of
from charlm.trainers.events import Event
from charlm.trainers.language_model_trainer import TextCorpus
from charlm.trainers.lm.checkpoint import Checkpoint
from charlm.trainers.lm.engine import StopSignal, TrainingEngine
from charlm.trainers.lm.manifest import RunManifest
from charlm.trainers.lm.reporting import Reporter
from charlm.trainers.observer import open_run_files
from tests.charlm.trainers.runs import (
    LONG,
    TINY,
    Recorder,
    dictionary_of,
    start_run,
    train,
    trainer_process,
    wait_for_event,
    write_corpus,
)

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpora") / "topics")


# ---- stopping and going on -----------------------------------------------------------------------------------------


RESUMED = dataclasses.replace(TINY, dropout=0.2, max_characters=400_000, checkpoint_minutes=0.002)


@pytest.fixture(scope="module")
def undisturbed(corpus_dir, tmp_path_factory) -> RunFiles:
    """The run that killed ones must end like; its checkpoints come at other moments."""
    config = dataclasses.replace(RESUMED, checkpoint_minutes=60)
    files = start_run(corpus_dir, tmp_path_factory.mktemp("runs") / "undisturbed", config)
    assert trainer_process(files).wait() == 0
    return files


def assert_killed_run_ends_like(undisturbed: RunFiles, corpus_dir: Path, run_dir: Path, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    files = start_run(corpus_dir, run_dir, RESUMED)
    seconds = RunManifest.load(undisturbed).result["seconds"]
    for _ in range(kills):
        process = trainer_process(files, "--resume")
        time.sleep(draw.uniform(0, seconds))
        process.kill()
        process.wait()
    process = trainer_process(files, "--resume")
    _, errors = process.communicate()
    # A kill may come after the end: then there is nothing to resume.
    assert process.returncode == 0 or "is finished" in errors
    assert sha256_of(files.best_lm) == sha256_of(undisturbed.best_lm)
    ours, theirs = Checkpoint.load(files.checkpoint), Checkpoint.load(undisturbed.checkpoint)
    assert all(torch.equal(ours.model[name], theirs.model[name]) for name in theirs.model)
    events = [json.loads(line) for line in files.journal.read_text().splitlines()]
    for kind in ("train", "validation"):
        steps = [event["step"] for event in events if event["event"] == kind]
        assert steps == sorted(set(steps)), f"a {kind} event stands twice or out of order"
    assert files.loss_tsv.read_text() == undisturbed.loss_tsv.read_text()


def test_a_run_killed_three_times_ends_with_the_same_weights(undisturbed, corpus_dir, tmp_path):
    assert_killed_run_ends_like(undisturbed, corpus_dir, tmp_path / "killed", kills=3, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_run_killed_at_random_ends_with_the_same_weights(undisturbed, corpus_dir, tmp_path, seed):
    assert_killed_run_ends_like(undisturbed, corpus_dir, tmp_path / "killed", kills=1 + seed % 2, seed=seed)


def test_terminated_run_leaves_a_checkpoint_and_a_usable_model(corpus_dir, tmp_path):
    files = start_run(corpus_dir, tmp_path / "run", LONG)
    process = trainer_process(files)
    wait_for_event(files, "train")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 143
    assert len(errors.strip().splitlines()) == 1
    assert "resume" in errors
    assert RunManifest.load(files).state == "interrupted"
    assert list(load_language_models(files.root)) == ["forward"]
    assert Checkpoint.load(files.checkpoint).restored_progress().step > 0


def test_a_clock_that_jumps_changes_no_training(corpus_dir, tmp_path, monkeypatch):
    steady, _ = train(corpus_dir, tmp_path / "steady")
    now, jumps = time.time(), itertools.cycle([0, -40 * 86_400, 40 * 86_400])
    monkeypatch.setattr(time, "time", lambda: now + next(jumps))
    jumping, recorder = train(corpus_dir, tmp_path / "jumping", dataclasses.replace(TINY, checkpoint_minutes=0.002))
    assert jumping.valid == steady.valid
    assert 0 < jumping.seconds < 3600
    assert len({event["time"] for event in recorder.events}) > 1
    assert recorder.of("checkpoint")


def test_two_trainers_never_write_one_run(corpus_dir, tmp_path):
    files = start_run(corpus_dir, tmp_path / "run", LONG)
    first = trainer_process(files)
    wait_for_event(files, "start")
    second = trainer_process(files, "--resume")
    _, errors = second.communicate()
    first.kill()
    first.communicate()
    assert second.returncode == 2
    assert "another process" in errors


def test_trainer_ends_when_its_parent_is_killed(corpus_dir, tmp_path):
    files = start_run(corpus_dir, tmp_path / "run", LONG)
    script = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-m', 'charlm.trainers.run', {str(files.manifest)!r}])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    child = int(parent.stdout.readline())
    wait_for_event(files, "train")
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{child}").exists()
    wait_for_event(files, "interrupted")


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_optimizers_without_the_compiler_take_the_same_steps(kind):
    program = f"""
import sys, torch
from charlm.config import TrainingConfig
from charlm.nn.compat import avoid_compiler
from charlm.trainers.lm.optimization import build_optimizer
if "spared" in sys.argv:
    avoid_compiler()
torch.manual_seed(1)
model = torch.nn.Linear(3, 2)
optimizer = build_optimizer(TrainingConfig(optimizer={kind!r}, max_epochs=1), model)
for _ in range(3):
    optimizer.zero_grad()
    model(torch.ones(3)).square().sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules, model.weight.tolist())
"""
    answers = [
        subprocess.run([sys.executable, "-c", program, *spared], capture_output=True, text=True, check=True).stdout
        for spared in ([], ["spared"])
    ]
    assert answers[1].split(" ", 1)[0] == "False"
    assert answers[1].split(" ", 1)[1] == answers[0].split(" ", 1)[1]


@pytest.mark.parametrize("min_steps", [None, 400])
def test_interruption_inside_the_program_can_be_resumed_to_the_same_weights(corpus_dir, tmp_path, min_steps):
    config = dataclasses.replace(TINY, min_steps=min_steps)
    result, _ = train(corpus_dir, tmp_path / "whole", config)

    class StopsAt(Recorder):
        def on_event(self, event: Event) -> None:
            if event["event"] == "train" and event["step"] >= 100:
                stop.request("enough")

    stop = StopSignal()
    dictionary, files = dictionary_of(corpus_dir), RunFiles(tmp_path / "stopped")
    corpus = TextCorpus(corpus_dir, dictionary, True)

    def engine(*observers: Recorder) -> TrainingEngine:
        torch.manual_seed(config.seed)
        model = LanguageModel.from_config(config, dictionary, is_forward_lm=True)
        return TrainingEngine(model, corpus, config, files, observers=[*open_run_files(files), *observers], stop=stop)

    with pytest.raises(TrainingInterruptedError, match="enough"):
        engine(StopsAt()).train()
    resumed = engine().train(resume=True)
    assert resumed.test == result.test
    assert sha256_of(files.best_lm) == sha256_of(tmp_path / "whole" / "best-lm.pt")


def test_resume_with_other_settings_is_refused(corpus_dir, tmp_path):
    train(corpus_dir, tmp_path)
    dictionary = dictionary_of(corpus_dir)
    other = dataclasses.replace(TINY, learning_rate=1e-3)
    model = LanguageModel.from_config(other, dictionary, is_forward_lm=True)
    engine = TrainingEngine(model, TextCorpus(corpus_dir, dictionary, True), other, RunFiles(tmp_path))
    with pytest.raises(RunError, match="learning_rate"):
        engine.train(resume=True)


def test_hostile_checkpoint_is_refused_and_not_executed(tmp_path):
    import pickle

    class Exploit:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    for content in (pickle.dumps(Exploit()), b"PK\x03\x04 truncated", b""):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(ModelFileError, match=r"checkpoint\.pt"):
            Checkpoint.load(tmp_path / "checkpoint.pt")
    torch.save({"model": Exploit()}, tmp_path / "checkpoint.pt")
    with pytest.raises(ModelFileError, match=r"checkpoint\.pt"):
        Checkpoint.load(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "executed").exists()


# ---- guards --------------------------------------------------------------------------------------------------------


def test_exploding_loss_goes_back_twice_and_then_says_why(corpus_dir, tmp_path):
    config = dataclasses.replace(TINY, learning_rate=1e6, clip=1e9, warmup_share=0.0)
    with pytest.raises(RunError, match="learning_rate"):
        train(corpus_dir, tmp_path, config)
    events = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events].count("guard") == 2
    assert events[-1]["event"] == "end"
    assert Checkpoint.load(tmp_path / "checkpoint.pt").restored_progress().rate_factor == 0.25


def test_rollback_halves_the_rate_and_training_goes_on(corpus_dir, tmp_path, monkeypatch):
    """One window of poisoned losses, then honest ones: the training recovers by itself."""
    real = Reporter.train

    def report(reporter: Reporter, learning_rate: float, *, seconds: float) -> None:
        progress = reporter._progress
        if progress.step == 50 and progress.rollbacks == 0:
            progress.window_nats = math.nan
        real(reporter, learning_rate, seconds=seconds)

    monkeypatch.setattr(Reporter, "train", report)
    result, recorder = train(corpus_dir, tmp_path)
    assert len(recorder.of("guard")) == 1
    assert max(event["learning_rate"] for event in recorder.of("train")[-100:]) <= TINY.learning_rate / 2
    assert math.isfinite(result.test.loss)


def test_full_disk_is_one_clear_line_and_keeps_the_last_checkpoint(corpus_dir, tmp_path, monkeypatch):
    train(corpus_dir, tmp_path)
    before = sha256_of(tmp_path / "checkpoint.pt")

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("charlm.trainers.lm.checkpoint.torch.save", full)
    with pytest.raises(RunError, match=r"disk .* is full"):
        train(corpus_dir, tmp_path)
    assert sha256_of(tmp_path / "checkpoint.pt") == before
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize("where", ["model", "batch"])
def test_full_memory_is_one_clear_line(corpus_dir, tmp_path, where):
    large = {"model": {"hidden_size": 20_000, "nlayers": 2}, "batch": {"sequence_length": 1_000, "mini_batch_size": 20}}
    config = dataclasses.replace(TINY, **large[where])
    if where == "batch":
        config = dataclasses.replace(config, hidden_size=2_500, embedding_size=500)
    files = start_run(corpus_dir, tmp_path / "run", config)
    code = (
        "import resource, sys; import charlm.trainers.run as run; "
        "used = int(open('/proc/self/statm').read().split()[0]) * 4096; "
        "resource.setrlimit(resource.RLIMIT_AS, (used + 1_000_000_000,) * 2); "
        f"sys.exit(run.main([{str(files.manifest)!r}]))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 2, process.stderr
    assert len(process.stderr.strip().splitlines()) == 1
    assert "memory is full; lower hidden_size" in process.stderr
    assert RunManifest.load(files).state == "failed"
