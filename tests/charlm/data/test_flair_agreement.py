"""The programs of tests/flair/sentences.py give here what they give in Flair 0.15.1."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.flair.sentences import PROGRAMS, observe

GOLDEN = Path(__file__).parents[2] / "golden" / "flair" / "sentences.json"


@pytest.fixture(scope="module")
def ours():
    return observe("charlm")


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_gives_what_flair_gives(program, ours):
    assert ours[program] == json.loads(GOLDEN.read_text(encoding="utf-8"))[program]


@pytest.mark.flair
def test_flair_still_gives_the_golden_values(tmp_path):
    python = Path(os.environ.get("CHARLM_FLAIR_PYTHON", ".venv-flair/bin/python"))
    if not python.exists():
        pytest.skip("Flair's environment is not installed: make test-flair")
    output = tmp_path / "sentences.json"
    subprocess.run([python, "tests/flair/sentences.py", output], check=True, timeout=300)
    assert json.loads(output.read_text(encoding="utf-8")) == json.loads(GOLDEN.read_text(encoding="utf-8"))
