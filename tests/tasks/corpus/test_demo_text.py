"""The text of the demo: what every machine with Python has."""

import json
import sys
from pathlib import Path

import pytest

from tasks.corpus.demo_text import gather_documentation


@pytest.fixture(scope="module")
def documentation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("docs") / "docs.jsonl"
    gather_documentation(path)
    return path


def test_the_interpreters_documentation_is_two_megabytes_of_distinct_documents(documentation: Path) -> None:
    texts = [json.loads(line)["text"] for line in documentation.read_text(encoding="utf-8").splitlines()]
    assert len(texts) == len(set(texts)) > 5_000
    assert sum(map(len, texts)) > 1_500_000
    assert all(text.endswith("\n") and text.strip() for text in texts)
    assert any(text.startswith('The "assert" statement\n') for text in texts)  # a topic of pydoc
    assert any(text.startswith("JSON (JavaScript Object Notation)") for text in texts)  # a docstring


def test_gathering_again_gives_the_same_bytes_and_imports_nothing(documentation: Path, tmp_path: Path) -> None:
    modules = set(sys.modules)
    gather_documentation(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == documentation.read_bytes()
    assert {"antigravity", "this", "turtle"}.isdisjoint(set(sys.modules) - modules)
