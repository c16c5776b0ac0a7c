"""`charlm worker`: the workers of this machine for a service that may run on another one, until it is stopped.

Writes service/machines/NAME/    logs and process files of its workers
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import FrameType

from charlm.artifacts import ServiceFiles
from charlm.distributed.watchdog import PARENT_VARIABLE
from charlm.storage.locks import exclusive_lock
from deployments.joining import check_deployments, check_name, environment_addresses, service_of
from deployments.leaving import end_runs, hand_over
from deployments.machines import BUSY_ATTEMPTS, follow_workers, forget_workers, online_workers, place_trainings
from deployments.prefect_setup import add_pools
from deployments.programs import Program, start, stop, wait_until
from deployments.servers import pool_of, recorded_name, workers
from deployments.settings import ServiceSettings, visible_gpus
from tasks.services.own_service import running
from tasks.services.rest import Server

_LOOK_SECONDS = 1.0
_CHECK_SECONDS = 60.0
_AGAIN_SECONDS = 5.0
"""After that a worker that has ended by itself is started again."""


def work(settings: ServiceSettings) -> None:
    """Let the workers of this machine work for the service of PREFECT_API_URL until SIGTERM or Ctrl-C.

    Raises ConfigError when this machine cannot work for it (deployments/joining.py).
    """
    settings = replace(settings, gpus=visible_gpus(os.environ))
    addresses = environment_addresses()
    server = replace(service_of(settings, os.environ, _print_line), attempts=BUSY_ATTEMPTS)
    os.environ.update(settings.client_variables() | addresses)
    files = ServiceFiles(settings.workspace.service.root / "machines" / settings.machine)
    files.root.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(files.lock, busy=_is_busy(settings.machine)), _stop_flag() as stopped:
        for name in files.names():
            stop(name, files)  # of a `charlm worker` that was killed
        check_name(server, settings.machine, _print_line)
        add_pools(settings)
        own = {"PREFECT_HOME": str(files.root / "prefect"), PARENT_VARIABLE: str(os.getpid())}
        programs = [
            replace(program, variables={**program.variables, **own}) for program in workers(settings, addresses)
        ]
        names = [(pool_of(program), recorded_name(program)) for program in programs]
        forget_workers(server, names)  # they are online when they have said so themselves
        try:
            for program in programs:
                start(program, files)
            for program, (pool, name) in zip(programs, names, strict=True):
                is_online: Callable[[], bool] = lambda pool=pool, name=name: (  # type: ignore[misc]  # noqa: E731
                    stopped.is_set() or name in online_workers(server, pool)
                )
                wait_until(is_online, program.name, files)
            if not stopped.is_set():
                _report(settings, server)
            checked = time.monotonic()
            while not stopped.wait(_LOOK_SECONDS):
                _restart(programs, files)
                if time.monotonic() > checked + _CHECK_SECONDS:
                    with suppress(OSError):  # the workers wait for a server that is away
                        check_deployments(server, settings)  # it may have been upgraded
                    checked = time.monotonic()
        finally:
            _leave(programs, names, files, server)


def _report(settings: ServiceSettings, server: Server) -> None:
    gpus = f" with the GPUs {', '.join(settings.gpus)}" if settings.gpus else ""
    _print_line(f"{settings.machine} works for {server.url}{gpus}; Ctrl-C ends that")
    try:
        lines = place_trainings(server) + follow_workers(server)
    except OSError as error:
        _print_line(f"! {error}; the watcher of the service corrects its limits")
        return
    for line in lines:
        _print_line(line)


def _restart(programs: list[Program], files: ServiceFiles) -> None:
    """Start a worker again that has ended by itself."""
    for program in programs:
        if running(program.name, files) is None:
            _print_line(f"{program.name} has ended, see {files.log(program.name)}; it is started again")
            time.sleep(_AGAIN_SECONDS)
            start(program, files)


def _leave(programs: list[Program], names: list[tuple[str, str]], files: ServiceFiles, server: Server) -> None:
    """Stop the workers with their runs, and take this machine off the server."""
    runs = end_runs([program.name for program in programs], files)
    for program in programs:
        stop(program.name, files)
    try:
        forget_workers(server, names)
        num_handed_over = hand_over(server, runs)
        lines = place_trainings(server) + follow_workers(server)
    except OSError as error:
        _print_line(f"! {error}; the service counts this machine until its heartbeat is old")
        return
    _print_line(f"this machine has left {server.url}")
    if runs:
        _print_line(
            f"runs that were ended: {len(runs)}, of which other machines resume {num_handed_over}; the trainings among"
            " them have saved a checkpoint"
        )
    for line in lines:
        _print_line(line)


@contextmanager
def _stop_flag() -> Iterator[threading.Event]:
    """An event that the first SIGTERM or Ctrl-C sets; a second one is an interrupt."""
    stopped = threading.Event()

    def stop_now(signum: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    old = {number: signal.signal(number, stop_now) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _is_busy(machine: str) -> str:
    return f"a charlm worker named {machine} uses this workspace already; stop it, or give this one another --name"


def _print_line(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
