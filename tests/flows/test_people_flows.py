"""The flows that people start by a form: a model from raw text, the gate once more, a rollback, a backup."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import ROOT, copy_prefect_home, environment, write_sentences

PROGRAM = """
import json, sys
from pathlib import Path
from deployments.backup_flow import back_up
from flows.promotion import promote, roll_back
from flows.run import run_pipeline

workspace, text, more, backup = (Path(path) for path in sys.argv[1:])
quick = ["hidden_size=16", "sequence_length=50", "learning_rate=2e-2"]
here = {"workspace": workspace, "return_state": True}
states = [
    run_pipeline([str(text)], "tiny", settings=[*quick, "max_characters=40000"], **here),
    run_pipeline([str(text)], "tiny", settings=[*quick, "max_characters=160000"], **here),
    promote("tiny", **here),
    roll_back("tiny", **here),
    roll_back("tiny", **here),
    run_pipeline([str(more)], "tiny", recipe="nothing", **here),
    back_up(backup, **here),
]
print(json.dumps([[state.type.value, state.message] for state in states]))
"""


@pytest.mark.service
def test_a_model_is_made_promoted_rolled_back_and_saved(new_prefect_home: Path, tmp_path: Path) -> None:
    workspace, backup = tmp_path / "workspace", tmp_path / "backups" / "monday"
    copy_prefect_home(new_prefect_home, workspace)
    texts = [write_sentences(tmp_path / f"{seed}.txt", seed=seed, num_lines=400) for seed in (1, 2)]
    outcome = subprocess.run(
        [sys.executable, "-c", PROGRAM, workspace, *texts, backup],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
    )
    assert outcome.returncode == 0, outcome.stderr
    first, second, again, rolled, twice, wrong, saved = json.loads(outcome.stdout.splitlines()[-1])
    assert first == ["COMPLETED", "models:/tiny/1 is champion"]
    assert second == ["COMPLETED", "models:/tiny/2 is champion"]
    assert again[0] == "COMPLETED"
    assert again[1].startswith("models:/tiny/2 ")
    assert rolled == ["COMPLETED", "models:/tiny/1 is champion again, not models:/tiny/2"]
    assert twice[0] == "FAILED"
    assert "replaced no" in twice[1]
    assert wrong[0] == "FAILED"
    assert "no recipe named 'nothing'" in wrong[1]
    assert saved == [
        "COMPLETED",
        f"{len(json.loads((backup / 'backup.json').read_text())['files'])} files saved to {backup}",
    ]
    with closing(sqlite3.connect(workspace / ".prefect" / "prefect.db")) as database:
        promoted = database.execute("SELECT count(*) FROM events WHERE event = 'charlm.model.promoted'").fetchone()
        shown = database.execute(
            "SELECT DISTINCT artifact.key FROM artifact JOIN flow_run ON flow_run.id = artifact.flow_run_id"
            " WHERE flow_run.name = 'a model of tiny'"
        ).fetchall()
    assert promoted == (3,)
    assert {("gate-tiny",), ("report-tiny",), ("versions-tiny",)} <= set(shown)  # on the page of the run itself
