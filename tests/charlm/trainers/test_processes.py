"""Several processes that train one model: they follow one process, stop together, and end when one of them is lost."""

import dataclasses
import json
import os
import pydoc_data.topics
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from charlm.artifacts import CorpusFiles, RunFiles
from charlm.config import RunConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.distributed.group import PEER_TIMEOUT_VARIABLE, peer_timeout_minutes
from charlm.distributed.heartbeat import PEER_LOST, PEER_SILENT
from charlm.errors import ConfigError
from charlm.storage.fingerprints import sha256_of
from charlm.trainers.lm.build import run_dictionary
from charlm.trainers.lm.checkpoint import Checkpoint
from charlm.trainers.lm.manifest import RunManifest, create_run
from tests.command_server import TRAINER, ForkedProgram
from tests.conftest import QUICK, run_charlm, start_program

SMALL = TrainingConfig(
    hidden_size=32, embedding_size=16, sequence_length=20, mini_batch_size=8, max_characters=8_000, precision="fp32"
)
LONG = dataclasses.replace(SMALL, max_characters=1_000_000_000, checkpoint_minutes=0.01)


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory) -> Path:
    """Real English text in two train shards of 6,000 characters, with its dictionary."""
    root = tmp_path_factory.mktemp("corpora") / "topics"
    text = "".join(pydoc_data.topics.topics[topic] for topic in sorted(pydoc_data.topics.topics))[:20_000]
    (root / "train").mkdir(parents=True)
    for number in range(2):
        (root / "train" / f"train_split_{number + 1:04d}").write_text(text[number * 6_000 : (number + 1) * 6_000])
    (root / "valid.txt").write_text(text[12_000:16_000])
    (root / "test.txt").write_text(text[16_000:])
    Dictionary.from_items(character for character, _ in Counter(text).most_common()).save(CorpusFiles(root).dictionary)
    return root


def start_run(corpus_dir: Path, run_dir: Path, training: TrainingConfig, num_processes: int) -> RunFiles:
    config = RunConfig(
        run_dir=str(run_dir),
        corpus_dir=str(corpus_dir),
        direction="forward",
        training=training,
        num_threads=1,
        num_processes=num_processes,
        device="cpu",
    )
    return create_run(config, run_dictionary(config))


def trainer(run: RunFiles, *arguments: str) -> ForkedProgram:
    """`python -m charlm.trainers.run`, and what it starts, which have loaded torch already."""
    return start_program(TRAINER, run.manifest, *arguments)


def interpreter(run: RunFiles, *arguments: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """The same in interpreters of their own, for tests that look at processes from outside."""
    command = [sys.executable, *launcher, "-m", "charlm.trainers.run", str(run.manifest), *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def finish(process: ForkedProgram | subprocess.Popen[str]) -> str:
    """What a trainer that must end well has written."""
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return errors


def events(run: RunFiles, kind: str) -> list[dict]:
    lines = run.journal.read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def wait_for(run: RunFiles, kind: str, count: int = 1) -> None:
    deadline = time.monotonic() + 300
    while not run.journal.exists() or len(events(run, kind)) < count:
        assert time.monotonic() < deadline, f"no {kind}"
        time.sleep(0.05)


def workers_of(launcher: int) -> list[int]:
    """Process ids of what a launcher has started, the main process first."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    trainers = [int(pid) for pid in children if b"charlm.trainers.run" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return sorted(trainers, key=lambda pid: b"\0RANK=1\0" in b"\0" + Path(f"/proc/{pid}/environ").read_bytes())


@pytest.fixture(scope="module")
def alone(corpus_dir, tmp_path_factory) -> RunFiles:
    run = start_run(corpus_dir, tmp_path_factory.mktemp("runs") / "alone", SMALL, 1)
    finish(trainer(run))
    return run


def assert_follows(run: RunFiles, alone: RunFiles) -> None:
    ours, theirs = events(run, "train"), events(alone, "train")
    assert len(theirs) >= 50
    assert [event["step"] for event in ours] == [event["step"] for event in theirs]
    assert [event["loss"] for event in ours] == pytest.approx([event["loss"] for event in theirs], abs=1e-5)
    weights, expected = Checkpoint.load(run.checkpoint).model, Checkpoint.load(alone.checkpoint).model
    assert all(torch.allclose(weights[name], expected[name], rtol=0, atol=1e-5) for name in expected)
    assert RunManifest.load(run).result["test"] == pytest.approx(RunManifest.load(alone).result["test"], abs=1e-4)


@pytest.mark.numeric
def test_two_processes_follow_one_over_fifty_steps(corpus_dir, alone, tmp_path):
    run = start_run(corpus_dir, tmp_path / "two", SMALL, 2)
    errors = finish(trainer(run))
    assert len(errors.splitlines()) == 1
    assert_follows(run, alone)
    assert events(run, "start")[0]["num_processes"] == 2


def test_processes_can_be_started_by_torchrun_itself(corpus_dir, alone, tmp_path):
    run = start_run(corpus_dir, tmp_path / "two", SMALL, 2)
    finish(interpreter(run, launcher=("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")))
    assert_follows(run, alone)


def test_stopped_processes_go_on_to_the_weights_of_undisturbed_ones(corpus_dir, tmp_path):
    training = dataclasses.replace(SMALL, dropout=0.2, max_characters=60_000, checkpoint_minutes=0.001)
    whole = start_run(corpus_dir, tmp_path / "whole", dataclasses.replace(training, checkpoint_minutes=60), 2)
    finish(trainer(whole))
    stopped = start_run(corpus_dir, tmp_path / "stopped", training, 2)
    process = trainer(stopped)
    wait_for(stopped, "train", 3)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143
    assert len(errors.splitlines()) == 1
    assert "resume" in errors
    assert RunManifest.load(stopped).state == "interrupted"
    finish(trainer(stopped, "--resume"))
    assert sha256_of(stopped.best_lm) == sha256_of(whole.best_lm)


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_killed_process_ends_all_with_one_line_and_the_run_can_go_on(corpus_dir, tmp_path, rank):
    run = start_run(corpus_dir, tmp_path / "run", LONG, 2)
    process = interpreter(run)
    wait_for(run, "checkpoint", 3)  # the event comes before the file
    workers = workers_of(process.pid)
    os.kill(workers[rank], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    (line,) = errors.splitlines()
    assert line.startswith(f"error: process {rank + 1} of 2")
    assert "SIGKILL" in line
    assert "--resume" in line
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    process = trainer(run, "--resume")
    wait_for(run, "resume")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert Checkpoint.load(run.checkpoint).restored_progress().step > 0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def members(run: RunFiles, **variables: str) -> list[ForkedProgram]:
    """Two processes of one training, without a launcher that would end one with the other."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", **variables}
    return [start_program(TRAINER, run.manifest, **place, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(2)]


def test_a_process_that_lost_its_peer_does_not_end_with_success(corpus_dir, tmp_path):
    run = start_run(corpus_dir, tmp_path / "run", LONG, 2)
    first, second = members(run)
    wait_for(run, "train")
    second.kill()
    second.wait()
    assert first.wait(timeout=120) == PEER_LOST


def test_a_process_does_not_wait_for_a_silent_peer_for_ever(corpus_dir, tmp_path):
    run = start_run(corpus_dir, tmp_path / "run", LONG, 2)
    first, second = members(run, **{PEER_TIMEOUT_VARIABLE: "0.25"})
    wait_for(run, "train")
    second.send_signal(signal.SIGSTOP)
    try:
        assert first.wait(timeout=120) == PEER_SILENT
    finally:
        second.kill()
        second.wait()


@pytest.mark.slow
def test_the_launcher_says_that_a_process_does_not_answer(corpus_dir, tmp_path, monkeypatch):
    monkeypatch.setenv(PEER_TIMEOUT_VARIABLE, "0.25")
    run = start_run(corpus_dir, tmp_path / "run", LONG, 2)
    process = interpreter(run)
    wait_for(run, "train")
    os.kill(workers_of(process.pid)[1], signal.SIGSTOP)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 1
    (line,) = errors.splitlines()
    assert "has not answered the others for 15 seconds" in line
    assert PEER_TIMEOUT_VARIABLE in line


@pytest.mark.parametrize("value", ["soon", "0", "-1", "inf"])
def test_a_waiting_time_that_makes_no_sense_is_refused(monkeypatch, value):
    monkeypatch.setenv(PEER_TIMEOUT_VARIABLE, value)
    with pytest.raises(ConfigError, match=PEER_TIMEOUT_VARIABLE):
        peer_timeout_minutes()


def test_processes_end_with_a_checkpoint_when_their_launcher_is_killed(corpus_dir, tmp_path):
    run = start_run(corpus_dir, tmp_path / "run", LONG, 2)
    process = interpreter(run)
    wait_for(run, "train")
    workers = workers_of(process.pid)
    process.kill()
    process.communicate(timeout=60)
    wait_for(run, "interrupted")
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert RunManifest.load(run).state == "interrupted"


def test_a_second_group_is_refused_while_the_first_one_trains(corpus_dir, tmp_path):
    run = start_run(corpus_dir, tmp_path / "run", LONG, 2)
    first = interpreter(run)
    wait_for(run, "start")
    workers = workers_of(first.pid)
    for pid in workers:  # there they are, and leave the cores to the second
        os.kill(pid, signal.SIGSTOP)
    second = trainer(run, "--resume")
    _, errors = second.communicate(timeout=120)
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=120)
    assert second.returncode == 2
    (line,) = errors.splitlines()
    assert "another process" in line


def test_a_run_is_not_resumed_by_another_number_of_processes(corpus_dir, alone, tmp_path):
    run = start_run(corpus_dir, tmp_path / "run", dataclasses.replace(SMALL, max_characters=9_000), 2)
    run.checkpoint.write_bytes(alone.checkpoint.read_bytes())
    manifest = RunManifest.load(run)
    dataclasses.replace(manifest, config=dataclasses.replace(manifest.config, training=SMALL)).save(run)
    process = trainer(run, "--resume")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "num_processes=1" in errors.splitlines()[-1]


def test_streams_that_cannot_be_divided_are_refused():
    with pytest.raises(ConfigError, match="mini_batch_size=8 streams cannot be divided among num_processes=3"):
        RunConfig(run_dir="r", corpus_dir="c", direction="forward", training=SMALL, num_processes=3)


def test_the_command_line_trains_with_several_processes(trained_workspace, tmp_path):
    workspace = shutil.copytree(trained_workspace.root, tmp_path / "workspace")
    arguments = ("train", "tiny", *QUICK, "--direction", "forward", "--no-register", "--workspace", workspace)
    refused = run_charlm(*arguments, "--num-processes", 3)
    assert refused.code == 2
    assert "num_processes=3" in refused.stderr
    trained = run_charlm(*arguments, "--num-processes", 2, "--json")
    assert trained.code == 0, trained.stderr
    run = RunFiles(Path(trained.json["runs"]["forward"]["run_dir"]))
    assert events(run, "start")[0]["num_processes"] == 2
