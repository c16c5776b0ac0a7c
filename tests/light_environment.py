"""A real environment that has exactly the packages that some requirements name, with all that these require.

The packages are those of the environment that runs the tests, so nothing is downloaded or built: each file of the new
environment's site-packages is a link. An environment that pip makes from the same requirements has the same modules.
"""

import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement

INTERPRETER = {"python", "pip"}


def required_distributions(requirements: Iterable[str]) -> dict[str, Distribution]:
    """The distributions that `requirements` name, and what these require; AssertionError where a version differs."""
    found: dict[str, Distribution] = {}
    waiting = [(Requirement(line), {""}) for line in requirements]
    known: set[tuple[str, str]] = set()
    while waiting:
        requirement, extras = waiting.pop()
        if requirement.marker and not any(
            requirement.marker.evaluate({**default_environment(), "extra": extra}) for extra in extras
        ):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        one = distribution(name)
        assert requirement.specifier.contains(one.version.partition("+")[0], prereleases=True), (
            requirement,
            one.version,
        )
        found[name] = one
        for extra in {"", *requirement.extras}:
            if (name, extra) not in known:
                known.add((name, extra))
                waiting += [(Requirement(line), {"", *requirement.extras}) for line in one.requires or ()]
    return found


def light_environment(folder: Path, requirements: Iterable[str]) -> Path:
    """Make an environment in `folder`; the folder of its programs, `python` among them."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    programs = folder / "bin"
    for one in required_distributions(requirements).values():
        for source in _top_level(one):
            target = site / source.name
            if not target.exists():
                target.symlink_to(source)
        for script in one.entry_points.select(group="console_scripts"):
            program = programs / script.name
            start = f"import sys\nfrom {script.module} import {script.attr}\nsys.exit({script.attr}())\n"
            program.write_text(f"#!{programs}/python\n{start}")
            program.chmod(0o755)
    return programs


def _top_level(one: Distribution) -> Iterator[Path]:
    """The files and folders of a distribution that stand in site-packages."""
    names = {file.parts[0] for file in one.files or () if file.parts[0] not in ("..", "__pycache__")}
    for name in sorted(names):
        yield Path(str(one.locate_file(name)))
