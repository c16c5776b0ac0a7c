"""Real English text that every machine has: the documentation that ships with the Python interpreter.

Reads  the sources of the standard library (parsed, never imported) and the help topics of `pydoc`
Writes python-docs.jsonl    one record a docstring or topic; equal bytes for equal interpreters
"""

import ast
import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from charlm.storage.atomic import write_text

_SKIPPED_FOLDERS = {"site-packages", "dist-packages", "test", "tests", "__pycache__"}


def gather_documentation(path: Path) -> int:
    """Write the interpreter's documentation to `path` as JSONL; the number of documents."""
    library = Path(sysconfig.get_path("stdlib"))
    documents = dict.fromkeys([*_topics(library), *_docstrings(library)])  # each text once
    write_text(path, "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in documents))
    return len(documents)


def _topics(library: Path) -> Iterator[str]:
    """The texts of `help("topic")`: string literals in one generated module."""
    module = ast.parse((library / "pydoc_data" / "topics.py").read_text(encoding="utf-8"))
    for node in ast.walk(module):
        if isinstance(node, ast.Dict):
            for value in node.values:
                text = ast.literal_eval(value)
                if isinstance(text, str):
                    yield _as_document(text)


def _docstrings(library: Path) -> Iterator[str]:
    """The docstrings of all modules, classes and functions, in the order of files and lines."""
    for path in sorted(library.rglob("*.py")):
        if _SKIPPED_FOLDERS.isdisjoint(path.relative_to(library).parts):
            try:
                module = ast.parse(path.read_text(encoding="utf-8"))
            except (SyntaxError, UnicodeDecodeError):  # templates and deliberately broken examples
                continue
            for node in ast.walk(module):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    text = ast.get_docstring(node)
                    if text and text.strip():
                        yield _as_document(text)


def _as_document(text: str) -> str:
    """`text` between no blank lines at the start and one newline at the end, so that documents do not run together."""
    return text.strip("\n") + "\n"
