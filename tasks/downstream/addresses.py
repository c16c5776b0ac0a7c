"""The path behind an address of the registry, for programs of users: `Classifier.load("models:/places@newest")`.

Reads  the registry of the workspace CHARLM_WORKSPACE, or of `workspace`
"""

import os
from pathlib import Path

from tasks.downstream.registry import resolve_downstream_model
from tasks.registry.download import locate_model
from tasks.registry.nearby import bundle_in_place
from tasks.registry.versions import KIND, clear_errors, find_version
from tasks.services.session import use_workspace
from tasks.tracking.client import mlflow_client


def path_of_address(address: str) -> Path:
    """The folder of a bundle of language models, or the file of a tagger or classifier.

    charlm calls it by the entry point `charlm.model_resolvers` of pyproject.toml. Raises RegistryError when there is
    no such model, version or alias, or when the registry does not answer.
    """
    workspace = use_workspace(os.environ.get("CHARLM_WORKSPACE", "workspace"))
    if (in_place := bundle_in_place(address, workspace)) is not None:
        return in_place[0]
    version = find_version(address)
    with clear_errors(f"cannot look up {address}"):
        tags = mlflow_client().get_model_version(version.name, str(version.version)).tags
    if KIND in tags:
        return resolve_downstream_model(version.address, workspace)
    return locate_model(version, workspace)[0]
