"""Start, find and stop the programs of the service: each in a session of its own, with a log and a process file.

Writes service/NAME.log            what the program prints
       service/NAME.process.json   its process id, and a fingerprint of how it was started
"""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from charlm.artifacts import ServiceFiles
from charlm.errors import ConfigError
from charlm.storage.atomic import read_json, write_json
from charlm.storage.fingerprints import fingerprint
from deployments.settings import HOST, ROOT
from tasks.services.own_service import running

_START_SECONDS = 300.0  # the first start of a server builds its database, and the machine may be busy
_STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that runs until it is stopped."""

    name: str
    command: tuple[str, ...]
    variables: Mapping[str, str] = field(repr=False)  # the password is one of them
    port: int | None = None
    """Where it listens, if it does."""

    @property
    def fingerprint(self) -> str:
        return fingerprint([self.command, dict(self.variables)])


def start(program: Program, files: ServiceFiles) -> bool:
    """Start `program`; False when it is running already.

    Raises ConfigError when it runs with other settings, or its port is taken.
    """
    if running(program.name, files):
        if read_json(files.note(program.name))["fingerprint"] != program.fingerprint:
            raise ConfigError(f"{program.name} runs with other settings; `charlm down` stops it")
        return False
    if program.port is not None and _is_taken(program.port):
        raise ConfigError(
            f"port {program.port} is taken by another program; stop that, or give {program.name} another port with"
            f" CHARLM_{program.name.upper()}_PORT"
        )
    files.root.mkdir(parents=True, exist_ok=True)
    with files.log(program.name).open("ab") as log:
        process = subprocess.Popen(
            program.command,
            cwd=ROOT,
            env={**os.environ, **program.variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal does not reach it
        )
    started = psutil.Process(process.pid).create_time()
    write_json(files.note(program.name), {"pid": process.pid, "started": started, "fingerprint": program.fingerprint})
    return True


def stop(name: str, files: ServiceFiles) -> bool:
    """End the program and all its child processes; False when it is not running."""
    process = running(name, files)
    if process is not None:
        processes = [process, *process.children(recursive=True)]
        process.terminate()
        _, remaining = psutil.wait_procs(processes, timeout=_STOP_SECONDS)
        for survivor in remaining:
            survivor.kill()
        psutil.wait_procs(remaining, timeout=_STOP_SECONDS)
    files.note(name).unlink(missing_ok=True)
    return process is not None


def wait_until(is_so: Callable[[], bool], name: str, files: ServiceFiles) -> None:
    """Wait until `is_so` of the program `name`; raises ConfigError when it ends instead or takes too long."""
    deadline = time.monotonic() + _START_SECONDS
    while not is_so():
        if running(name, files) is None:
            raise ConfigError(f"{name} has ended: {_last_line(files.log(name))}; its output is in {files.log(name)}")
        if time.monotonic() > deadline:
            raise ConfigError(f"{name} is not ready after {_START_SECONDS:.0f} seconds; see {files.log(name)}")
        time.sleep(_LOOK_SECONDS)


def answers(url: str) -> bool:
    """True when a server answers 200 at `url`."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just closed is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "without output"
