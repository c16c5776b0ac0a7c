"""The text of the demo: what every machine with Python has."""

import json
import sys
from pathlib import Path

from tasks.demo_text import gather_documentation


def test_the_interpreters_documentation_is_two_megabytes_of_distinct_documents(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    modules = set(sys.modules)
    num_documents = gather_documentation(path)
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(texts) == num_documents == len(set(texts)) > 5_000
    assert sum(map(len, texts)) > 1_500_000
    assert all(text.endswith("\n") and text.strip() for text in texts)
    assert any(text.startswith('The "assert" statement\n') for text in texts)  # a topic of pydoc
    assert any(text.startswith("JSON (JavaScript Object Notation)") for text in texts)  # a docstring
    assert {"antigravity", "this"}.isdisjoint(set(sys.modules) - modules)  # parsed, not imported


def test_gathering_again_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        gather_documentation(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
