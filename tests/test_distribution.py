"""What an installation is called, says and holds."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import charlm
from tests.conftest import COMMAND, ROOT
from tests.test_rules import module_name, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# A requirement of `charlm` in a command, or an extra of it: the package of that name is somebody else's.
STRANGER = re.compile(r"(?:install |[\"' ])charlm(?:\[|==|>=)|pip install '?charlm(?!-pipeline)")


def test_nothing_asks_for_the_package_of_another_program() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    texts = [
        ROOT / name
        for name in listed.stdout.split("\n")
        if Path(name).suffix in (".py", ".md", ".toml", ".yaml", ".txt", "")
    ]
    here = Path(__file__)
    found = [
        f"{path}: {line.strip()}"
        for path in texts
        if path.is_file() and path != here
        for line in path.read_text(encoding="utf-8").splitlines()
        if STRANGER.search(line)
    ]
    assert not found


def test_the_version_stands_in_one_place() -> None:
    assert "version" in PROJECT["dynamic"]
    shown = subprocess.run([*COMMAND, "--version"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown == f"charlm {charlm.__version__}\n"
    assert f"\nversion: {charlm.__version__}\n" in (ROOT / "CITATION.cff").read_text()  # GitHub reads no Python


def test_only_the_python_that_runs_the_tests_is_declared() -> None:
    declared = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)}
    assert declared == {"3.11"}
    assert PROJECT["requires-python"] == ">=3.11"


MISSING_ELSEWHERE = ("fcntl", "resource", "pwd", "grp", "termios")


@pytest.mark.parametrize("missing", [MISSING_ELSEWHERE])
def test_the_library_imports_without_what_windows_lacks(missing: tuple[str, ...]) -> None:
    hidden = "\n".join(f"sys.modules[{name!r}] = None" for name in missing)
    everything = "\n".join(f"import {module_name(path)}" for path in modules("charlm"))
    # What torch itself needs of Linux comes first: on Windows it is another build.
    code = f"import sys, torch, filelock, pyarrow\n{hidden}\n{everything}"
    outcome = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
