"""A wheel of this checkout, and environments that it is installed into."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.conftest import ROOT
from tests.light_environment import light_environment

SOURCES = ("charlm", "charlm_pipeline", "tasks", "flows", "deployments")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")


def build_wheel(folder: Path) -> Path:
    """The wheel of a copy of the sources, so that no build folder is left in the checkout."""
    sources = folder / "sources"
    for name in SOURCES:
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, sources / name)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "dist", sources)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def requirements(*extras: str) -> list[str]:
    """What pyproject.toml requires, with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]


def install(wheel: Path, folder: Path, *extras: str) -> Path:
    """An environment with the wheel and what it requires, taken from here; the folder of its programs."""
    programs = light_environment(folder, requirements(*extras))
    pip("--python", programs / "python", "install", "--no-deps", "--no-index", wheel)
    return programs


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
