"""The service that runs in a workspace: the commands that work there use its servers without being told.

Reads  service/addresses.json, service/NAME.process.json    (written by `charlm up`)
"""

from collections.abc import Mapping
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


def noted_addresses(workspace: Workspace) -> dict[str, str]:
    """The addresses that `charlm up` has noted in `workspace`; none in a copy, whose servers know nothing of it."""
    path = workspace.service.addresses
    note = read_json(path) if path.is_file() else None
    if note is None or note["workspace"] != str(workspace.root):
        return {}
    return {str(name): str(address) for name, address in note["addresses"].items()}


def service_addresses(workspace: Workspace) -> dict[str, str]:
    """The variables that lead to both servers of the service in `workspace`; none where it does not run."""
    addresses = noted_addresses(workspace)
    ended = [name for name in (PREFECT, MLFLOW) if addresses and running(name, workspace.service) is None]
    if not ended:
        return addresses
    terminal.print_line(
        f"! {' and '.join(ended)} of the service in {workspace.root} ended without charlm down, so this works "
        "without it; charlm up starts it again"
    )
    return {}


def pages(addresses: Mapping[str, str]) -> dict[str, str]:
    """The pages for people: what runs, and which models there are."""
    return {
        "Prefect": f"{addresses['PREFECT_API_URL'].removesuffix('/api')}/dashboard",
        "MLflow": mlflow_page(addresses["MLFLOW_TRACKING_URI"], "models"),
    }


def mlflow_page(server: str, path: str) -> str:
    """The address of a page of MLflow; without its last part MLflow 3.17 shows its pages about chat traces."""
    return f"{server.rstrip('/')}/#/{path}?workflowType=machine_learning"


def health_urls(addresses: Mapping[str, str]) -> dict[str, str]:
    """Where each server answers 200 while it is well."""
    return {
        PREFECT: f"{addresses['PREFECT_API_URL']}/ready",
        MLFLOW: f"{addresses['MLFLOW_TRACKING_URI']}/health",
    }


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
