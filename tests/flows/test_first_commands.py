"""Commands that start together in a new workspace all succeed: one makes what is missing, the others wait."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from charlm.artifacts import Workspace
from tests.conftest import QUICK, run_charlm

_TEXTS = 3


def _start_together(folder: Path, commands: list[list[str]]) -> Workspace:
    """Run all `commands` in a new workspace; fails with the output of those that did not succeed."""
    workspace = Workspace(folder / "workspace")
    with ThreadPoolExecutor(len(commands)) as pool:
        place = ("--workspace", workspace.root)
        outcomes = list(pool.map(lambda command: run_charlm(*command, *place, own_server=True), commands))
    failed = [
        f"{command}: {outcome.stdout}{outcome.stderr}"
        for command, outcome in zip(commands, outcomes, strict=True)
        if outcome.code != 0
    ]
    assert not failed, "\n".join(failed)
    return workspace


def _check_history(workspace: Workspace) -> None:
    """Prefect has recorded the end of every run and task, and an event of it."""
    with closing(sqlite3.connect(workspace.prefect_home / "prefect.db")) as database:
        for kind in ("flow", "task"):
            ended = f"SELECT name, state_name FROM {kind}_run WHERE state_type != 'COMPLETED'"
            assert database.execute(ended).fetchall() == []
            # A flow in a flow has a task run of its own, without events.
            parents = "SELECT parent_task_run_id FROM flow_run WHERE parent_task_run_id IS NOT NULL"
            runs = f"SELECT count(*) FROM {kind}_run WHERE id NOT IN ({parents})"
            events = f"SELECT count(*) FROM events WHERE event = 'prefect.{kind}-run.Completed'"
            assert database.execute(events).fetchall() == database.execute(runs).fetchall() != [(0,)]


def _texts(folder: Path) -> list[str]:
    paths = [folder / f"text-{number}.txt" for number in range(_TEXTS)]
    for number, path in enumerate(paths):
        lines = [f"line {line} of text {number}: the cat sees a house {line % 13}\n" for line in range(2000)]
        path.write_text("".join(lines), encoding="utf-8")
    return [str(path) for path in paths]


def _preparations(texts: list[str]) -> list[list[str]]:
    return [
        ["prepare", texts[0], "--name", "one"],
        ["prepare", texts[0], "--name", "one"],
        ["prepare", texts[1], "--name", "one"],
        ["prepare", texts[2], "--name", "two"],
        ["doctor", texts[0]],
    ]


def test_preparations_that_start_together_all_succeed(tmp_path: Path) -> None:
    from charlm.text.corpus.manifest import load_manifest

    workspace = _start_together(tmp_path, _preparations(_texts(tmp_path)))
    manifest = load_manifest(workspace.corpus("one"))
    assert manifest.revision == 2
    assert manifest.documents == 4000
    assert manifest.dictionary is not None


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("attempt", range(20))
def test_ten_first_commands_that_start_together_all_succeed(attempt: int, tmp_path: Path) -> None:
    texts = _texts(tmp_path)
    more = [
        ["prepare", texts[1], "--name", "three", "--task-runner", "threads"],
        ["prepare", texts[0], "--name", "one", "--task-runner", "threads"],
        ["run", texts[0], "--name", "five", *QUICK],
        ["run", texts[1], "--name", "five", *QUICK],
        ["run", texts[2], "--name", "six", *QUICK],
    ]
    _check_history(_start_together(tmp_path, [*_preparations(texts), *more]))
