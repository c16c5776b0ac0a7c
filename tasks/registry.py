"""The model registry: bundles in, bundles out.

Reads  models:/NAME@alias, models:/NAME/3   (the one resolver of such addresses; charlm itself takes paths only)
Writes registered versions with aliases, tags and a description

A bundle is recognised by its fingerprint, so that an identical one makes no second version.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charlm.artifacts import BundleFiles, CorpusFiles, Workspace, read_json
from charlm.errors import ModelFileError, RegistryError
from charlm.text.manifest import load_manifest
from charlm.trainers.manifest import RunManifest
from tasks.lineage import DomainScores, changes_markdown
from tasks.tracking import create_mlflow_run, find_experiment, first_line, mlflow_client, mlflow_error, mlflow_run_of
from tasks.training import TrainedRun, scores_of

if TYPE_CHECKING:
    from charlm.models.language_model import LanguageModel

CHALLENGER, CHAMPION = "challenger", "champion"
LONGEST_DESCRIPTION = 5_000
"""Characters of a version's description: the width of the column in MLflow's database."""
ROOM = "\u2003\u200b"
"""An em space; MLflow would trim it without the zero-width space behind it."""
_ADDRESS = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))")
_FINGERPRINT_TAG = "bundle.fingerprint"
_PREDICT_LIBRARIES = ("charlm", "mlflow", "torch", "numpy", "pyarrow", "safetensors", "xxhash")


@dataclass(frozen=True)
class RegisteredVersion:
    """One version of a registered model."""

    name: str
    version: int
    is_new: bool = False

    @property
    def address(self) -> str:
        return f"models:/{self.name}/{self.version}"


# ---- out -----------------------------------------------------------------------------------------------------------


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
        return dict(read_json(Path(path)))


def load_models(workspace: Workspace, version: RegisteredVersion) -> "dict[str, LanguageModel]":
    """The language models of a version by direction, on a GPU where there is one."""
    import torch

    from charlm.models.language_model import load_language_models

    device = "cuda" if torch.cuda.is_available() else "cpu"
    models = load_language_models(download_bundle(version.address, workspace))
    return {direction: model.to(device) for direction, model in models.items()}


def corpus_revision(version: RegisteredVersion) -> int:
    """The newest revision of its corpus that a version was trained on."""
    with clear_errors(f"cannot look up {version.address}"):
        tags = mlflow_client().get_model_version(version.name, str(version.version)).tags
    return int(tags["corpus.revision"])


def find_tagged(name: str, tag: str, value: str) -> list[RegisteredVersion]:
    """The versions of the model `name` whose `tag` has this value, oldest first."""
    with clear_errors(f"cannot look up the versions of {name}"):
        found = mlflow_client().search_model_versions(f"name = '{_quoted(name)}' and tags.`{tag}` = '{value}'")
    return [RegisteredVersion(name, number) for number in sorted(int(version.version) for version in found)]


def all_versions(name: str) -> list[tuple[RegisteredVersion, dict[str, str]]]:
    """Every version of the model `name` with its tags, oldest first."""
    with clear_errors(f"cannot look up the versions of {name}"):
        found = mlflow_client().search_model_versions(f"name = '{_quoted(name)}'")
    versions = [(RegisteredVersion(name, int(version.version)), dict(version.tags)) for version in found]
    return sorted(versions, key=lambda pair: pair[0].version)


def find_champion(name: str) -> RegisteredVersion | None:
    """The champion of the model `name`; none where there is no such model, or no champion yet."""
    with clear_errors(f"cannot look up the champion of {name}"):
        models = mlflow_client().search_registered_models(filter_string=f"name = '{_quoted(name)}'")
    number = models[0].aliases.get(CHAMPION) if models else None
    return None if number is None else RegisteredVersion(name, int(number))


def find_version(address: str) -> RegisteredVersion:
    """The version that an address names."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise RegistryError(f"{address!r} is no address of a model; write models:/NAME@champion or models:/NAME/3")
    name, alias, number = match.groups()
    client = mlflow_client()
    with clear_errors(f"cannot look up {address}"):
        models = client.search_registered_models(filter_string=f"name = '{_quoted(name)}'")
    if not models:
        raise RegistryError(f"there is no registered model {name!r} in {os.environ['MLFLOW_TRACKING_URI']}")
    if alias is None:
        with clear_errors(f"cannot look up {address}"):
            versions = client.search_model_versions(f"name = '{_quoted(name)}'")
        numbers = sorted(int(version.version) for version in versions)
        if int(number) not in numbers:
            raise RegistryError(f"{name} has no version {number}; it has {', '.join(map(str, numbers)) or 'none'}")
        return RegisteredVersion(name, int(number))
    aliases = models[0].aliases
    if alias not in aliases:
        raise RegistryError(f"{name} has no alias {alias!r}; it has {', '.join(sorted(aliases)) or 'none'}")
    return RegisteredVersion(name, int(aliases[alias]))


# ---- in ------------------------------------------------------------------------------------------------------------


def register_runs(
    workspace: Workspace,
    name: str,
    runs: Mapping[str, TrainedRun],
    *,
    run_id: str | None,
    parent: RegisteredVersion | None = None,
    domains: DomainScores | None = None,
) -> RegisteredVersion:
    """Register the bundle of `runs` (by direction) as version and challenger of the model `name`.

    `run_id` is the MLflow run that the model is logged to; by default one of its own. An identical bundle keeps the
    version that it has. `parent` is the version that the runs continue; `domains` are scores before and after. The
    description says what changed since the parent, or since the champion where there is none.
    """
    with tempfile.TemporaryDirectory(prefix="charlm-bundle-") as folder:
        bundle = Path(folder) / "bundle"
        fingerprint = build_bundle(workspace, name, runs, bundle, parent_version=_parent_label(parent, name))
        with clear_errors(f"{name} is trained but not registered (the command with --resume does that); MLflow"):
            if known := find_tagged(name, _FINGERPRINT_TAG, fingerprint):
                return known[0]
            if run_id is None:  # MLflow was away when the training began
                run_id = create_mlflow_run(find_experiment(workspace, name), "registration", parent=None, tags={})
            description = _description(BundleFiles(bundle), parent or find_champion(name), domains)
            return _register(bundle, name, run_id, fingerprint, description, _run_tags(runs))


def _parent_label(parent: RegisteredVersion | None, name: str) -> str | None:
    """The version that is continued: `3`, or `general/3` where it is another registered model's."""
    if parent is None:
        return None
    return str(parent.version) if parent.name == name else f"{parent.name}/{parent.version}"


def build_bundle(
    workspace: Workspace,
    name: str,
    runs: Mapping[str, TrainedRun],
    folder: Path,
    *,
    parent_version: str | None = None,
) -> str:
    """Write the bundle of the best models of `runs` to `folder`; its fingerprint."""
    from charlm.serialization import read_flair_file, write_bundle

    corpus = workspace.corpus(name)
    first = RunManifest.load(next(iter(runs.values())).files)
    info = {
        "corpus": {**first.corpus, **_corpus_facts(corpus)},
        "recipe": first.config.training.recipe,
        "training": {field: value for field, value in first.config.training.to_json().items() if value is not None},
        "scores": scores_of(runs),
        "runs": {direction: run.files.name for direction, run in runs.items()},
        "parent_version": parent_version,
        "library_versions": first.libraries,
    }
    states = {direction: read_flair_file(run.files.best_lm) for direction, run in runs.items()}
    return write_bundle(folder, states, info)


def _corpus_facts(corpus: CorpusFiles) -> dict[str, Any]:
    manifest = load_manifest(corpus)
    domains = sorted({revision.domain for revision in manifest.revisions})
    return {"documents": manifest.documents, "characters": manifest.characters, "domains": domains}


def _register(
    bundle: Path, name: str, run_id: str, fingerprint: str, description: str, run_tags: Mapping[str, str]
) -> RegisteredVersion:
    manifest = read_json(BundleFiles(bundle).manifest)
    client = mlflow_client()
    model = _log_model(bundle, run_id)
    if not client.search_registered_models(filter_string=f"name = '{_quoted(name)}'"):
        client.create_registered_model(name, description=_model_description(name))
    created = client.create_model_version(
        name,
        source=model.model_uri,
        run_id=run_id,
        tags=_version_tags(manifest, fingerprint) | dict(run_tags),
        description=description,
        model_id=model.model_id,
    )
    client.set_registered_model_alias(name, CHALLENGER, created.version)
    return RegisteredVersion(name, int(created.version), is_new=True)


def _description(bundle: BundleFiles, before: RegisteredVersion | None, domains: DomainScores | None) -> str:
    """The model card of a bundle, and what changed since the version `before`."""
    card = bundle.card.read_text(encoding="utf-8")
    if before is None:
        return with_room(card)
    changes = changes_markdown(
        read_manifest(before),
        read_json(bundle.manifest),
        domains,
        older_label=f"{before.name} version {before.version}",
    )
    described = with_room(f"{card}\n## What changed\n\n{changes}")
    return described if len(described) <= LONGEST_DESCRIPTION else with_room(card)


def with_room(markdown: str) -> str:
    """`markdown` with room between the columns of its tables, which MLflow draws with none."""
    lines = markdown.split("\n")
    rows = [line.startswith("| ") and not line.startswith("| ---") for line in lines]
    return "\n".join(
        line.replace(" | ", f"{ROOM} | ") if is_row else line for line, is_row in zip(lines, rows, strict=True)
    )


def _run_tags(runs: Mapping[str, TrainedRun]) -> dict[str, str]:
    """`forward.run_id` and `backward.run_id`: the MLflow runs of the trainings, where MLflow has them."""
    ids = {direction: mlflow_run_of(run.files) for direction, run in runs.items()}
    return {f"{direction}.run_id": run_id for direction, run_id in ids.items() if run_id is not None}


def _log_model(bundle: Path, run_id: str) -> Any:
    """Log the bundle as a pyfunc model made from code, on the run `run_id`."""
    import mlflow

    with mlflow.start_run(run_id=run_id):
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"bundle": str(bundle)},
            pip_requirements=pip_requirements(),
            input_example=["I love Berlin"],  # the signature comes from the types of `predict`
        )


def pip_requirements() -> list[str]:
    """What must be installed where a registered model is served."""
    return [f"{library}=={_public_version(library)}" for library in _PREDICT_LIBRARIES]


def _public_version(library: str) -> str:
    """`"2.13.0+cpu" -> "2.13.0"`: a model trained on one kind of machine is served on another."""
    return installed_version(library).partition("+")[0]


def _version_tags(manifest: Mapping[str, Any], fingerprint: str) -> dict[str, str]:
    tags = {
        _FINGERPRINT_TAG: fingerprint,
        "corpus.revision": str(manifest["corpus"]["revision"]),
        "corpus.fingerprint": manifest["corpus"]["fingerprint"],
        "dictionary.fingerprint": manifest["dictionary"]["fingerprint"],
        "recipe": manifest["recipe"],
        "parent.version": str(manifest["parent_version"] or "none"),
    }
    for direction, splits in manifest["scores"].items():
        for score in ("bits_per_character", "bits_per_byte", "unk_rate"):
            tags[f"{direction}.{score}"] = f"{splits['test'][score]:.6g}"
    return tags


def _model_description(name: str) -> str:
    return (
        f"Character language models of the corpus {name}, forward and backward in one bundle, used as word embeddings."
        f" `champion` is the version to use, `challenger` the newest one. `mlflow.pyfunc.load_model"
        f'("models:/{name}@champion").predict(["some text"])` gives tokens and their vectors.'
    )


def _quoted(name: str) -> str:
    return name.replace("'", "")


@contextmanager
def clear_errors(what: str) -> Iterator[None]:
    """Turn what MLflow raises into one line."""
    try:
        yield
    except mlflow_error() as error:
        raise RegistryError(f"{what} at {os.environ['MLFLOW_TRACKING_URI']}: {first_line(error)}") from error
