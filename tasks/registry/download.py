"""Bring a registered bundle to this machine."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charlm.artifacts import BundleFiles, Workspace
from charlm.errors import ModelFileError, RegistryError
from charlm.storage.atomic import read_json
from tasks.registry.versions import RegisteredVersion, clear_errors, find_version
from tasks.tracking.client import mlflow_client

if TYPE_CHECKING:
    from charlm.language_models.language_model import LanguageModel


def resolve_model(model: str, workspace: Workspace) -> Path:
    """The path of a MODEL argument: a file, run or bundle folder as it is, a registry address downloaded."""
    if model.startswith("models:"):
        return download_bundle(model, workspace)
    path = Path(model).expanduser()
    if not path.exists():
        raise ModelFileError(
            f"there is no model {model!r}: give best-lm.pt, a run folder, a bundle folder, or models:/NAME@champion"
        )
    return path


def download_bundle(address: str, workspace: Workspace) -> Path:
    """The folder of the bundle at `models:/NAME@alias` or `models:/NAME/3`.

    Where the registry's artifacts lie on this machine, they are read in place. Raises RegistryError when there is no
    such model, version or alias, or when the registry does not answer.
    """
    import mlflow

    found = find_version(address)
    client = mlflow_client()
    with clear_errors(f"cannot download {found.address}"):
        location = client.get_model_version_download_uri(found.name, str(found.version))
        bundle = Path(mlflow.artifacts.download_artifacts(artifact_uri=location)) / "artifacts" / "bundle"
    if not BundleFiles(bundle).manifest.is_file():
        raise RegistryError(f"{found.address} is no charlm model: it holds no {BundleFiles(bundle).manifest.name}")
    return bundle


def read_manifest(version: RegisteredVersion) -> dict[str, Any]:
    """The manifest of the bundle of a version, without its models."""
    import mlflow

    with (
        tempfile.TemporaryDirectory(prefix="charlm-manifest-") as folder,
        clear_errors(f"cannot read {version.address}"),
    ):
        location = mlflow_client().get_model_version_download_uri(version.name, str(version.version))
        name = BundleFiles(Path("artifacts/bundle")).manifest
        path = mlflow.artifacts.download_artifacts(artifact_uri=f"{location}/{name}", dst_path=folder)
        return dict(read_json(Path(path), remedy="register the model again", error=ModelFileError))


def load_models(workspace: Workspace, version: RegisteredVersion) -> "dict[str, LanguageModel]":
    """The language models of a version by direction, on a GPU where there is one."""
    import torch

    from charlm.language_models.language_model import load_language_models

    device = "cuda" if torch.cuda.is_available() else "cpu"
    models = load_language_models(download_bundle(version.address, workspace))
    return {direction: model.to(device) for direction, model in models.items()}
