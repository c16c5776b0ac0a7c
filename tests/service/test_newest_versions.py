"""The newest versions that pyproject.toml allows work too, and not only those of constraints.txt."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment
from tests.installation import build_wheel, pip

EXTRAS = re.search(r"^EXTRAS := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
FAST = "not slow and not flair and not service"


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_fast_tests_pass_with_the_newest_versions(tmp_path: Path) -> None:
    assert EXTRAS is not None
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "environment"], check=True)
    python = tmp_path / "environment" / "bin" / "python"
    tools = f"{ROOT / 'pyproject.toml'}:dev"
    pip("--python", python, "install", f"{build_wheel(tmp_path)}[{EXTRAS[1]}]", "--group", tools)
    tests = [python, "-m", "pytest", "-m", FAST, "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"]
    outcome = subprocess.run(
        [*tests, f"--basetemp={tmp_path / 'tests'}"], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert outcome.returncode == 0, outcome.stdout[-5_000:]
