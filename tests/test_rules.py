"""The rules of the house: who may import whom, and what stays light."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
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
    ("errors", "artifacts", "malloc", "runtime"),
    ("arrays", "storage"),
    ("config", "recipes"),
    ("units",),
    ("tokenization",),
    ("data",),
    ("remote",),
    ("splitter",),
    ("datasets",),
    ("text",),
    ("native",),
    ("nn",),
    ("serialization", "hub"),
    ("language_models",),
    ("evaluation",),
    ("embeddings",),
    ("models",),
    ("distributed",),
    ("trainers",),
    ("training_utils", "samplers", "visual"),
    ("word",),
)
HEAVY = ("prefect", "mlflow", "datasets", "transformers", "matplotlib", "polars", "onnx", "onnxruntime")


def modules(floor: str) -> list[Path]:
    return sorted((ROOT / floor).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path, *, for_types: bool = True) -> list[str]:
    """Every module that a file imports, wherever the import stands; names from a package count as its modules.

    `for_types` counts the imports under `if TYPE_CHECKING` too, which never happen at run time.
    """
    return list(_imports(tree_of(path), path, for_types))


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
        "services/prefect_compat.py",
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


LOOSE = {
    "charlm": {"errors", "artifacts", "recipes", "malloc", "hub", "training_utils"},
    "tasks": {"steps", "reporting", "terminal", "runs"},
}
LONGEST_FILE, LONGEST_CLASS = 400, 250  # lines
MOST_ANY = 110  # lines with `Any` in charlm and tasks: what foreign libraries force


@pytest.mark.parametrize("floor", LOOSE)
def test_few_files_stand_outside_a_room(floor: str) -> None:
    assert {path.stem for path in (ROOT / floor).glob("*.py")} == LOOSE[floor] | {"__init__"}


@pytest.mark.parametrize("floor", [*FLOORS, "deployments", "benchmarks", "tests"])
def test_no_file_and_no_class_is_too_long_to_read_at_once(floor: str) -> None:
    too_long = []
    for path in modules(floor):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > LONGEST_FILE:
            too_long.append(f"{path}: {text.count(chr(10))} lines")
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and (lines := node.end_lineno - node.lineno + 1) > LONGEST_CLASS:
                too_long.append(f"{path}: class {node.name} has {lines} lines")
    assert not too_long


def test_files_import_each_other_in_no_circle() -> None:
    """Imports inside functions count too; those for types alone never happen."""
    known = {module_name(path): path for floor in FLOORS for path in modules(floor)}
    graph = {}
    for name, path in known.items():
        others = {other for other in imports(path, for_types=False) if other in known} - {name}
        # `from flows.cli import options` takes a file from a room, not what the room shows.
        graph[name] = others - {
            other.rpartition(".")[0] for other in others if name.startswith(other.rpartition(".")[0])
        }
    TopologicalSorter(graph).prepare()  # raises CycleError with the circle


def test_any_stands_where_a_foreign_library_forces_it() -> None:
    lines = [
        f"{path}: {line}"
        for floor in ("charlm", "tasks")
        for path in modules(floor)
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"\bAny\b", line)
    ]
    assert len(lines) < MOST_ANY, len(lines)


def test_units_are_told_apart_in_their_own_room() -> None:
    pattern = re.compile(r"""\bunit\b["\])]* *(==|!=|(not )?in \()|(==|!=) *["'](char|byte|word)["']""")
    found = [
        f"{path}:{number}"
        for floor in FLOORS
        for path in modules(floor)
        if path.parent != ROOT / "charlm" / "units"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not found


def test_contributing_shows_the_rooms_as_they_are_and_what_it_points_to_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("| rooms |")[2].partition("\n\n")[0].splitlines()[2:]
    assert [tuple(re.findall(r"`(\w+)`", row.split("|")[1])) for row in table] == list(ROOMS)
    answers = text.partition("### Where would I look?")[2].partition("\n## ")[0]
    assert all((ROOT / path).exists() for path in re.findall(r"`([\w/]+(?:\.py|/))`", answers))


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
