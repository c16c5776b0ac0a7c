"""The paths, modules and pages that README and docs name exist."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FLOORS = "charlm|tasks|flows|deployments"
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PATH = re.compile(rf"(?:{FLOORS}|tests|docs|benchmarks)/[\w./-]*|[\w/-]+\.py")
MODULE = re.compile(rf"(?:{FLOORS})(?:\.\w+)+")


def code_spans(page: Path) -> list[str]:
    """What stands in backticks, outside of fenced blocks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_repository_path_that_a_page_names_exists(page: Path) -> None:
    paths = [span for span in code_spans(page) if PATH.fullmatch(span)]
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_module_and_function_that_a_page_names_exists(page: Path) -> None:
    names = [span for span in code_spans(page) if MODULE.fullmatch(span)]
    assert [name for name in names if not (is_in_code(name) or is_event(name))] == []


def is_in_code(name: str) -> bool:
    """True for a module, and for a name that stands in the module before its last dot."""
    return is_module(name) or any(
        re.search(rf"\b{name.rpartition('.')[2]}\b", file.read_text(encoding="utf-8"))
        for file in module_files(name.rpartition(".")[0])
    )


def is_module(name: str) -> bool:
    return any(module_files(name))


def module_files(name: str) -> list[Path]:
    path = ROOT / name.replace(".", "/")
    return [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]


def is_event(name: str) -> bool:
    """True for the name of an event, such as `charlm.corpus.arrived`, and for that of the resource it is about."""
    return any(name.removesuffix("NAME") in file.read_text(encoding="utf-8") for file in (ROOT / "tasks").rglob("*.py"))


def test_every_page_that_is_linked_exists() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_decisions_are_numbered_one_after_the_other_and_have_one_form() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        text = record.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(record.name[:4])}. "), record.name
        assert text.partition("\n\n")[2].startswith("**Decision.**"), record.name
        assert "\n\n**Why.**" in text, record.name
