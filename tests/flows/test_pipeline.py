"""The whole pipeline with a real embedded Prefect server and a real MLflow, and how it is interrupted."""

import re
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from charlm.artifacts import RunFiles
from charlm.errors import TrainingInterruptedError
from charlm.recipes import changed_recipe
from tasks.services.session import Session
from tasks.training import child
from tasks.training.pair import train_pair
from tests.command_server import COMMAND_LINE
from tests.conftest import (
    QUICK,
    Charlm,
    Outcome,
    TrainedWorkspace,
    copy_prefect_home,
    own_workspace,
    run_charlm,
    start_program,
    write_sentences,
)

pytestmark = pytest.mark.service


def prefect_rows(workspace: Path, query: str) -> list[tuple[str, ...]]:
    with sqlite3.connect(workspace / ".prefect" / "prefect.db") as database:
        return database.execute(query).fetchall()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    write_sentences(folder / "text.txt")
    return folder / "workspace"


@pytest.fixture(scope="module")
def first(workspace: Path) -> Outcome:
    return run_pipeline(workspace)


def run_pipeline(workspace: Path) -> Outcome:
    text = workspace.parent / "text.txt"
    place = ("--shard-size", "30kB", "--workspace", workspace, "--json")
    return run_charlm("run", text, "--name", "tiny", *QUICK, *place, own_server=True)


def test_one_command_takes_raw_text_to_a_champion(charlm: Charlm, workspace: Path, first: Outcome) -> None:
    assert first.code == 0, first.stderr
    assert (first.json["model"], first.json["promoted"]) == ("models:/tiny/1", True)
    assert first.json["runs"].keys() == {"forward", "backward"}
    test_text = workspace / "corpora" / "tiny" / "test.txt"
    scores = charlm("evaluate", "models:/tiny@champion", test_text, "--workspace", workspace, "--json").json
    for direction, run in first.json["runs"].items():
        assert scores[direction]["bits_per_byte"] == pytest.approx(run["test"]["bits_per_byte"], rel=1e-5)


def test_prefect_shows_what_was_done(workspace: Path, first: Outcome) -> None:
    assert first.code == 0
    assert prefect_rows(workspace, "SELECT name, state_name FROM flow_run LIMIT 1") == [
        ("language models of tiny", "Completed")
    ]
    tasks = {name for (name,) in prefect_rows(workspace, "SELECT name FROM task_run WHERE state_name = 'Completed'")}
    num_shards = len(list((workspace / "corpora" / "tiny" / "train").iterdir()))
    assert num_shards > 1
    assert {f"count train_split_{number:04d}" for number in range(1, num_shards + 1)} <= tasks
    assert {f"encode train_split_{number:04d}" for number in range(1, num_shards + 1)} <= tasks
    assert {"split tiny", "build dictionary", "train demo forward", "train demo backward", "register tiny"} <= tasks
    ((report,),) = prefect_rows(workspace, "SELECT data FROM artifact WHERE key = 'report-tiny' LIMIT 1")
    assert "models:/tiny/1" in report
    assert "| demo | forward |" in report
    assert re.search(r"\| \[trained\]\(http\S+/#/experiments/\d+/runs/[0-9a-f]{32}\?\S+\) \|", report)
    ((decision,),) = prefect_rows(workspace, "SELECT data FROM artifact WHERE key = 'gate-tiny' LIMIT 1")
    assert "**Promoted**: the first" in decision
    assert prefect_rows(workspace, "SELECT DISTINCT data FROM artifact WHERE key = 'training-tiny-demo-forward'") == [
        (100,)
    ]
    lines = [message for (message,) in prefect_rows(workspace, "SELECT message FROM log WHERE name = 'charlm'")]
    assert any(line.startswith("✓ split tiny: revision 1, 3,000 documents") for line in lines)


def test_a_second_run_reuses_every_step_and_registers_nothing_new(workspace: Path, first: Outcome) -> None:
    again = run_pipeline(workspace)
    assert again.json == first.json
    assert "no new text" in again.stderr
    assert again.stderr.count(", which is finished") == 2
    assert "models:/tiny/1 already holds this very model" in again.stderr


def test_ctrl_c_leaves_runs_that_resume_finishes(charlm: Charlm, new_prefect_home: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    copy_prefect_home(new_prefect_home, workspace)
    text = write_sentences(tmp_path / "text.txt", num_lines=20_000)
    settings = ["--set", "max_characters=4000000", "--set", "hidden_size=16", "--workspace", str(workspace)]
    process = start_program(COMMAND_LINE, "run", text, "--name", "tiny", *settings)
    wait_until_both_train(workspace)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    last_line = stderr.splitlines()[-1]
    assert last_line.startswith("error: interrupted; continue with: charlm run "), stderr
    assert last_line.endswith(" --resume")
    assert "Traceback" not in stderr
    runs = sorted((workspace / "runs").iterdir())
    assert len(runs) == 2
    assert all((run / "checkpoint.pt").is_file() for run in runs)
    main_flow = "SELECT state_name FROM flow_run WHERE parent_task_run_id IS NULL"
    assert prefect_rows(workspace, main_flow) == [("Failed",)]
    assert prefect_rows(workspace, "SELECT count(*) FROM task_run WHERE state_name = 'Running'") == [(0,)]
    resumed = charlm("train", "tiny", *settings, "--resume", "--json")
    assert resumed.code == 0
    assert sorted(run["run_dir"] for run in resumed.json["runs"].values()) == list(map(str, runs))


def test_ctrl_c_in_the_last_moment_of_a_training_ends_what_would_follow(
    trained_workspace: TrainedWorkspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    follow = child._follow

    def follow_until_late(run: RunFiles, process: "subprocess.Popen[bytes]", *others: Any) -> None:
        process.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        assert stop_flag.wait(60)
        follow(run, process, *others)

    with own_workspace(trained_workspace, tmp_path / "workspace") as space:
        recipe = changed_recipe("demo", [*QUICK[1::2], "seed=2"])
        trainings = Session.of(space).trainings
        stop_flag = trainings.stop_flag
        with monkeypatch.context() as patch, trainings.stopping_on_signals():
            patch.setattr(child, "_follow", follow_until_late)
            with pytest.raises(TrainingInterruptedError):
                train_pair(space, "tiny", ("forward",), recipe, resume=False, register=True)
        again = train_pair(space, "tiny", ("forward",), recipe, resume=True, register=True)
    assert again.runs["forward"].reused
    assert again.version is not None
    assert (again.version.version, again.version.is_new) == (2, True)


def wait_until_both_train(workspace: Path) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        journals = list(workspace.glob("runs/*/journal.jsonl"))
        if len(journals) == 2 and all(b'"train"' in journal.read_bytes() for journal in journals):
            return
        time.sleep(0.2)
    raise TimeoutError("the trainings did not begin")
