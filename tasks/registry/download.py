"""Open a model: from a path, or from the registry, whose bundle comes to this machine."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.artifacts import BundleFiles, Workspace
from charlm.errors import ModelFileError, RegistryError
from charlm.storage.atomic import JsonObject, read_json
from charlm.storage.user_paths import user_path
from tasks.registry.nearby import bundle_in_place
from tasks.registry.versions import RegisteredVersion, clear_errors, find_version
from tasks.services.session import use_workspace
from tasks.terminal import terminal
from tasks.tracking.client import mlflow_client

if TYPE_CHECKING:
    from charlm.language_models.language_model import LanguageModel


@dataclass(frozen=True)
class OpenedModel:
    """The language models of a MODEL argument, ready for use."""

    name: str
    """The argument, as it was given."""

    path: Path
    """The file, run folder or bundle that they were read from."""

    version: RegisteredVersion | None
    """The registered version, where the model was given by an address."""

    models: "dict[str, LanguageModel]"
    """By direction, on the device."""


def open_model(model: str | RegisteredVersion, workspace: Workspace) -> OpenedModel:
    """Open a file, run folder, bundle folder, or registry address, once: an alias that moves later changes nothing.

    Raises ModelFileError or RegistryError when there is no such model.
    """
    from charlm.language_models.language_model import load_language_models
    from charlm.nn.device import find_device

    device = find_device()
    path, version = locate_model(model, workspace)
    models = {direction: lm.to(device) for direction, lm in load_language_models(path).items()}
    return OpenedModel(model if isinstance(model, str) else model.address, path, version, models)


def locate_model(model: str | RegisteredVersion, workspace: Workspace) -> tuple[Path, RegisteredVersion | None]:
    """The path of a model and the version behind its address, without loading it; a bundle is downloaded."""
    if isinstance(model, RegisteredVersion) or model.startswith("models:"):
        use_workspace(workspace.place)  # the registry is that of this workspace
        if (in_place := bundle_in_place(model, workspace)) is not None:
            return in_place
        with terminal.waiting("asking MLflow's registry"):
            version = model if isinstance(model, RegisteredVersion) else find_version(model)
            return _download(version), version
    path = user_path(model)
    if not path.exists():
        raise ModelFileError(
            f"there is no model {model!r}: give best-lm.pt, a run folder, a bundle folder, or models:/NAME@champion"
        )
    return path, None


def resolve_model(model: str, workspace: Workspace) -> Path:
    """The path of a model; `open_model` also pins its version."""
    return locate_model(model, workspace)[0]


def download_bundle(address: str, workspace: Workspace) -> Path:
    """The folder of the bundle at `models:/NAME@alias` or `models:/NAME/3`.

    Raises RegistryError when there is no such model, version or alias, or when the registry does not answer.
    """
    return locate_model(address, workspace)[0]


def _download(version: RegisteredVersion) -> Path:
    """The folder of a version's bundle; artifacts on this machine are read in place."""
    import mlflow

    client = mlflow_client()
    with clear_errors(f"cannot download {version.address}"):
        location = client.get_model_version_download_uri(version.name, str(version.version))
        bundle = Path(mlflow.artifacts.download_artifacts(artifact_uri=location)) / "artifacts" / "bundle"
    if not BundleFiles(bundle).manifest.is_file():
        raise RegistryError(f"{version.address} is not a charlm model: it has no {BundleFiles(bundle).manifest.name}")
    return bundle


def read_manifest(version: RegisteredVersion) -> JsonObject:
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
