"""Command lines in processes of their own, without the wait for torch and MLflow, which is most of a short command.

One server per test process loads the libraries and forks for every command. What a command itself loads late, Prefect
above all, it loads as ever; tests of what is loaded when, and of signals, start an interpreter (`sys.executable`).
"""

import atexit
import gc
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

_PRELOADED = (
    "torch",
    "pyarrow.parquet",
    "mlflow.tracking",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "alembic.command",
    "charlm_pipeline",
    "deployments.command_line",
    "charlm.trainers.run",
    "charlm.models",
)


class CommandServer:
    """The side of the tests."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._address = Path(tempfile.mkdtemp(prefix="commands-")) / "socket"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self._address))
            listening.listen(64)
            program = f"from tests.command_server import serve; serve({listening.fileno()})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                cwd=folder,
                env=environment,
                pass_fds=[listening.fileno()],
            )
        atexit.register(self.stop)

    def run(self, arguments: list[str], environment: dict[str, str], folder: Path) -> tuple[int, str, str]:
        """Run `charlm ARGUMENTS` in `folder`, and return its exit code, stdout and stderr."""
        with tempfile.TemporaryDirectory(prefix="command-") as written, socket.socket(socket.AF_UNIX) as connection:
            outputs = [Path(written, "stdout"), Path(written, "stderr")]
            request = {
                "arguments": arguments,
                "environment": environment,
                "folder": str(folder),
                "outputs": [str(path) for path in outputs],
            }
            connection.connect(str(self._address))
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = connection.makefile().readline()
            stdout, stderr = (path.read_text(encoding="utf-8") for path in outputs)
        return int(answer), stdout, stderr

    def stop(self) -> None:
        """End the server; it ends by itself as well when this process is gone."""
        self._process.communicate()
        self._address.unlink()
        self._address.parent.rmdir()


# ---- the side of the server ----------------------------------------------------------------------------------------


def serve(listening: int) -> None:
    """Fork for every connection until stdin ends."""
    import importlib
    import select
    import signal

    from tasks.services.environment import keep_libraries_quiet

    keep_libraries_quiet()
    for name in _PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a child would copy the memory of all these libraries
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for here
    with socket.socket(fileno=listening) as accepting:
        while True:
            ready, _, _ = select.select([accepting, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            connection, _ = accepting.accept()
            if os.fork() == 0:
                accepting.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> None:
    """Fork once more for the command, and send its exit code."""
    request = json.loads(connection.makefile().readline())
    command = os.fork()
    if command == 0:
        connection.close()
        _become(request)
        from charlm_pipeline import main

        _end(_code_of(main))
    _, status = os.waitpid(command, 0)
    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _code_of(main: Callable[[], None]) -> int:
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """End as an interpreter does, which waits for threads and calls what was registered, but free no memory."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _become(request: dict[str, Any]) -> None:
    for descriptor, path in enumerate([os.devnull, *request["outputs"]]):
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["-c", *request["arguments"]]
