"""The service that runs in a workspace: the commands that work there use its servers without being told.

Reads  service/addresses.json, service/NAME.process.json    (written by `charlm up`)
"""

from typing import TYPE_CHECKING

from charlm.artifacts import ServiceFiles, Workspace
from charlm.storage.atomic import read_json, write_json
from tasks.terminal import terminal

if TYPE_CHECKING:
    import psutil

PREFECT, MLFLOW = "prefect", "mlflow"


def note_addresses(workspace: Workspace, addresses: dict[str, str]) -> None:
    """Let the commands that work in `workspace` find its servers."""
    write_json(workspace.service.addresses, {"workspace": str(workspace.root), "addresses": addresses})


def service_addresses(workspace: Workspace) -> dict[str, str]:
    """The variables that lead to both servers of the service in `workspace`; none where it does not run."""
    files = workspace.service
    if not files.addresses.is_file():
        return {}
    note = read_json(files.addresses)
    if note["workspace"] != str(workspace.root):  # a copy of the workspace, whose servers know nothing of it
        return {}
    ended = [name for name in (PREFECT, MLFLOW) if running(name, files) is None]
    if ended:
        terminal.print_line(
            f"! {' and '.join(ended)} of the service in {workspace.root} ended without charlm down, so this works "
            "without it; charlm up starts it again"
        )
        return {}
    return {str(name): str(address) for name, address in note["addresses"].items()}


def running(name: str, files: ServiceFiles) -> "psutil.Process | None":
    """The process of the program `name` while it runs; another one that has been given its number does not count."""
    if not files.note(name).is_file():
        return None
    import psutil

    note = read_json(files.note(name))
    try:
        process = psutil.Process(note["pid"])
        lives = process.create_time() == note["started"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if lives else None
