"""The corpus that a model was trained on, where the workspace has it."""

from dataclasses import replace
from pathlib import Path

from charlm.artifacts import BundleFiles, CorpusFiles, RunFiles, Workspace
from charlm.errors import ModelFileError
from charlm.storage.atomic import JsonObject, read_json
from charlm.text.corpus.manifest import load_manifest
from charlm.trainers.lm.manifest import RunManifest


def own_corpus(model: Path, workspace: Workspace, *, train_text: bool = True) -> CorpusFiles | None:
    """The corpus whose text the model at a path was trained on; None where it is unknown, or not here."""
    known = _identity(model)
    name, revision = known.get("name"), known.get("revision")
    if not isinstance(name, str) or name not in workspace.corpus_names():
        return None
    corpus = workspace.corpus(name, train_text=train_text)
    manifest = load_manifest(corpus)
    then = replace(manifest, revisions=manifest.revisions[:revision])
    return corpus if then.fingerprint == known.get("fingerprint") else None  # else another corpus of this name


def _identity(model: Path) -> JsonObject:
    """Name, revision and fingerprint of the corpus of a bundle, of a run, or of a file in one; empty elsewhere."""
    for folder in (model, *model.parents[:2]):
        bundle, run = BundleFiles(folder), RunFiles(folder)
        if bundle.manifest.is_file():
            manifest = read_json(bundle.manifest, remedy="restore it", error=ModelFileError)
            return dict(manifest.get("corpus") or {})
        if run.manifest.is_file():
            return dict(RunManifest.load(run).corpus)
    return {}
