"""Programs in processes of their own, without the wait for torch, MLflow and Prefect, which is most of a short one.

One server per test process loads the libraries and forks for every program; the trainings that a program starts are
forked from it in turn. Tests of what is loaded when start an interpreter (`sys.executable`).
"""

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

COMMAND_LINE = "from charlm_pipeline import main; main()"
TRAINER = "import sys; from charlm.trainers.run import main; sys.exit(main())"
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
    "flows.retrain",
    "flows.pipeline",
)


class ForkedProgram:
    """A program that the server runs, with what `subprocess.Popen` has of it."""

    def __init__(self, address: Path, request: dict[str, Any]) -> None:
        self._written = tempfile.TemporaryDirectory(prefix="command-")
        self._outputs = [Path(self._written.name, name) for name in ("stdout", "stderr")]
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(address))
        request = request | {"outputs": [str(path) for path in self._outputs]}
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        self._answers = self._connection.makefile()
        self.pid = int(self._answers.readline())
        self.returncode: int | None = None

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative after a signal; raises TimeoutError where it takes longer."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._connection.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has written to stdout and stderr until its end."""
        self.wait(timeout)
        stdout, stderr = (path.read_text(encoding="utf-8") for path in self._outputs)
        return stdout, stderr


class CommandServer:
    """The side of the tests."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="commands-"))
        self._address = self._folder / "socket"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self._address))
            listening.listen(64)
            program = f"from tests.command_server import serve; serve({listening.fileno()})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                cwd=folder,
                env=environment | {"PREFECT_HOME": str(self._folder)},  # until a command has its own
                pass_fds=[listening.fileno()],
            )
        atexit.register(self.stop)

    def start(self, program: str, arguments: list[str], environment: dict[str, str], folder: Path) -> ForkedProgram:
        """Start what `python -c PROGRAM ARGUMENTS` would run in `folder`."""
        request = {"program": program, "arguments": arguments, "environment": environment, "folder": str(folder)}
        return ForkedProgram(self._address, request)

    def stop(self) -> None:
        """End the server; it ends by itself as well when this process is gone."""
        self._process.communicate()
        self._address.unlink()


# ---- the side of the server ----------------------------------------------------------------------------------------


def serve(listening: int) -> None:
    """Fork for every connection until stdin ends."""
    import importlib
    import select

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
    """Fork once more for the program, and send its process id, then its exit code."""
    request = json.loads(connection.makefile().readline())
    program = os.fork()
    if program == 0:
        connection.close()
        _become(request)
        _run(request["program"])
    connection.sendall(b"%d\n" % program)
    _, status = os.waitpid(program, 0)
    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(request: dict[str, Any]) -> None:
    for descriptor, path in enumerate([os.devnull, *request["outputs"]]):
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["-c", *request["arguments"]]
    subprocess.Popen._execute_child = _execute_child  # type: ignore[attr-defined]
    if any(name.startswith("PREFECT_") for name in os.environ):
        from tasks.services.environment import keep_libraries_quiet
        from tasks.services.prefect_compat import reload_settings

        keep_libraries_quiet()
        reload_settings()


def _run(program: str) -> NoReturn:
    """Run a program and end as an interpreter does, which waits for threads and exit functions, but free no memory."""
    code = _code_of(program)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    _end(code)


def _code_of(program: str) -> int:
    try:
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> NoReturn:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


_TRAINING = "charlm.trainers.run"
_execute = subprocess.Popen._execute_child  # type: ignore[attr-defined]


def _execute_child(process: Any, command: Any, *others: Any) -> None:
    """What `subprocess.Popen` starts: trainings are forked from this process, all else is started as ever."""
    if isinstance(command, str | bytes) or _TRAINING not in command:
        _execute(process, command, *others)
        return
    # As in Python 3.11: executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
    # both ends of stdin, stdout and stderr, restore_signals, gid, gids, uid, umask, start_new_session, process_group.
    variables, pipes, start_new_session = others[5], others[9:15], others[-2]
    process.pid = os.fork()
    if process.pid == 0:
        if start_new_session:
            os.setsid()
        for descriptor, given in enumerate((pipes[0], pipes[3], pipes[5])):
            if given != -1:
                os.dup2(given, descriptor)
        arguments = list(command)[list(command).index(_TRAINING) + 1 :]
        _train(arguments, dict(os.environ if variables is None else variables))
    process._child_created = True
    process._close_pipe_fds(*pipes)


def _train(arguments: list[str], environment: dict[str, str]) -> NoReturn:
    """Be the process that trains: without the files, threads and exit functions of the one that it was forked from."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()  # what it has of the other process is never freed, as its files are closed
    atexit._clear()
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    _end(_code_of(TRAINER))
