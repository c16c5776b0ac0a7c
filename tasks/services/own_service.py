"""The service that runs in a workspace: the commands that work there use its servers without being told.

Reads  service/addresses.json, service/NAME.process.json    (written by `charlm up`)
"""

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

from charlm.artifacts import ServiceFiles, Workspace
from charlm.errors import ConfigError
from charlm.storage.atomic import JsonObject, read_json, write_json
from tasks.terminal import terminal

if TYPE_CHECKING:
    import psutil

PREFECT, MLFLOW = "prefect", "mlflow"


def note_addresses(workspace: Workspace, addresses: dict[str, str], public: dict[str, str]) -> None:
    """Let the commands that work in `workspace` find its servers, on other machines that share it at `public`."""
    note = {"workspace": str(workspace.root), "host": socket.gethostname(), "addresses": addresses, "public": public}
    write_json(workspace.service.addresses, note)


def noted_addresses(workspace: Workspace) -> dict[str, str]:
    """The addresses that `charlm up` has noted in `workspace`; none in a copy, whose servers know nothing of it."""
    note = _note(workspace)
    return {} if note is None else {str(name): str(address) for name, address in note["addresses"].items()}


def _note(workspace: Workspace) -> JsonObject | None:
    path = workspace.service.addresses
    note = read_json(path) if path.is_file() else None
    return None if note is None or note["workspace"] != str(workspace.root) else note


def service_addresses(workspace: Workspace) -> dict[str, str]:
    """The variables that lead to both servers of the service in `workspace`; none where it does not run.

    Where it runs on another machine, these are the addresses by which other machines reach it. Raises ConfigError where
    they cannot: this machine would write to the databases of running servers.
    """
    note = _note(workspace)
    if note is None:
        return {}
    addresses = noted_addresses(workspace)
    ended = [name for name in (PREFECT, MLFLOW) if running(name, workspace.service) is None]
    if len(ended) == len(addresses) and note.get("host", socket.gethostname()) != socket.gethostname():
        if not note["public"]:
            raise ConfigError(
                f"the service of {workspace.root} runs on {note['host']}, and its servers listen for that machine only;"
                " start it there with CHARLM_HOST=0.0.0.0, or stop it with charlm down"
            )
        return {str(name): str(address) for name, address in note["public"].items()}
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
