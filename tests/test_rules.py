"""The rules of the house: who may import whom, and what stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ("charlm", "tasks", "flows")  # upwards
UPPER_FLOORS = {
    "charlm": {"tasks", "flows", "deployments"},
    "tasks": {"flows", "deployments"},
    "flows": {"deployments"},
}
FORBIDDEN = {
    "charlm": {"prefect", "mlflow"},
    "tasks": set[str](),
    "flows": {"torch", "mlflow"},
}
CHARLM_FOR_FLOWS = {"charlm.artifacts", "charlm.config", "charlm.errors", "charlm.recipes"}

# Each room may import from its own line and the lines above it in this list.
ROOMS = (
    ("errors", "artifacts", "malloc"),
    ("arrays", "storage"),
    ("config", "recipes"),
    ("units",),
    ("tokenization",),
    ("data",),
    ("splitter",),
    ("text",),
    ("nn",),
    ("serialization", "hub"),
    ("language_models",),
    ("evaluation",),
    ("embeddings",),
    ("models",),
    ("distributed",),
    ("trainers",),
    ("datasets", "training_utils", "visual"),
)
HEAVY = ("prefect", "mlflow", "datasets", "transformers", "matplotlib", "polars")


def modules(floor: str) -> list[Path]:
    return sorted((ROOT / floor).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, *, for_types: bool = True) -> Iterator[str]:
    """Every module that a file imports, wherever the import stands; names from a package count as its modules.

    `for_types` counts the imports under `if TYPE_CHECKING` too, which never happen at run time.
    """
    yield from _imports(ast.parse(path.read_text(encoding="utf-8")), path, for_types)


def _imports(tree: ast.AST, path: Path, for_types: bool) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not for_types:
            continue
        yield from _imports(node, path, for_types)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where something comes from"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("floor", FLOORS)
def test_no_floor_imports_an_upper_one_or_what_it_must_not_know(floor: str) -> None:
    for path in modules(floor):
        packages = {name.split(".")[0] for name in imports(path)}
        assert not packages & (UPPER_FLOORS[floor] | FORBIDDEN[floor]), path


def test_prefect_is_known_only_to_the_flows_and_the_task_wrappers() -> None:
    tasks = ROOT / "tasks"
    known = {
        path.relative_to(tasks).as_posix()
        for path in modules("tasks")
        if "prefect" in {name.split(".")[0] for name in imports(path)}
    }
    assert known == {
        "steps.py",
        "reporting.py",
        "services/prefect.py",
        "services/events.py",
        "promotion/events.py",
        "retraining/events.py",
    }


def test_flows_know_of_charlm_only_the_settings_the_errors_and_the_recipes() -> None:
    for path in modules("flows"):
        for name in imports(path):
            if name.split(".")[0] == "charlm":
                assert any(name == allowed or name.startswith(f"{allowed}.") for allowed in CHARLM_FOR_FLOWS), (
                    path,
                    name,
                )


def line_of(module: str) -> int | None:
    """Number of the line of ROOMS that a module belongs to; none for packages that only re-export."""
    inner = module.removeprefix("charlm.")
    for number, rooms in enumerate(ROOMS):
        if any(inner == room or inner.startswith(f"{room}.") for room in rooms):
            return number
    return None


def test_every_room_of_charlm_imports_only_from_its_own_line_or_a_lower_one() -> None:
    for path in modules("charlm"):
        own = line_of(module_name(path))
        if own is None:
            assert path.name == "__init__.py", f"{path} stands in no room"
            continue
        if path.name == "__init__.py":  # a package shows what its modules make
            continue
        for name in imports(path, for_types=False):
            line = line_of(name) if name.startswith("charlm.") else None
            assert line is None or line <= own, f"{path} imports {name}"


def loaded_by(statement: str) -> set[str]:
    """The packages in sys.modules after `statement` ran in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.split(".")[0] for name in result.stdout.split()}


@pytest.mark.parametrize(
    "module",
    ["charlm", "charlm.data", "charlm.text.corpus.splitting", "charlm.evaluation.drift", "charlm.trainers.lm.manifest"],
)
def test_light_modules_load_no_heavy_library(module: str) -> None:
    assert not loaded_by(f"import {module}") & {*HEAVY, "torch"}


def test_everything_in_charlm_loads_without_schedulers_trackers_and_optional_libraries() -> None:
    names = [module_name(path) for path in modules("charlm")]
    assert not loaded_by("\n".join(f"import {name}" for name in names)) & set(HEAVY)


def test_the_command_line_starts_without_anything_heavy() -> None:
    assert not loaded_by("import flows.cli.app, tasks.corpus.prepare") & {*HEAVY, "torch"}
