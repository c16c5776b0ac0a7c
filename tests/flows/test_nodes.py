"""Two commands on one machine train together, each as a machine of its own."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from charlm.distributed.joining import JOIN_TIMEOUT_VARIABLE
from charlm.storage.fingerprints import sha256_of
from tests.charlm.trainers.test_nodes import place
from tests.charlm.trainers.test_processes import free_port
from tests.command_server import COMMAND_LINE, ForkedProgram
from tests.conftest import QUICK, run_charlm, start_program


def commands(workspaces: Sequence[Path], port: int, *arguments: object) -> list[ForkedProgram]:
    """One command on two nodes, each with a workspace of its own or the same one."""
    return [
        start_program(
            COMMAND_LINE,
            *arguments,
            "--json",
            "--workspace",
            workspace,
            *place(rank, port),
            **{JOIN_TIMEOUT_VARIABLE: "2"},
        )
        for rank, workspace in enumerate(workspaces)
    ]


@pytest.mark.service
def test_both_directions_are_trained_by_two_commands_and_registered_once(trained_workspace, tmp_path):
    here, there = (Path(shutil.copytree(trained_workspace.root, tmp_path / name)) for name in ("here", "there"))
    runs_there = sorted(path.name for path in (there / "runs").iterdir())
    first, second = commands((here, there), free_port(), "train", "tiny", *QUICK, "--set", "seed=2")
    trained, errors = first.communicate(timeout=300)
    assert first.returncode == 0, errors
    followed, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    result = json.loads(trained)
    assert set(result["runs"]) == {"forward", "backward"}
    assert result["model"] == "models:/tiny/2"
    assert json.loads(followed) == {"node": 1, "followed": ["forward", "backward"]}
    assert sorted(path.name for path in (there / "runs").iterdir()) == runs_there
    one = run_charlm(
        "train", "tiny", *QUICK, "--set", "seed=2", "--num-processes", 2, "--direction", "forward", "--no-register",
        "--json", "--workspace", here,
    )  # fmt: skip
    alone = Path(one.json["runs"]["forward"]["best_lm"])
    assert sha256_of(alone) == sha256_of(Path(result["runs"]["forward"]["best_lm"]))


@pytest.mark.slow
def test_a_finetuning_goes_over_nodes_on_a_shared_disk(trained_workspace, tmp_path):
    shared = Path(shutil.copytree(trained_workspace.root, tmp_path / "shared"))
    model = trained_workspace.root / "runs"
    model = next(path for path in sorted(model.iterdir()) if "forward" in path.name)
    command = ("finetune", "tiny", "--from", model, "--set", "max_characters=20000", "--set", "sequence_length=50")
    first, second = commands((shared, shared), free_port(), *command, "--no-register")
    trained, errors = first.communicate(timeout=300)
    assert first.returncode == 0, errors
    assert second.wait(timeout=60) == 0
    assert set(json.loads(trained)["runs"]) == {"forward"}


def test_nodes_with_other_settings_are_refused_by_both_commands(trained_workspace, tmp_path):
    shared = Path(shutil.copytree(trained_workspace.root, tmp_path / "shared"))
    before = sorted(path.name for path in (shared / "runs").iterdir())
    port = free_port()
    programs = [
        start_program(
            COMMAND_LINE, "train", "tiny", *QUICK, "--set", f"seed={rank}", "--direction", "forward", "--json",
            "--workspace", shared, *place(rank, port),
        )
        for rank in range(2)
    ]  # fmt: skip
    for program in programs:
        shown, _ = program.communicate(timeout=120)
        assert program.returncode == 2
        assert "give all nodes the same command" in json.loads(shown)["error"]
    assert sorted(path.name for path in (shared / "runs").iterdir()) == before


def test_a_pipeline_on_several_nodes_is_refused(tmp_path):
    refused = run_charlm(
        "run", tmp_path, "--name", "tiny", *place(0, free_port()), "--workspace", tmp_path / "workspace"
    )
    assert refused.code == 2
    (line,) = refused.stderr.splitlines()
    assert "charlm train tiny --num-nodes 2" in line
