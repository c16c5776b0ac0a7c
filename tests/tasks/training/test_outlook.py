"""What a training says about the text that it has read, and about more of it."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from charlm.artifacts import RunFiles
from tasks.training.outlook import outlook
from tests.conftest import TrainedWorkspace


def run_with(folder: Path, *, text: int, losses: Sequence[float], validations: Sequence[tuple[int, float]]) -> RunFiles:
    """A run that has read 1,000,000 characters in as many steps as there are losses."""
    each = 1_000_000 // len(losses)
    steps = [{"event": "train", "characters": each * (at + 1), "loss": loss} for at, loss in enumerate(losses)]
    scores = [{"event": "validation", "characters": at, "loss": loss} for at, loss in validations]
    events = [{"event": "start", "characters": 0, "train_characters": text}, *steps, *scores, {"event": "end"}]
    files = RunFiles(folder)
    files.journal.write_text("".join(json.dumps(event) + "\n" for event in events))
    return files


@pytest.mark.parametrize(
    ("text", "losses", "validations", "line"),
    [
        # The validation in the middle counts, and not the training, which knows some text by heart.
        (
            400_000,
            [3, 2, 1, 0.1],
            [(500_000, 2.0), (1_000_000, 1.99)],
            "read 2.5 × 0.4M characters; last half: loss -0.5%, little to gain",
        ),
        (
            8_000_000,
            [3, 2, 2, 1.8],
            [(450_000, 2.0), (1_000_000, 1.8)],
            "read 1.0M of 8.0M characters; last half: loss -10.0%, more helps",
        ),
        # A short run has no validation in the middle.
        (
            2_000_000_000,
            [4, 2, 2, 1.5],
            [(1_000_000, 1.8)],
            "read 1.0M of 2.0G characters; last half: loss -25.0%, more helps",
        ),
        (
            9_000,
            [2, 2.1],
            [(1_000_000, 2.2)],
            "read 111.1 × 9,000 characters; last half: loss -0.0%, ",
        ),
        (
            77_530,
            [2, 1.999],
            [(500_000, 2.0), (1_000_000, 1.999)],
            "read 12.9 × 78k characters; last half: loss -0.0%, little to gain",
        ),
        (2_000_000, [2.0], [(1_000_000, 1.8)], "read 1.0M of 2.0M characters"),
    ],
)
def test_it_compares_the_end_with_halfway(
    text: int, losses: list[float], validations: list[tuple[int, float]], line: str, tmp_path: Path
) -> None:
    files = run_with(tmp_path, text=text, losses=losses, validations=validations)
    assert outlook(files).startswith(line)
    assert len(f"  backward: {outlook(files)}") <= 80
    assert ("last half" in outlook(files)) == ("last half" in line)


def test_a_real_run_has_its_line(trained_workspace: TrainedWorkspace) -> None:
    line = outlook(RunFiles(Path(trained_workspace.trained["runs"]["forward"]["run_dir"])))
    assert "characters; last half: loss -" in line
