"""Register the bundle of a training.

Writes registered versions with aliases, tags and a description

A bundle is recognised by its fingerprint: an identical one is not registered twice.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from charlm.artifacts import BundleFiles, CorpusFiles, Workspace
from charlm.config.serving import chosen_runtime
from charlm.data.answers import AnswerForm
from charlm.errors import ModelFileError, decoration
from charlm.remote.workspace import alone
from charlm.storage.atomic import JsonObject, read_json
from charlm.text.corpus.manifest import load_manifest
from charlm.trainers.lm.manifest import RunManifest
from tasks.registry.descriptions import model_description, version_description
from tasks.registry.flavour import log_standalone_model
from tasks.registry.lineage import DomainScores
from tasks.registry.logged_models import bundle_record, link_version
from tasks.registry.serving import Server, make_server
from tasks.registry.tags import stored_tags
from tasks.registry.versions import (
    BITS_PER_BYTE,
    CHALLENGER,
    CORPUS_REVISION,
    DOMAINS,
    RegisteredVersion,
    clear_errors,
    create_registered_model,
    find_champion,
    find_tagged,
)
from tasks.runs import TrainedRun, scores_of
from tasks.terminal import terminal
from tasks.tracking.client import mlflow_client
from tasks.tracking.runs import create_mlflow_run, find_experiment
from tasks.tracking.sync import mlflow_run_of

_FINGERPRINT_TAG = "bundle.fingerprint"


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
    description lists what changed since the parent, or since the champion where there is none.
    """
    with (
        tempfile.TemporaryDirectory(prefix="charlm-bundle-") as folder,
        alone(workspace, workspace.lock_of(f"{name}.registration")),
    ):
        bundle = Path(folder) / "bundle"
        fingerprint = build_bundle(workspace, name, runs, bundle, parent_version=_parent_label(parent, name))
        with clear_errors(f"{name} is trained but not registered (the command with --resume does that); MLflow"):
            runtime = chosen_runtime()
            if runtime != "torch":
                fingerprint = f"{fingerprint} {runtime}"
            if known := find_tagged(name, _FINGERPRINT_TAG, fingerprint):
                _report_older_metadata(known[0], BundleFiles(bundle))
                return known[0]
            if run_id is None:  # MLflow was away when the training began
                run_id = create_mlflow_run(find_experiment(workspace, name), "registration", parent=None, tags={})
            description = ""
            with decoration(f"the description of the new version of {name}"):
                description = version_description(BundleFiles(bundle), parent or find_champion(name), domains)
            manifest = _manifest_of(BundleFiles(bundle))
            server = make_server(workspace, name, bundle, manifest, runtime, Path(folder) / "onnx")
            return _register(server, manifest, name, run_id, fingerprint, description, _run_ids(runs), parent)


def _report_older_metadata(known: RegisteredVersion, files: BundleFiles) -> None:
    """Report where a version that is kept was registered with another licence or languages than its corpus has."""
    tags = mlflow_client().get_model_version(known.name, str(known.version)).tags
    for name, value in _metadata_tags(_manifest_of(files)).items():
        if tags.get(name) != value:
            terminal.print_line(
                f"! {known.address} is the same model and keeps its {name} ({tags.get(name, 'none')}), not {value};"
                f" charlm export --{name.removesuffix('s')} gives a copy another"
            )


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
    from charlm.serialization.bundle import write_bundle
    from charlm.serialization.flair_file import read_flair_file

    corpus = workspace.corpus(name, train_text=False)
    first = RunManifest.load(next(iter(runs.values())).files)
    info = {
        "corpus": {**first.corpus, **_corpus_facts(corpus)},
        "recipe": first.config.training.recipe,
        "training": {field: value for field, value in first.config.training.to_json().items() if value is not None},
        "scores": scores_of(runs),
        "runs": {direction: run.files.name for direction, run in runs.items()},
        "parent_version": parent_version,
        "library_versions": first.libraries,
        **load_manifest(corpus).metadata,
    }
    states = {direction: read_flair_file(run.files.best_lm) for direction, run in runs.items()}
    return write_bundle(folder, states, info)


def _corpus_facts(corpus: CorpusFiles) -> JsonObject:
    manifest = load_manifest(corpus)
    domains = sorted({revision.domain for revision in manifest.revisions})
    near = sum(
        number
        for revision in manifest.revisions
        for reason, number in revision.skipped.items()
        if reason.startswith("near_duplicates_")
    )
    facts: JsonObject = {"documents": manifest.documents, "characters": manifest.characters, "domains": domains}
    return facts | ({"near_duplicates_left_out": near} if near else {})


def _register(
    server: Server,
    manifest: JsonObject,
    name: str,
    run_id: str,
    fingerprint: str,
    description: str,
    run_ids: Mapping[str, str],
    parent: RegisteredVersion | None,
) -> RegisteredVersion:
    client = mlflow_client()
    tags = _version_tags(manifest, fingerprint) | {f"{way}.run_id": run for way, run in run_ids.items()}
    tags |= server.tags
    record = bundle_record(manifest, tags, list(run_ids.values()), parent)
    model = log_standalone_model(
        run_id,
        f"{name}-{'-'.join(manifest['models'])}",
        server.code,
        server.artifacts,
        record,
        params=asdict(AnswerForm()),
        libraries=server.libraries,
    )
    create_registered_model(name, description=model_description(name))
    created = client.create_model_version(
        name,
        source=model.model_uri,
        run_id=run_id,
        tags=stored_tags(tags),
        description=description,
        model_id=model.model_id,
    )
    client.set_registered_model_alias(name, CHALLENGER, created.version)
    version = RegisteredVersion(name, int(created.version), is_new=True)
    link_version(model.model_id, version)
    return version


def _run_ids(runs: Mapping[str, TrainedRun]) -> dict[str, str]:
    """The MLflow runs of the trainings by direction, where MLflow has them."""
    ids = {direction: mlflow_run_of(run.files) for direction, run in runs.items()}
    return {direction: run_id for direction, run_id in ids.items() if run_id is not None}


def _version_tags(manifest: JsonObject, fingerprint: str) -> dict[str, str]:
    bits = [splits["test"]["bits_per_byte"] for splits in manifest["scores"].values()]
    has_bits = bits and None not in bits  # a model that loses text has no bits of it
    tags = {  # MLflow's list of versions shows them in this order: what people read comes first
        **({BITS_PER_BYTE: f"{fmean(bits):.4f}"} if has_bits else {}),
        DOMAINS: ", ".join(manifest["corpus"]["domains"]),
        "recipe": manifest["recipe"],
        "parent.version": str(manifest["parent_version"] or "none"),
        CORPUS_REVISION: str(manifest["corpus"]["revision"]),
        **_metadata_tags(manifest),
        "corpus.fingerprint": manifest["corpus"]["fingerprint"],
        "dictionary.fingerprint": manifest["dictionary"]["fingerprint"],
        _FINGERPRINT_TAG: fingerprint,
    }
    for direction, splits in manifest["scores"].items():
        for score in ("bits_per_character", "bits_per_byte", "unk_rate"):
            if (value := splits["test"][score]) is not None:
                tags[f"{direction}.{score}"] = f"{value:.6g}"
    return tags


def _metadata_tags(manifest: JsonObject) -> dict[str, str]:
    """Licence and languages, where the corpus has them."""
    tags = {"licence": manifest.get("licence"), "languages": ", ".join(manifest.get("languages", []))}
    return {name: value for name, value in tags.items() if value}


def _manifest_of(files: BundleFiles) -> JsonObject:
    manifest: JsonObject = read_json(
        files.manifest, remedy="restore it, or fetch the bundle again", error=ModelFileError
    )
    return manifest
