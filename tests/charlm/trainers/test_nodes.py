"""Trainings on several nodes: launchers on one machine that meet at a port, each as a machine of its own."""

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import charlm
from charlm.artifacts import RunFiles
from charlm.config import NodesConfig
from charlm.distributed.group import PEER_TIMEOUT_VARIABLE
from charlm.distributed.joining import JOIN_TIMEOUT_VARIABLE
from charlm.errors import ConfigError
from charlm.storage.fingerprints import sha256_of
from charlm.trainers.lm.checkpoint import Checkpoint
from charlm.trainers.lm.manifest import RunManifest
from tests.charlm.trainers.runs import write_corpus
from tests.charlm.trainers.test_processes import LONG, SMALL, events, finish, free_port, start_run, wait_for, workers_of
from tests.command_server import TRAINER, ForkedProgram
from tests.conftest import start_program


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpora") / "topics")


def place(rank: int, port: int, num_nodes: int = 2) -> tuple[str, ...]:
    return "--num-nodes", str(num_nodes), "--node-rank", str(rank), "--rendezvous", f"127.0.0.1:{port}"


def node(run: RunFiles, rank: int, port: int, *arguments: str, num_nodes: int = 2, **variables: str) -> ForkedProgram:
    return start_program(TRAINER, run.manifest, *place(rank, port, num_nodes), *arguments, **variables)


def interpreter(run: RunFiles, rank: int, port: int, **variables: str) -> subprocess.Popen[str]:
    """The same in interpreters of their own, whose processes can be looked at."""
    command = [sys.executable, "-m", "charlm.trainers.run", str(run.manifest), *place(rank, port)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables})


def copy_of(run: RunFiles, root: Path) -> RunFiles:
    """The run folder on another machine, with the same paths to the corpus."""
    shutil.copytree(run.root, root)
    copied = RunFiles(root)
    RunManifest.load(run).save(copied)
    return copied


@pytest.fixture(scope="module")
def one_node(corpus_dir, tmp_path_factory) -> RunFiles:
    run = start_run(corpus_dir, tmp_path_factory.mktemp("runs") / "one", SMALL, 2)
    finish(start_program(TRAINER, run.manifest))
    return run


@pytest.fixture
def run(corpus_dir, tmp_path) -> RunFiles:
    return start_run(corpus_dir, tmp_path / "node0", SMALL, 2)


@pytest.fixture
def elsewhere(run, tmp_path) -> RunFiles:
    return copy_of(run, tmp_path / "node1")


def test_two_nodes_train_what_one_node_with_two_processes_trains(one_node, run, elsewhere):
    port = free_port()
    nodes = [node(run, 0, port), node(elsewhere, 1, port)]
    for each in nodes:
        finish(each)
    assert sha256_of(run.best_lm) == sha256_of(one_node.best_lm)
    assert events(run, "start")[0]["num_processes"] == 2
    assert sorted(path.name for path in elsewhere.root.iterdir()) == ["run.json"]  # all is written by node 0
    again = [node(run, 0, port, "--resume"), node(elsewhere, 1, port, "--resume")]
    for each in again:  # nothing is left to do
        finish(each)


def test_nodes_that_were_stopped_go_on_as_one_node_to_equal_weights(corpus_dir, tmp_path):
    training = dataclasses.replace(SMALL, dropout=0.2, max_characters=30_000, checkpoint_minutes=0.001)
    whole = start_run(corpus_dir, tmp_path / "whole", training, 2)
    finish(start_program(TRAINER, whole.manifest))
    run = start_run(corpus_dir, tmp_path / "node0", training, 2)
    elsewhere = copy_of(run, tmp_path / "node1")
    port = free_port()
    nodes = [node(run, 0, port), node(elsewhere, 1, port)]
    wait_for(run, "train", 3)
    nodes[1].send_signal(signal.SIGTERM)
    assert [each.wait(timeout=60) for each in nodes] == [143, 143]
    nodes = [node(run, 0, port, "--resume"), node(elsewhere, 1, port)]  # node 0 decides, and has the checkpoint
    wait_for(run, "resume")
    wait_for(run, "train", len(events(run, "train")) + 2)
    nodes[0].send_signal(signal.SIGINT)
    codes = [each.wait(timeout=60) for each in nodes]
    if codes != [0, 0]:  # it may have ended before
        assert codes == [130, 143]
        finish(start_program(TRAINER, run.manifest, "--resume"))
    assert sha256_of(run.best_lm) == sha256_of(whole.best_lm)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "launcher", "node 0"])
def test_a_killed_node_ends_the_others_and_the_run_goes_on(corpus_dir, tmp_path, victim):
    run = start_run(corpus_dir, tmp_path / "node0", LONG, 2)
    elsewhere = copy_of(run, tmp_path / "node1")
    port = free_port()
    nodes = [interpreter(run, 0, port), interpreter(elsewhere, 1, port)]
    wait_for(run, "checkpoint", 3)
    dying, other = (nodes[0], nodes[1]) if victim == "node 0" else (nodes[1], nodes[0])
    (worker,) = workers_of(dying.pid)
    if victim == "worker":
        os.kill(worker, signal.SIGKILL)
    else:
        dying.kill()
    if victim == "node 0":
        os.kill(worker, signal.SIGKILL)
    _, errors = other.communicate(timeout=120)
    assert other.returncode in (1, 143)
    assert "--resume" in errors.splitlines()[-1] or not errors
    dying.communicate(timeout=120)
    again = [node(run, 0, port, "--resume"), node(elsewhere, 1, port, "--resume")]
    wait_for(run, "resume")
    for each in again:
        each.send_signal(signal.SIGTERM)
    assert [each.wait(timeout=60) for each in again] == [143, 143]
    assert Checkpoint.load(run.checkpoint).restored_progress().step > 0


@pytest.mark.slow
@pytest.mark.parametrize("hung", [0, 1])
def test_a_hung_node_ends_the_others(corpus_dir, tmp_path, hung):
    run = start_run(corpus_dir, tmp_path / "node0", LONG, 2)
    elsewhere = copy_of(run, tmp_path / "node1")
    port, limit = free_port(), {PEER_TIMEOUT_VARIABLE: "0.2"}
    nodes = [interpreter(run, 0, port, **limit), interpreter(elsewhere, 1, port, **limit)]
    wait_for(run, "train")
    stopped = [nodes[hung].pid, *workers_of(nodes[hung].pid)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    _, errors = nodes[1 - hung].communicate(timeout=120)
    for pid in reversed(stopped):
        os.kill(pid, signal.SIGCONT)
    assert nodes[1 - hung].returncode == 1
    assert "12 seconds" in errors or "lost their connection" in errors
    nodes[hung].communicate(timeout=120)
    assert nodes[hung].returncode != 0


@pytest.mark.slow
def test_nodes_can_be_started_by_torchrun_itself(one_node, run, elsewhere):
    port = free_port()
    nodes = [
        subprocess.Popen(
            [
                sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(rank),
                "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", str(port),
                "-m", "charlm.trainers.run", str(each.manifest),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, each in enumerate((run, elsewhere))
    ]  # fmt: skip
    for each in nodes:
        finish(each)
    assert sha256_of(run.best_lm) == sha256_of(one_node.best_lm)


# ---- mistakes ------------------------------------------------------------------------------------------------------


def ends(program: ForkedProgram) -> str:
    """The one line of a program that refuses."""
    _, errors = program.communicate(timeout=120)
    assert program.returncode == 2, errors
    (line,) = errors.splitlines()
    return line


SOON = {JOIN_TIMEOUT_VARIABLE: "0.05"}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"num_nodes": 0}, "at least 1"),
        ({"num_nodes": 2, "node_rank": 2, "rendezvous": "a:1"}, "node rank 2 is not one of 2"),
        ({"num_nodes": 2, "node_rank": -1, "rendezvous": "a:1"}, "node rank -1"),
        ({"num_nodes": 2}, "need a place to meet"),
        ({"rendezvous": "a:1"}, "give --num-nodes too"),
        ({"num_nodes": 2, "rendezvous": "head"}, "HOST:PORT"),
        ({"num_nodes": 2, "rendezvous": "head:70000"}, "HOST:PORT"),
    ],
)
def test_a_place_that_makes_no_sense_is_refused(values, reason):
    with pytest.raises(ConfigError, match=reason):
        NodesConfig(**values)


def test_an_address_of_ipv6_is_in_brackets():
    assert NodesConfig(num_nodes=2, rendezvous="[::1]:29500").address == ("::1", 29500)


def test_a_node_whose_rendezvous_does_not_answer_is_refused_in_time(run):
    started = time.monotonic()
    line = ends(node(run, 1, free_port(), **SOON))
    assert "nobody answers at the rendezvous" in line
    assert JOIN_TIMEOUT_VARIABLE in line
    assert time.monotonic() - started < 60  # a minute is no speed, but the end of a wait for ever


def test_a_rendezvous_without_a_host_is_refused(run):
    place = ("--num-nodes", "2", "--node-rank", "1", "--rendezvous", "no-such-host.invalid:29500")
    assert "no-such-host.invalid" in ends(start_program(TRAINER, run.manifest, *place))


def test_a_first_node_does_not_wait_for_the_others_for_ever(run):
    assert "only 1 of 2 processes have come" in ends(node(run, 0, free_port(), **SOON))


def test_a_port_in_use_is_refused(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "is in use" in ends(node(run, 0, taken.getsockname()[1]))


def test_nodes_that_disagree_about_their_number_end_with_one_line_each(corpus_dir, tmp_path, run):
    six = start_run(corpus_dir, tmp_path / "other", dataclasses.replace(SMALL, mini_batch_size=12), 3)
    port = free_port()
    lines = [ends(each) for each in (node(run, 0, port), node(six, 1, port, num_nodes=3))]
    assert all("world_size" in line and "--num-nodes" in line for line in lines)


def test_nodes_that_disagree_about_the_training_end_with_one_line_each(corpus_dir, tmp_path, run):
    other = start_run(corpus_dir, tmp_path / "other", dataclasses.replace(SMALL, learning_rate=0.5), 2)
    port = free_port()
    lines = [ends(each) for each in (node(run, 0, port), node(other, 1, port))]
    assert all("training" in line and "the same command" in line for line in lines)


def test_nodes_of_different_versions_end_with_one_line_each(run, elsewhere, monkeypatch):
    port = free_port()
    older = f"import charlm; charlm.__version__ = '0.0.1'; {TRAINER}"
    other = {"RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "charlm-nodes"}
    lines = [ends(each) for each in (node(run, 0, port), start_program(older, elsewhere.manifest, **other, **address))]
    assert all("charlm 0.0.1" in line and charlm.__version__ in line for line in lines)


def test_a_node_rank_that_is_taken_is_refused(corpus_dir, tmp_path):
    run = start_run(corpus_dir, tmp_path / "node0", dataclasses.replace(SMALL, mini_batch_size=12), 3)
    elsewhere = copy_of(run, tmp_path / "node1")
    port = free_port()
    first, second, third = (
        node(each, rank, port, num_nodes=3, **{JOIN_TIMEOUT_VARIABLE: "0.1"})
        for each, rank in ((run, 0), (elsewhere, 1), (elsewhere, 1))
    )
    lines = sorted(ends(each) for each in (second, third))
    assert sum("has come to" in line and "already" in line for line in lines) == 1
    assert "only 2 of 3" in ends(first)


def test_what_node_zero_refuses_ends_the_other_node_with_the_reason(run, elsewhere, one_node):
    run.checkpoint.write_bytes(b"damaged")
    port = free_port()
    first, second = node(run, 0, port, "--resume"), node(elsewhere, 1, port)
    assert "checkpoint" in ends(first)
    assert "checkpoint" in ends(second)
