"""The commands of the service: `charlm up`, `down`, `status`, `worker`, `backup` and `restore`.

Everything but the workspace comes from the environment (deployments/settings.py).
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.errors import ConfigError
from charlm.storage.user_paths import user_path
from flows.cli import options
from flows.cli.context import DEFAULT_WORKSPACE, show
from flows.cli.options import example

if TYPE_CHECKING:
    from deployments.settings import ServiceSettings

_Backup = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the backup.")]


@example("charlm up --workspace /data/charlm")
def up(workspace: options.WorkspaceDir = DEFAULT_WORKSPACE) -> None:
    """Start the service that does not run yet: Prefect and MLflow servers, workers, deployments."""
    from deployments.service import up as start

    start(_settings(workspace))


@example("charlm down --workspace /data/charlm")
def down(workspace: options.WorkspaceDir = DEFAULT_WORKSPACE) -> None:
    """Stop what `charlm up` has started, the workers first."""
    from deployments.service import down as stop

    stop(_settings(workspace))


@example("charlm status --json")
def status(workspace: options.WorkspaceDir = DEFAULT_WORKSPACE, as_json: options.AsJson = False) -> None:
    """List the programs and pages of the service; exit code 1 when one of them has ended or does not answer."""
    from deployments.service import addresses_of, states
    from tasks.services.own_service import pages

    settings = _settings(workspace)
    programs = states(settings)
    is_well = bool(programs) and all(program.is_well for program in programs)
    shown = pages(addresses_of(settings)) if is_well else {}
    if as_json:
        processes = {program.name: program.pid for program in programs}
        show({"programs": processes, "well": is_well, "pages": shown}, as_json)
    else:
        for program in programs:
            print(program)
        for name, address in shown.items():
            print(f"{name:<14} {address}")
    if not programs:
        print("nothing was started; `charlm up` starts it", file=sys.stderr)
    if not is_well:
        raise typer.Exit(1)


@example("charlm worker --workspace s3://bucket/ws")
def worker(
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of this machine; by default its host name.")
    ] = None,
    pool_type: Annotated[
        str | None,
        typer.Option("--type", metavar="TYPE", help="Type of the work pools: process, docker, kubernetes, ecs."),
    ] = None,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
) -> None:
    """Let this machine work for the service of PREFECT_API_URL and MLFLOW_TRACKING_URI, until it is stopped."""
    from deployments.machine_workers import work

    given = {"CHARLM_MACHINE": name, "CHARLM_WORK_POOL_TYPE": pool_type}
    os.environ.update({variable: value for variable, value in given.items() if value is not None})
    work(_settings(workspace))


@example("charlm backup /backups/monday")
def backup(folder: _Backup, workspace: options.WorkspaceDir = DEFAULT_WORKSPACE) -> None:
    """Save the workspace and its databases to a new folder, also while the service runs."""
    from deployments.backup import save

    folder, settings = _named(folder), _settings(workspace)
    print(f"{save(settings, folder)} files of the workspace {settings.workspace.root} saved to {folder}")


@example("charlm restore /backups/monday --workspace /srv/restored")
def restore(folder: _Backup, workspace: options.WorkspaceDir = DEFAULT_WORKSPACE) -> None:
    """Restore a backup, to a workspace that does not exist yet."""
    from deployments.backup import restore as bring_back

    folder, settings = _named(folder), _settings(workspace)
    print(f"{bring_back(settings, folder)} files of the workspace {settings.workspace.root} restored from {folder}")


@example("charlm systemd units")
def systemd(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write the units to.")],
    user: Annotated[str | None, typer.Option(help="User that the programs run as; by default the present one.")] = None,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
) -> None:
    """Write units for systemd that run the programs of `charlm up`, with the settings of the environment."""
    from dataclasses import replace

    from deployments.settings import visible_gpus
    from deployments.systemd import TARGET, current_user, write_units

    settings = replace(_settings(workspace), gpus=visible_gpus(os.environ))
    folder = folder.expanduser().absolute()
    written = write_units(settings, folder, user=user or current_user(), variables=os.environ)
    units = " ".join(str(path) for path in written if path.suffix != ".env")
    print(f"sudo systemctl link {units}\nsudo systemctl enable --now {TARGET}")


def _named(folder: Path) -> Path:
    if folder == Path():  # what make hands on where TO or FROM is missing
        raise ConfigError("name a folder: make backup TO=FOLDER, make restore FROM=FOLDER")
    return user_path(folder).absolute()


def _settings(workspace: Path) -> "ServiceSettings":
    from deployments.settings import environment_settings
    from tasks.services.environment import ask_loopback_directly, check_dotenv

    ask_loopback_directly()
    check_dotenv()
    return environment_settings(workspace)


COMMANDS = (up, down, status, worker, backup, restore, systemd)
"""In the order of the help."""
