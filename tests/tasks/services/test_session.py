"""A process may work in several workspaces: each keeps its own registry, flow runs and trainings."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from tasks.registry.download import open_model
from tasks.registry.versions import find_champion, find_version
from tasks.services.session import Session, use_workspace
from tasks.services.trainings import Trainings
from tasks.tracking.client import mlflow_client
from tests.conftest import ROOT, TrainedWorkspace, environment, own_workspace, write_sentences


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing names a server."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "PREFECT_")):
            monkeypatch.delenv(name)


@pytest.mark.usefixtures("clean_environment")
def test_the_variables_are_those_of_the_workspace_that_was_opened_last(tmp_path: Path):
    first, second = use_workspace(tmp_path / "first"), use_workspace(tmp_path / "second")
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{second.mlflow_db}"
    assert os.environ["PREFECT_HOME"] == str(second.prefect_home)
    use_workspace(first.root)
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{first.mlflow_db}"
    assert os.environ["PREFECT_HOME"] == str(first.prefect_home)


@pytest.mark.usefixtures("clean_environment")
def test_what_the_user_has_set_stays_in_every_workspace(tmp_path: Path):
    os.environ["MLFLOW_TRACKING_URI"] = "http://tracking:5000"
    use_workspace(tmp_path / "first")
    use_workspace(tmp_path / "second")
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://tracking:5000"
    os.environ["PREFECT_API_URL"] = "http://prefect:4200/api"
    use_workspace(tmp_path / "third")
    assert "PREFECT_HOME" not in os.environ  # the user's own profile may hold the key of the server


def test_each_workspace_has_its_own_registry(trained_workspace: TrainedWorkspace, tmp_path: Path):
    with own_workspace(trained_workspace, tmp_path / "first") as first:
        mlflow_client().set_registered_model_alias("tiny", "champion", "1")
        second = use_workspace(tmp_path / "second")
        assert find_champion("tiny") is None
        opened = open_model("models:/tiny@champion", first)  # of the first workspace, whichever is active
        assert opened.version == find_version("models:/tiny/1")
        assert sorted(opened.models) == ["backward", "forward"]
        use_workspace(second.root)
        assert find_champion("tiny") is None


@pytest.mark.usefixtures("clean_environment")
def test_no_other_workspace_is_opened_while_one_trains(tmp_path: Path):
    session = Session.open(tmp_path / "first")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        with (
            session.trainings.child(child, session.trainings.stop_flag),
            pytest.raises(ConfigError, match="still trains"),
        ):
            use_workspace(tmp_path / "second")
        child.kill()
    assert Session.active() is session
    assert use_workspace(tmp_path / "second") == Workspace(tmp_path / "second")


def test_trainings_after_a_cancelled_flow_are_not_stopped():
    trainings = Trainings()
    stop_flag = trainings.stop_flag
    with pytest.raises(KeyboardInterrupt), trainings.stopping_on_cancellation():
        raise KeyboardInterrupt
    assert stop_flag.is_set()  # what had begun ends
    assert not trainings.stop_flag.is_set()


def test_trainings_after_ctrl_c_are_not_stopped():
    trainings = Trainings()
    with pytest.raises(KeyboardInterrupt), trainings.stopping_on_signals():
        signal.raise_signal(signal.SIGINT)
    assert not trainings.stop_flag.is_set()


def test_a_training_that_starts_while_all_are_stopped_ends_too():
    trainings = Trainings()
    stop_flag = trainings.stop_flag
    trainings.stop()
    # A shell's background job, and what it starts, ignores SIGINT until it says otherwise.
    program = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with trainings.child(child, stop_flag):
            trainings.stop()  # one signal, however often
            assert child.wait(60) != 0


def test_a_session_is_of_one_workspace_in_every_thread(tmp_path: Path):
    workspace = Workspace(tmp_path)
    found: list[Session] = []
    thread = threading.Thread(target=lambda: found.append(Session.of(workspace)))
    thread.start()
    thread.join()
    assert found == [Session.of(workspace)]


# Flows as a user's program calls them: nothing but the import, and the folder of the workspace.
PROGRAM = """
import sys
from pathlib import Path
from flows.prepare import prepare_corpus
text, *workspaces = sys.argv[1:]
for workspace in workspaces:
    prepare_corpus([text], "tiny", Path(workspace))
"""


@pytest.mark.service
def test_a_flow_that_a_program_calls_runs_in_the_prefect_of_its_workspace(tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    text = write_sentences(tmp_path / "text.txt", num_lines=300)
    workspaces = [tmp_path / "first", tmp_path / "second"]
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, text, *workspaces],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment() | {"HOME": str(home)},
    )
    assert result.returncode == 0, result.stderr
    for workspace in workspaces:
        with sqlite3.connect(workspace / ".prefect" / "prefect.db") as database:
            runs = database.execute("SELECT name, state_name FROM flow_run").fetchall()
            lines = {line for (line,) in database.execute("SELECT message FROM log WHERE name = 'charlm'")}
        assert runs == [("corpus tiny", "Completed")]
        assert any(line.startswith("✓ split tiny") for line in lines)
    assert not (home / ".prefect" / "prefect.db").exists()
