"""`make install` shows how far pip is, and keeps what pip says of errors."""

import importlib.util
import io
import subprocess
import sys

import pytest

from deployments.pip_progress import Progress
from tests.conftest import ROOT, environment

PROGRAM = ROOT / "deployments" / "pip_progress.py"
OUTPUT = """\
Obtaining file:///here
Collecting torch==2.13.0 (from -c constraints.txt (line 3))
  Using cached torch-2.13.0-cp311-cp311-linux_x86_64.whl (200.1 MB)
Requirement already satisfied: pip in ./lib
  Collecting setuptools>=40.8.0
Installing collected packages: mpmath, sympy, torch
Successfully installed mpmath-1.3.0 sympy-1.14.0 torch-2.13.0
"""


needs_pip = pytest.mark.skipif(
    importlib.util.find_spec("pip") is None, reason="this environment was made by the pip of another one"
)


def pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(PROGRAM), *arguments], capture_output=True, text=True, env=environment())


def test_it_counts_what_pip_has_done() -> None:
    progress = Progress()
    collecting, _, rest = OUTPUT.partition("Installing")
    progress.read(io.StringIO(collecting))
    assert str(progress) == "2 packages collected"
    progress.read(io.StringIO("Installing" + rest))
    assert str(progress) == "installing 3 packages"


@needs_pip
def test_a_failure_of_pip_is_one_of_the_program() -> None:
    outcome = pip("install", "--no-index", "no-such-package-anywhere")
    assert outcome.returncode == 1
    assert "No matching distribution found for no-such-package-anywhere" in outcome.stderr


@needs_pip
def test_success_is_quiet_where_there_is_no_terminal() -> None:
    outcome = pip("install", "--no-index", "--no-deps", "pytest")
    assert (outcome.returncode, outcome.stdout) == (0, "")
