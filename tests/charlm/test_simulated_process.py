"""The tests of simulated GPUs, in one process of their own.

Autograd counts the devices at its first backward pass, and so never finds one that is simulated later.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, SIMULATED_CUDA, SIMULATED_FILES


@pytest.mark.service
@pytest.mark.timeout(1800)
def test_all_that_simulated_gpus_show(tmp_path: Path) -> None:
    files = [str(path) for name in SIMULATED_FILES for path in sorted((ROOT / "tests").rglob(f"{name}.py"))]
    assert len(files) > len(SIMULATED_FILES)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow", f"--basetemp={tmp_path / 'simulated'}", *files],
        cwd=ROOT,
        env=variables | {SIMULATED_CUDA: "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stdout[-6000:]
