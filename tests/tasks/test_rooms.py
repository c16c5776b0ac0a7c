"""The rooms of tasks/ stand in an order: each imports from its own line and the lines above it."""

from tests.test_rules import ROOT, imports, module_name, modules

# The loose files `reporting` and `steps` come last: they publish and run what the rooms do.
ROOMS = (
    ("terminal",),
    ("services",),
    ("tracking",),
    ("runs",),
    ("registry",),
    ("corpus", "training", "inference"),
    ("promotion", "downstream"),
    ("retraining", "upkeep"),
    ("reporting",),
    ("steps",),
)
LOOSE_FILES = {"__init__.py", "reporting.py", "runs.py", "steps.py", "terminal.py"}


def line_of(module: str) -> int:
    room = module.split(".")[1]
    return next(number for number, rooms in enumerate(ROOMS) if room in rooms)


def test_every_room_of_tasks_imports_only_from_its_own_line_or_a_lower_one() -> None:
    for path in modules("tasks"):
        if path.parent == ROOT / "tasks" and path.name == "__init__.py":
            continue
        for name in imports(path, for_types=False):
            if name.startswith("tasks."):
                assert line_of(name) <= line_of(module_name(path)), f"{path} imports {name}"


def test_rooms_of_one_line_do_not_import_each_other() -> None:
    for path in modules("tasks"):
        own = module_name(path).split(".")
        for name in imports(path, for_types=False):
            if name.startswith("tasks.") and len(own) > 1 and name.split(".")[1] != own[1]:
                assert line_of(name) < line_of(module_name(path)), f"{path} imports {name}"


def test_tasks_has_four_loose_files() -> None:
    assert {path.name for path in (ROOT / "tasks").glob("*.py")} == LOOSE_FILES
