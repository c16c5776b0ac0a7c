"""A command and the flow of the same work come to the same results: they run the same steps in the same order."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from charlm.artifacts import RunFiles
from charlm.serialization.flair_file import read_flair_file
from tasks.registry.versions import all_versions
from tasks.services.session import use_workspace
from tests.conftest import QUICK, TrainedWorkspace, copy_prefect_home, run_charlm, run_program

pytestmark = pytest.mark.service
FINETUNING = ["max_characters=20000", "sequence_length=50"]
# The flows as a user's program calls them, one after the other.
PROGRAM = """
import json, sys
from pathlib import Path
from flows.finetune import finetune_language_model
from flows.prepare import prepare_corpus
from flows.train import train_language_model
text, workspace, training, finetuning = sys.argv[1:]
results = {
    "prepare": prepare_corpus([text], "tiny", Path(workspace)),
    "train": train_language_model("tiny", Path(workspace), settings=json.loads(training)),
    "finetune": finetune_language_model(
        "tiny", "models:/tiny@challenger", Path(workspace), settings=json.loads(finetuning)
    ),
}
print(json.dumps({step: result.to_json() for step, result in results.items()}))
"""


def without_places_and_speed(result: Any) -> Any:
    """A result of `--json` as it would be in any workspace and on any machine."""
    if not isinstance(result, dict):
        return result
    own = ("corpus", "run_dir", "best_lm", "characters_per_second")
    return {name: without_places_and_speed(value) for name, value in result.items() if name not in own}


def test_commands_and_flows_end_in_equal_results(
    trained_workspace: TrainedWorkspace, new_prefect_home: Path, tmp_path: Path
) -> None:
    commanded = Path(shutil.copytree(trained_workspace.root, tmp_path / "commanded"))
    settings = [argument for setting in FINETUNING for argument in ("--set", setting)]
    tuned = run_charlm(
        "finetune", "tiny", "--from", "models:/tiny@challenger", *settings, "--workspace", commanded, "--json"
    )
    assert tuned.code == 0, tuned.stderr
    by_command = {
        "prepare": trained_workspace.prepared,
        "train": trained_workspace.trained,
        "finetune": tuned.json,
    }

    flowing = tmp_path / "flowing"
    copy_prefect_home(new_prefect_home, flowing)
    arguments = [str(trained_workspace.text), str(flowing), json.dumps(QUICK[1::2]), json.dumps(FINETUNING)]
    done = run_program(PROGRAM, *arguments)
    assert done.code == 0, done.stderr
    by_flow = json.loads(done.stdout.splitlines()[-1])

    assert without_places_and_speed(by_flow) == without_places_and_speed(by_command)
    for step in ("train", "finetune"):
        for direction, run in by_flow[step]["runs"].items():
            weights = read_flair_file(RunFiles(Path(run["run_dir"])).best_lm).tensors
            others = read_flair_file(RunFiles(Path(by_command[step]["runs"][direction]["run_dir"])).best_lm).tensors
            assert all(weights[name].equal(tensor) for name, tensor in others.items())
    assert tags_of(flowing) == tags_of(commanded)


def tags_of(root: Path) -> list[dict[str, str]]:
    """The tags of every version of `tiny` in the workspace `root`, but for the ids of its runs."""
    use_workspace(root)
    return [
        {name: value for name, value in tags.items() if not name.endswith(".run_id")}
        for _, tags in all_versions("tiny")
    ]
