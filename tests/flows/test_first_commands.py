"""Commands that start together in a new workspace all succeed: one makes what is missing, the others wait."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import QUICK, ROOT, environment

_TEXTS = 3


def _start_together(folder: Path, commands: list[list[str]]) -> None:
    """Run all `commands` in a new workspace; fails with the output of those that did not succeed."""
    workspace = folder / "workspace"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", "from flows.cli.app import main; main()", *command, "--workspace", str(workspace)],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in commands
    ]
    outputs = [process.communicate()[0] for process in processes]
    failed = [
        f"{command}: {output}"
        for command, process, output in zip(commands, processes, outputs, strict=True)
        if process.returncode != 0
    ]
    assert not failed, "\n".join(failed)


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
    from charlm.artifacts import Workspace
    from charlm.text.corpus.manifest import load_manifest

    _start_together(tmp_path, _preparations(_texts(tmp_path)))
    manifest = load_manifest(Workspace(tmp_path / "workspace").corpus("one"))
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
        ["prepare", texts[1], "--name", "four", "--task-runner", "threads"],
        ["run", texts[0], "--name", "five", *QUICK],
        ["run", texts[0], "--name", "five", *QUICK],
        ["run", texts[2], "--name", "six", *QUICK],
    ]
    _start_together(tmp_path, [*_preparations(texts), *more])
