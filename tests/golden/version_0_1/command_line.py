"""The command line of any checkout, in one process that takes one command after the other."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# Answers go where standard output was; nothing that a library prints can mix with them.
_PROGRAM = """
import contextlib, io, json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from flows.cli import main
for line in sys.stdin:
    stdout, stderr, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            main(json.loads(line))
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, stdout.getvalue(), stderr.getvalue()]), file=answers, flush=True)
"""


class CommandLine:
    """`charlm` of the code in `checkout`, on `workspace`; commands run in the folder above the workspace."""

    def __init__(self, checkout: Path, workspace: Path) -> None:
        self._workspace = workspace
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=workspace.parent,
            env=clean_environment(checkout),
            text=True,
        )

    def __call__(self, *arguments: object) -> Any:
        """The one object on standard output; raises AssertionError with what the command said when it fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = [*map(str, arguments), "--workspace", str(self._workspace), "--json"]
        print(json.dumps(line), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"the process ended in: {' '.join(line)}"
        code, stdout, stderr = json.loads(answer)
        assert code == 0, stdout + stderr
        return json.loads(stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate()
        assert self._process.returncode == 0 or kind is not None


def clean_environment(checkout: Path) -> dict[str, str]:
    """The environment without a workspace, a server or a GPU, with one thread, and with the code of `checkout`.

    Torch computes, as it did in version 0.1: kernels of our own round elsewhere.
    """
    mine = ("CHARLM_", "MLFLOW_", "PREFECT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    return kept | {
        "PYTHONPATH": str(checkout),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "CHARLM_NATIVE": "off",
    }


def run_python(checkout: Path, program: str, *arguments: object, **variables: str) -> Any:
    """What `program` prints as JSON, with the code of `checkout`."""
    result = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=clean_environment(checkout) | variables,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    return json.loads(result.stdout.splitlines()[-1])


def settings(**values: object) -> Sequence[str]:
    """`hidden_size=8` -> `--set hidden_size=8`."""
    return [part for name, value in values.items() for part in ("--set", f"{name}={value}")]


def as_lines(found: dict[str, Any]) -> str:
    """A dict of dicts or lists as JSON, a value of those a line."""
    parts = []
    for part, values in found.items():
        is_dict = isinstance(values, dict)
        lines = [
            (f"{json.dumps(one)}: " if is_dict else "")
            + json.dumps(values[one] if is_dict else one, ensure_ascii=False)
            for one in values
        ]
        opening, closing = "{}" if is_dict else "[]"
        parts.append(json.dumps(part) + f": {opening}\n" + ",\n".join(lines) + f"\n{closing}")
    return "{\n" + ",\n".join(parts) + "\n}"
