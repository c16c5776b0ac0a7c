"""What `charlm prune` removes of a real workspace, and what it leaves."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from charlm.artifacts import Workspace
from charlm.errors import ConfigError, RegistryError
from charlm.storage.atomic import read_json, write_json
from charlm.storage.locks import exclusive_lock
from tasks.registry.download import open_model
from tasks.registry.versions import CHAMPION, find_version
from tasks.tracking.client import mlflow_client
from tasks.upkeep.pruning import plan_pruning, remove
from tests.conftest import TrainedWorkspace, own_workspace, run_charlm
from tests.tasks.registry.test_registry import register


@pytest.fixture
def workspace(trained_workspace: TrainedWorkspace, tmp_path: Path) -> Iterator[Workspace]:
    """Three versions of `tiny`, of which the last one, made from the backward run alone, is champion."""
    with own_workspace(trained_workspace, tmp_path / "copy") as workspace:
        register(workspace, "forward")
        register(workspace, "backward")
        mlflow_client().set_registered_model_alias("tiny", CHAMPION, "3")
        yield workspace


def found(workspace: Workspace) -> set[str]:
    """Every file of the workspace that pruning could take."""
    folders = (workspace.runs_dir, workspace.mlflow_artifacts_dir, workspace.corpus("tiny").encoded_root)
    return {str(path) for folder in folders for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_plan_changes_nothing_and_names_what_will_go(workspace: Workspace) -> None:
    before = found(workspace)
    plan = plan_pruning(workspace, "tiny", newest=0)
    assert found(workspace) == before
    (forward,) = workspace.runs_dir.glob("tiny-forward-*")
    (backward,) = workspace.runs_dir.glob("tiny-backward-*")
    assert [(removal.kind, removal.name) for removal in plan.removals] == [
        ("version", "models:/tiny/1"),
        ("version", "models:/tiny/2"),
        ("run", forward.name),
        ("checkpoint", f"{backward.name}/checkpoint.pt"),
    ]
    assert all(removal.size for removal in plan.removals)
    assert plan_pruning(workspace, "tiny", newest=1).removals[0].name == "models:/tiny/1"


def test_what_is_left_still_works(workspace: Workspace) -> None:
    plan = plan_pruning(workspace, None, newest=0)
    before = sum(Path(path).stat().st_size for path in found(workspace))
    for removal in plan.removals:
        remove(workspace, removal)
    assert sum(Path(path).stat().st_size for path in found(workspace)) == before - sum(
        removal.size or 0 for removal in plan.removals
    )
    with pytest.raises(RegistryError, match="tiny has no version 1; it has 3"):
        find_version("models:/tiny/1")
    assert open_model("models:/tiny@champion", workspace).models.keys() == {"backward"}
    assert plan_pruning(workspace, None, newest=0).removals == []


def test_a_stopped_run_keeps_what_it_needs(workspace: Workspace) -> None:
    (backward,) = workspace.runs_dir.glob("tiny-backward-*")
    manifest = read_json(backward / "run.json")
    old = workspace.corpus("tiny").encoded_root / "0123"
    other = old.with_name("4567")
    for folder in (old, other):
        shutil.copytree(next(workspace.corpus("tiny").encoded_root.iterdir()), folder)
    write_json(
        backward / "run.json",
        {**manifest, "state": "interrupted", "dictionary": {**manifest["dictionary"], "fingerprint": "0123"}},
    )
    names = {removal.name for removal in plan_pruning(workspace, "tiny", newest=5).removals}
    assert f"{backward.name}/checkpoint.pt" not in names
    assert "tiny/4567" in names
    assert "tiny/0123" not in names


def test_a_run_that_is_being_trained_is_left_and_named(workspace: Workspace) -> None:
    (forward,) = workspace.runs_dir.glob("tiny-forward-*")
    with exclusive_lock(forward / ".lock", busy="busy"):
        plan = plan_pruning(workspace, "tiny", newest=0)
    assert plan.in_use == [forward.name]
    assert forward.name not in {removal.name for removal in plan.removals}


def test_a_name_that_nothing_has_is_one_line(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="there is no registered model and no corpus 'nobody' in"):
        plan_pruning(workspace, "nobody", newest=0)


def test_the_command_shows_what_it_would_remove(workspace: Workspace) -> None:
    outcome = run_charlm("prune", "tiny", "--keep", 0, "--dry-run", "--workspace", workspace.root, "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json["dry_run"]
    assert [entry["name"] for entry in outcome.json["removed"]][:2] == ["models:/tiny/1", "models:/tiny/2"]
    assert outcome.json["bytes"] == sum(entry["bytes"] for entry in outcome.json["removed"])
    assert find_version("models:/tiny/1")
