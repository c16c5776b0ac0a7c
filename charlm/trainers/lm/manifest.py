"""run.json: what a training run is, what it was trained on, and what came out.

Reads  corpora/NAME/corpus.json and dictionary/   for what a run is trained on
Writes runs/RUN/run.json

Two runs have the same fingerprint when their corpus, dictionary, direction, settings and initial model are the same:
then the second need not be trained. Imports no torch, so that the command line reads runs quickly.
"""

import time
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, Self, TypedDict

from charlm.artifacts import CorpusFiles, RunFiles, Workspace
from charlm.config import RunConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import ConfigError, CorpusError, RunError
from charlm.evaluation.scores import ScoreValues
from charlm.storage.atomic import read_json, write_json
from charlm.storage.fingerprints import fingerprint, sha256_of
from charlm.text.corpus.manifest import load_manifest

RunState = Literal["created", "running", "interrupted", "finished", "failed"]
_FORMAT = "charlm.run/1"


class CorpusIdentity(TypedDict):
    """Which text a run is trained on."""

    name: str
    revision: int
    fingerprint: str


class DictionaryIdentity(TypedDict):
    """Which dictionary a run encodes the text with."""

    fingerprint: str
    size: int


class RunResult(TypedDict, total=False):
    """What a run has produced; empty until it is finished."""

    valid: ScoreValues
    test: ScoreValues
    characters: int
    seconds: float
    characters_per_second: float
    units_per_second: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class RunManifest:
    """The content of run.json. Its paths are relative to the run folder, so that a copied workspace still works."""

    config: RunConfig
    fingerprint: str
    state: RunState
    corpus: CorpusIdentity
    dictionary: DictionaryIdentity
    result: RunResult = field(default_factory=lambda: RunResult())
    """Scores of the best model and throughput; empty until the run is finished."""

    libraries: dict[str, str] = field(default_factory=dict)
    """Versions that the run was trained with."""

    @classmethod
    def load(cls, files: RunFiles) -> Self:
        """The manifest of a run; raises RunError when there is none, or it is damaged."""
        if not files.manifest.is_file():
            raise RunError(f"{files.root} is no training run: it has no {files.manifest.name}")
        values = read_json(files.manifest, remedy="restore it, or delete the run and train again", error=RunError)
        if not isinstance(values, dict) or values.pop("format", None) != _FORMAT:
            raise RunError(f"{files.manifest} is not the manifest of a run")
        try:
            config = RunConfig.from_json(values.pop("config"))
            return cls(config=config, **values)
        except (KeyError, TypeError, AttributeError, ConfigError) as error:
            raise RunError(f"{files.manifest} is not the manifest of a run: {error}") from error

    def save(self, files: RunFiles) -> None:
        values = {field_name: value for field_name, value in asdict(self).items() if field_name != "config"}
        write_json(files.manifest, {"format": _FORMAT, **values, "config": self.config.to_json()})

    def resolved_config(self, files: RunFiles) -> RunConfig:
        """The configuration with absolute paths."""
        return self.config.resolved(files.root.resolve())


def corpus_identity(corpus: CorpusFiles) -> CorpusIdentity:
    """Name, revision and fingerprint of a corpus; a bare folder of split files has revision 0."""
    if corpus.manifest.is_file():
        manifest = load_manifest(corpus)
        return {"name": corpus.name, "revision": manifest.revision, "fingerprint": manifest.fingerprint}
    files = [*corpus.shards(), corpus.valid, corpus.test]
    for path in files:
        if not path.is_file():
            raise CorpusError(f"{corpus.root} is no corpus: {path} is missing")
    digests = {path.name: sha256_of(path) for path in files}
    return {"name": corpus.name, "revision": 0, "fingerprint": fingerprint(digests)}


def plan_run(config: RunConfig, dictionary: Dictionary) -> RunManifest:
    """The manifest that a run of `config` (absolute paths) would start with."""
    corpus = corpus_identity(CorpusFiles(Path(config.corpus_dir)))
    initial = None if config.initial_model is None else sha256_of(Path(config.initial_model))
    identity: dict[str, object] = {
        "corpus": corpus["fingerprint"],
        "dictionary": dictionary.fingerprint,
        "direction": config.direction,
        "training": config.training.to_json(),
        "initial_model": initial,
    }
    if config.known_revision is not None:
        identity["known_revision"] = config.known_revision
    return RunManifest(
        config=config.relocatable(Path(config.run_dir)),
        fingerprint=fingerprint(identity),
        state="created",
        corpus=corpus,
        dictionary={"fingerprint": dictionary.fingerprint, "size": len(dictionary)},
    )


def create_run(config: RunConfig, dictionary: Dictionary) -> RunFiles:
    """Make the run folder with its manifest; raises RunError when the folder already holds a run."""
    files = RunFiles(Path(config.run_dir))
    if files.manifest.exists():
        raise RunError(f"{files.root} already holds a run; resume it or give the new one another folder")
    plan_run(config, dictionary).save(files)
    return files


def new_run_name(corpus: str, direction: str, recipe: str) -> str:
    """A unique name that sorts by time: `python-docs-forward-demo-20260131-235959-1f2e`."""
    return f"{corpus}-{direction}-{recipe}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"


def find_runs(workspace: Workspace, fingerprint: str) -> list[RunFiles]:
    """The runs with this fingerprint, newest first."""
    found = []
    for path in workspace.run_manifests():
        files = RunFiles(path.parent)
        try:
            manifest = RunManifest.load(files)
        except (RunError, CorpusError, ConfigError, TypeError):  # of another version, or damaged: it cannot be reused
            continue
        if manifest.fingerprint == fingerprint:
            found.append(workspace.run(files.name))
    return sorted(found, key=lambda files: (files.manifest.stat().st_mtime_ns, files.name), reverse=True)


def mark(
    files: RunFiles, state: RunState, *, result: RunResult | None = None, libraries: dict[str, str] | None = None
) -> None:
    """Write the manifest again with another state, and with the result or the libraries where they are given."""
    manifest = replace(RunManifest.load(files), state=state)
    if result is not None:
        manifest = replace(manifest, result=result)
    if libraries is not None:
        manifest = replace(manifest, libraries=libraries)
    manifest.save(files)
