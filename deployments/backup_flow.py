"""The flow that backs a workspace up, by hand or on a schedule."""

from datetime import UTC, datetime
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from charlm.errors import ConfigError
from charlm.storage.user_paths import user_path
from deployments.backup import save
from deployments.settings import ServiceSettings, environment_settings
from flows.workspace_flow import flow


@flow(name="charlm-back-up", flow_run_name="backup")
def back_up(folder: Path | None = None, workspace: Path = Path("workspace")) -> State[Path]:
    """Save the workspace and its databases to a new folder, while the service runs.

    Args:
        folder: New folder for the backup, on the machine of the worker; by default one named after the moment, in
            `backups` beside the workspace.
        workspace: Folder that holds everything a run leaves.
    """
    settings = environment_settings(workspace)
    root = settings.workspace.root
    target = (
        user_path(folder) if folder else root.parent / f"{root.name}-backups" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    )
    if not target.is_absolute():
        raise ConfigError(
            f"the folder of a backup is an absolute path on the machine of the worker, got {str(target)!r}"
        )
    number = _save(settings, target)
    return Completed(message=f"{number:,} files saved to {target}", data=target)


@task(task_run_name="save {folder}", cache_policy=NO_CACHE)
def _save(settings: ServiceSettings, folder: Path) -> int:
    return save(settings, folder)
