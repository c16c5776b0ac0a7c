"""The flow that prepares a corpus gives the same bytes under every task runner, and after it was killed."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from charlm.errors import ConfigError
from flows.task_runners import DASK_ADDRESS_VARIABLE, check_task_runner, keep_environment
from tests.conftest import COMMAND, ROOT, Charlm, Outcome, copy_prefect_home, environment, run_charlm, write_sentences

SETTINGS = ("--name", "tiny", "--shard-size", "4kB", "--json")


def contents(corpus: Path) -> dict[Path, bytes]:
    """Every file of a corpus; what a killed writer left under a temporary name is none."""
    files = (path for path in corpus.rglob("*") if path.is_file() and not path.name.startswith(".tmp-"))
    return {path.relative_to(corpus): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text of a dozen shards."""
    return write_sentences(tmp_path_factory.mktemp("text") / "text.txt", num_lines=1_000)


@pytest.fixture(scope="module")
def undisturbed(text: Path) -> dict[Path, bytes]:
    return plain_contents(text)


def plain_contents(text: Path) -> dict[Path, bytes]:
    """The corpus of `text` as the plain functions make it."""
    outcome = run_charlm("prepare", text, *SETTINGS, "--workspace", text.parent / "plain")
    assert outcome.code == 0, outcome.stderr
    return contents(Path(outcome.json["corpus"]))


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def prepare(text: Path, workspace: Path, task_runner: str) -> Outcome:
    outcome = run_charlm("prepare", text, *SETTINGS, "--task-runner", task_runner, "--workspace", workspace)
    assert outcome.code == 0, outcome.stderr
    return outcome


@pytest.mark.service
@pytest.mark.parametrize("task_runner", ["threads", "processes", pytest.param("dask", marks=pytest.mark.slow)])
def test_every_task_runner_gives_the_same_bytes(
    task_runner: str, text: Path, undisturbed: dict[Path, bytes], tmp_path: Path
) -> None:
    outcome = prepare(text, tmp_path / "workspace", task_runner)
    assert contents(Path(outcome.json["corpus"])) == undisturbed


@pytest.mark.service
def test_a_dask_cluster_of_two_processes_shares_the_work_and_reports_to_one_server(
    text: Path, undisturbed: dict[Path, bytes], new_prefect_home: Path, tmp_path: Path
) -> None:
    from distributed import Client, LocalCluster

    workspace, variables = tmp_path / "workspace", dict(os.environ)
    copy_prefect_home(new_prefect_home, workspace)
    with (
        keep_environment(),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        place = ("--task-runner", "dask", "--workspace", str(workspace))
        result = subprocess.run(
            [*COMMAND, "prepare", str(text), *SETTINGS, *place],  # Dask's client in an interpreter of its own
            cwd=ROOT,
            env=environment() | {DASK_ADDRESS_VARIABLE: cluster.scheduler_address},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        outcome = Outcome(result.returncode, result.stdout, result.stderr)
        num_done = client.run(lambda dask_worker: dask_worker.state.executed_count)
        assert os.environ["MALLOC_TRIM_THRESHOLD_"]  # of Dask
    assert os.environ == variables
    assert contents(Path(outcome.json["corpus"])) == undisturbed
    assert len(num_done) == 2
    assert all(num_done.values())
    num_shards = outcome.json["train_shards"]
    with sqlite3.connect(workspace / ".prefect" / "prefect.db") as database:
        states = database.execute("SELECT state_name, count(*) FROM task_run GROUP BY state_name").fetchall()
    assert states == [("Completed", 3 + 2 * num_shards + 2)]  # split, dictionary, score; shards; valid and test


@pytest.mark.service
@pytest.mark.parametrize("folder", [pytest.param("counts", marks=pytest.mark.slow), "encoded"])
def test_a_prepare_that_is_killed_goes_on_with_what_is_missing(
    folder: str, server: dict[str, str], tmp_path: Path
) -> None:
    text = write_sentences(tmp_path / "text.txt", num_lines=4_000)  # for long enough
    undisturbed, workspace = plain_contents(text), tmp_path / "workspace"
    corpus = workspace / "corpora" / "tiny"
    command = [sys.executable, "-c", "from flows.cli.app import main; main()", "prepare", str(text), *SETTINGS]
    process = subprocess.Popen(
        [*command, "--task-runner", "threads", "--workspace", str(workspace)],
        cwd=ROOT,
        env=environment() | server,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: len(list((corpus / folder).rglob("[!.]*.*"))) >= 5)
    process.kill()
    process.wait()
    num_left = len([path for path in contents(corpus) if path.parts[0] == folder])
    num_whole = len([path for path in undisturbed if path.parts[0] == folder])
    assert 5 <= num_left < num_whole
    outcome = prepare(text, workspace, "threads")
    assert "reused" in outcome.stderr
    assert contents(corpus) == undisturbed


@pytest.mark.service
def test_very_many_shards_share_tasks_and_give_the_same_bytes(new_prefect_home: Path, tmp_path: Path) -> None:
    text = write_sentences(tmp_path / "text.txt", num_lines=12_000)
    workspace = tmp_path / "workspace"
    copy_prefect_home(new_prefect_home, workspace)
    place = ("--task-runner", "threads", "--workspace", workspace)
    outcome = run_charlm("prepare", text, *SETTINGS, *place, own_server=True)
    assert outcome.code == 0, outcome.stderr
    num_shards = outcome.json["train_shards"]
    assert num_shards > 128
    assert f"✓ count characters: {num_shards} files" in outcome.stderr
    assert contents(Path(outcome.json["corpus"])) == plain_contents(text)
    with sqlite3.connect(workspace / ".prefect" / "prefect.db") as database:
        names = [name for (name,) in database.execute("SELECT name FROM task_run WHERE state_name = 'Completed'")]
    assert len(names) == 3 + 2 * 64
    assert any(re.fullmatch(r"count train_split_0001 to train_split_\d{4}", name) for name in names)


@pytest.mark.service
def test_an_error_in_a_shard_is_one_line(charlm: Charlm, text: Path, tmp_path: Path) -> None:
    place = (text, *SETTINGS, "--workspace", tmp_path / "workspace")
    corpus = Path(charlm("prepare", *place).json["corpus"])
    shutil.rmtree(corpus / "encoded")
    (corpus / "counts" / "train_split_0001.parquet").unlink()
    (corpus / "train" / "train_split_0001").write_bytes(
        b"\xff" * (corpus / "train" / "train_split_0001").stat().st_size
    )
    outcome = charlm("prepare", *place, "--task-runner", "processes")
    assert outcome.code == 2
    assert "train_split_0001 is not UTF-8" in outcome.json["error"]
    assert "Traceback" not in outcome.stderr


# ---- without Prefect -----------------------------------------------------------------------------------------------


def test_an_unknown_task_runner_is_refused_before_prefect_starts(charlm: Charlm, text: Path, tmp_path: Path) -> None:
    for command in ("prepare", "run"):
        outcome = charlm(command, text, *SETTINGS, "--task-runner", "cloud", "--workspace", tmp_path / "workspace")
        assert outcome.code == 2
        assert outcome.json["error"] == "task_runner is one of threads, processes, dask; got 'cloud'"
        assert not (tmp_path / "workspace").exists()


def test_dask_that_is_not_installed_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.task_runners.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package prefect-dask; .* 'charlm-pipeline\[dask\]'"):
        check_task_runner("dask")
