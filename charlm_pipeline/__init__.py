"""`charlm` as an installed program: where the floors above the library are, and how they are reached.

A checkout has `tasks`, `flows` and `deployments` at its top. An installation has them inside this package, where
nobody else's `tasks.py` can take their place and they take nobody's (docs/adr/0012-distribution.md): they are put on
the path of processes that are ours, such as the command line and its children, and of no others.
"""

import gc
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import charlm
from charlm import errors

FLOORS = ("tasks", "flows", "deployments")
_NEEDED = ("typer", "rich", "prefect", "mlflow")
_USER_MISTAKE = 2
_OBJECTS_BETWEEN_COLLECTIONS = 50_000  # loading packages makes many objects that stay: Python's 700 costs 5 to 10 %
_RESOLVE = "import charlm_pipeline; charlm_pipeline.answer()"


def floors_folder() -> Path:
    """The folder that holds `tasks`, `flows` and `deployments`: this package, or the top of the checkout."""
    here = Path(__file__).parent
    return here if (here / "flows").is_dir() else here.parent


def use_floors() -> None:
    """Make the floors importable in this process and its children, before anything else of their names.

    Raises ConfigError when a package is missing, or the process has imported another module of such a name.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        needed = ", ".join(missing)
        raise errors.ConfigError(
            f"the pipeline needs {needed}, not installed here; {errors.how_to_install('pipeline')}"
        )
    folder = str(floors_folder())
    for name in FLOORS:
        known = sys.modules.get(name)
        if known is not None and not _is_ours(name):
            raise errors.ConfigError(f"this process has imported another {name!r} ({known.__file__}); use its own one")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    inherited = os.environ.get("PYTHONPATH", "")
    if folder not in inherited.split(os.pathsep):
        os.environ["PYTHONPATH"] = folder + (os.pathsep + inherited if inherited else "")


def main() -> None:
    """The console command `charlm`; without the packages of the pipeline, one line and exit code 2."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        print(f"charlm {charlm.__version__}")
        return
    try:
        use_floors()
    except errors.CharLMError as error:
        if "--json" in arguments:
            print(json.dumps({"error": str(error)}))
        print(f"error: {error}", file=sys.stderr)
        sys.exit(_USER_MISTAKE)
    importlib.import_module("deployments.command_line").main(arguments)


def path_of_address(address: str) -> Path:
    """The bundle, or the file of the tagger or classifier, at `models:/NAME@alias`.

    charlm finds this function by the entry point `charlm.model_resolvers`. A process that is not ours, such as a
    user's program, may have a `tasks` of its own: there a child process looks.
    Raises ConfigError without the packages of the pipeline, and RegistryError when there is no such model.
    """
    if _is_ours("tasks"):
        return Path(importlib.import_module("tasks.downstream.addresses").path_of_address(address))
    asked = subprocess.run([sys.executable, "-c", _RESOLVE, address], stdout=subprocess.PIPE, text=True)
    lines = asked.stdout.splitlines()
    if not lines:
        raise errors.RegistryError(f"{address}: the process that looks it up ended with code {asked.returncode}")
    found = json.loads(lines[-1])
    if "path" in found:
        return Path(found["path"])
    raise getattr(errors, found["kind"])(found["error"])


def answer() -> None:
    """What the child process of `path_of_address` does: look the address in its arguments up, and print JSON."""
    try:
        use_floors()
        path = importlib.import_module("tasks.downstream.addresses").path_of_address(sys.argv[1])
    except errors.CharLMError as error:
        print(json.dumps({"kind": type(error).__name__, "error": str(error)}))
    else:
        print(json.dumps({"path": str(path)}))


def _is_ours(name: str) -> bool:
    module = sys.modules.get(name)
    return module is not None and str(floors_folder() / name) in getattr(module, "__path__", [])
