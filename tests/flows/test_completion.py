"""The tab key completes commands, options, corpora and recipes, in a real shell."""

import subprocess
import sys
from pathlib import Path

import pytest

from charlm.artifacts import Workspace
from tests.conftest import Charlm, environment

_PROGRAMS = Path(sys.executable).parent
# What bash does at the tab key, after the words of its arguments.
_TAB = """
source <(charlm completion bash)
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_charlm_completion charlm
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(*words: str, workspace: Path) -> list[str]:
    variables = environment() | {"CHARLM_WORKSPACE": str(workspace)}
    variables["PATH"] = f"{_PROGRAMS}:{variables['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", _TAB, "bash", "charlm", *words], capture_output=True, text=True, env=variables
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """With two corpora, and a third one whose preparation was stopped."""
    workspace = Workspace(tmp_path / "workspace")
    for name in ("books", "laws", "broken"):
        workspace.corpus(name).root.mkdir(parents=True)
        if name != "broken":
            workspace.corpus(name).manifest.write_text("{}")
    return workspace.root


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fine"], ["finetune"]),
        (["back"], ["backup"]),
        (["train", "b"], ["books"]),
        (["train", "books", "--rec"], ["--recipe"]),
        (["train", "books", "--recipe", "gpu"], ["gpu_base", "gpu_large"]),
        (["prepare", "new.txt", "--name", "l"], ["laws"]),
    ],
)
def test_what_begins_so_is_offered(words: list[str], expected: list[str], workspace: Path) -> None:
    assert completed(*words, workspace=workspace) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_its_script(shell: str, charlm: Charlm) -> None:
    outcome = charlm("completion", shell)
    assert outcome.code == 0
    assert f"complete_{shell}" in outcome.stdout


def test_another_shell_is_one_line(charlm: Charlm) -> None:
    outcome = charlm("completion", "tcsh")
    assert outcome.code == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in outcome.stderr
