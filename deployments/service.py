"""`charlm up`, `charlm down`, `charlm status`: the service of one machine.

A Prefect server, an MLflow server, a worker for the CPU and one for each GPU, and the watcher; pools, limits,
deployments.
Starting what runs changes nothing. Logs and process files are in the workspace, under `service/`.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from charlm.errors import ConfigError
from charlm.storage.locks import exclusive_lock
from deployments.joining import check_addresses, join_line
from deployments.leaving import end_runs
from deployments.machines import BUSY_ATTEMPTS, follow_workers, online_workers, place_trainings
from deployments.passwords import settle_mlflow_password
from deployments.prefect_setup import FlowDeployment, add_pools, settle_lost_runs
from deployments.programs import answers, start, stop, wait_until
from deployments.servers import (
    check_databases,
    mlflow_server,
    pool_of,
    prefect_server,
    prepare_mlflow,
    recorded_name,
    watcher,
    workers,
)
from deployments.settings import CPU_POOL, GPU_POOL, ServiceSettings, visible_gpus
from deployments.work_pools import PROCESS, check_worker_package
from tasks.services import rest
from tasks.services.own_service import (
    MLFLOW,
    PREFECT,
    health_urls,
    note_addresses,
    noted_addresses,
    pages,
    running,
)
from tasks.services.prefect import first_start


def up(settings: ServiceSettings) -> None:
    """Start what does not run, and print the two addresses when everything is well."""
    settings = replace(settings, gpus=visible_gpus(os.environ))
    files = settings.workspace.service
    os.environ.update(settings.client_variables())  # for Prefect's client in this process
    if settings.pool_type != PROCESS:
        if settings.public_host is None:
            raise ConfigError(
                f"containers of a {settings.pool_type} pool reach servers that listen for them; set CHARLM_HOST=0.0.0.0"
            )
        check_addresses(settings.public_addresses(), settings)
        check_worker_package(settings.pool_type)
    check_databases(settings)
    with exclusive_lock(files.lock, busy=None):
        if settings.address is None:
            settings.workspace.inbox_dir.mkdir(parents=True, exist_ok=True)  # so that people find it
        else:
            settings.open_workspace(_print_line)  # or an error, before anything is started
        if running(MLFLOW, files) is None:
            prepare_mlflow(settings)
        servers = [prefect_server(settings), mlflow_server(settings)]
        health = health_urls(settings.addresses())
        with _first_start(settings):
            started = [program.name for program in servers if start(program, files)]
            # Loading takes seconds, in which the servers start.
            deployment = FlowDeployment(settings)

            wait_until(lambda: answers(health[PREFECT]), PREFECT, files)
            wait_until(lambda: answers(health[MLFLOW]), MLFLOW, files)
        if settings.password is not None:
            settle_mlflow_password(settings.mlflow_url, settings.password, settings.old_password)
        has_new_pools = add_pools(settings)
        helpers = workers(settings)
        if not any(running(program.name, files) for program in helpers):
            settle_lost_runs(settings)
        started += [program.name for program in [*helpers, watcher(settings)] if start(program, files)]
        has_new_flows = deployment.make()  # while the workers start
        server = replace(rest.prefect_server(), attempts=BUSY_ATTEMPTS)
        for program in helpers:
            is_online: Callable[[], bool] = lambda program=program: (  # type: ignore[misc]  # noqa: E731
                recorded_name(program) in online_workers(server, pool_of(program))
            )
            wait_until(is_online, program.name, files)
        changes = place_trainings(server, may_leave_gpus=bool(started)) + follow_workers(server)
        note_addresses(settings.workspace, settings.addresses(), settings.public_addresses())
    _print_line(f"started {', '.join(started)}" if started else "everything runs already")
    if has_new_pools or has_new_flows:
        _print_line("the Prefect server has its pools, limits, automations and deployments")
    for line in changes:
        _print_line(line)
    _print_line(f"their logs are in {files.root}")
    if started and settings.database is None:
        _print_line("the databases are SQLite, with one writer at a time; for more than five runs")
        _print_line("at once give DATABASE=postgresql://…")
    if (command := join_line(settings)) is not None:
        _print_line(f"other machines: {command}")
    for name, value in settings.addresses().items():
        print(f"{name}={value}", flush=True)
    for name, address in pages(settings.addresses()).items():
        _print_line(f"{name:<8} {address}")


@contextmanager
def _first_start(settings: ServiceSettings) -> Iterator[None]:
    """While the servers make what is missing in their databases, commands that would make it too wait."""
    if settings.database is not None:
        yield
        return
    with first_start(settings.workspace), exclusive_lock(settings.workspace.lock_of("mlflow"), busy=None):
        yield


def down(settings: ServiceSettings) -> None:
    """Stop everything that `up` has started: the workers first, which still report to the servers."""
    files = settings.workspace.service
    with exclusive_lock(files.lock, busy=None):
        names = sorted(files.names(), key=lambda name: (name == PREFECT, name == MLFLOW, name))
        files.addresses.unlink(missing_ok=True)
        if runs := end_runs([name for name in names if name.startswith((CPU_POOL, GPU_POOL))], files):
            _print_line(f"runs that were ended: {len(runs)}; the trainings among them have saved a checkpoint")
        stopped = [name for name in names if stop(name, files)]
    _print_line(f"stopped {', '.join(stopped)}" if stopped else f"nothing of {files.root} is running")


@dataclass(frozen=True)
class State:
    """A program that was started, and whether it still runs and answers."""

    name: str
    pid: int | None
    answers: bool | None
    """Of a server that runs: whether it answers."""
    log: Path

    @property
    def is_well(self) -> bool:
        return self.pid is not None and self.answers is not False

    def __str__(self) -> str:
        if self.pid is None:
            return f"{self.name:<14} has ended, see {self.log}"
        health = {None: "", True: ", answers", False: f", does not answer, see {self.log}"}[self.answers]
        return f"{self.name:<14} process {self.pid}{health}"


def addresses_of(settings: ServiceSettings) -> dict[str, str]:
    """The variables that lead to both servers: of the service that runs, or of the one that would be started."""
    return noted_addresses(settings.workspace) or settings.addresses()


def states(settings: ServiceSettings) -> list[State]:
    """Every program that `up` has started, by name."""
    files, found = settings.workspace.service, []
    health = health_urls(addresses_of(settings))
    for name in files.names():
        process = running(name, files)
        url = health.get(name) if process else None
        found.append(State(name, process.pid if process else None, answers(url) if url else None, files.log(name)))
    return found


def _print_line(line: str) -> None:
    print(line, file=sys.stderr)
