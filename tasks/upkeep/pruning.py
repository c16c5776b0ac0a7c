"""Remove what a workspace no longer needs: old versions and their runs, checkpoints of finished runs, old encoded text.

In an object store, the content that no corpus and no run names then goes last (charlm/remote/sweeping.py).

Reads  the registry, runs/*/run.json, corpora/NAME/dictionary
Writes nothing until `remove`; then versions, their artifacts, run folders, checkpoints and encoded text are gone

Kept are champions and their parents (tasks/upkeep/keeping.py), every run that is not finished with all it needs, and
every finished run that no version was made from: it is the only copy of its model.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

from charlm.artifacts import RunFiles, Workspace
from charlm.data.dictionary import Dictionary
from charlm.errors import CharLMError, ConfigError, RunError
from charlm.remote.sweeping import Sweeper
from charlm.remote.workspace import RemoteWorkspace, contents
from charlm.storage.locks import exclusive_lock
from charlm.trainers.lm.manifest import RunManifest
from tasks.promotion.gate import REPLACED
from tasks.registry.download import read_manifest
from tasks.registry.versions import (
    CHAMPION,
    RegisteredVersion,
    all_versions,
    clear_errors,
    find_registered_model,
    logged_model_id,
    parents_and_language_models,
)
from tasks.services.mlflow_compat import delete_artifacts
from tasks.terminal import counted
from tasks.tracking.client import mlflow_client
from tasks.upkeep.keeping import VersionFacts, kept_versions

Kind = Literal["version", "run", "checkpoint", "encoded text", "content"]


class RemovalJson(TypedDict):
    """What `--json` shows of a removal."""

    kind: Kind
    name: str
    bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Removal:
    """One thing that can go."""

    kind: Kind
    name: str
    path: Path | None = None
    """The file or folder; none where it is a registered version."""

    version: RegisteredVersion | None = None
    report: Path | None = None
    """The page about the version, which goes with it."""

    unit: Path | None = None
    """The folder of the corpus or run that the file or folder belongs to; none where it is the whole."""

    size: int | None = None
    """Bytes of its files; none where they are on a server."""

    def to_json(self) -> RemovalJson:
        return {"kind": self.kind, "name": self.name, "bytes": self.size}


@dataclass(frozen=True, kw_only=True)
class PruningPlan:
    """What can go, in the order in which it goes: nothing is left that names something that is gone."""

    removals: list[Removal]
    place: str
    """The folder or address of the workspace."""

    in_use: list[str] = field(default_factory=list)
    """What could go and is being written at the moment."""

    @property
    def num_bytes(self) -> int:
        """Bytes that become free; those of an object store do where content goes."""
        content = [removal.size or 0 for removal in self.removals if removal.kind == "content"]
        return sum(content) if content else sum(removal.size or 0 for removal in self.removals)


def plan_pruning(workspace: Workspace, name: str | None, *, newest: int) -> PruningPlan:
    """What can go of the model and corpus `name`, or of every corpus of the workspace.

    `newest` versions before the champion are kept beside it. Raises ConfigError when there is nothing of this name.
    """
    place = workspace.address if isinstance(workspace, RemoteWorkspace) else str(workspace.root)
    names = workspace.corpus_names() if name is None else [name]
    removals: list[Removal] = []
    for one in names:
        with clear_errors(f"cannot look up {one}"):
            model = find_registered_model(one)
        is_corpus = one in workspace.corpus_names()
        if model is None and not is_corpus:
            raise ConfigError(f"there is no registered model and no corpus {one!r} in {place}")
        gone = [] if model is None else _old_versions(one, dict(model.aliases), newest)
        removals += [_version(workspace, version) for version in gone]
        removals += _runs_of(workspace, one, gone)
        if is_corpus:
            removals += _finished_checkpoints(workspace, one, {removal.name for removal in removals})
            removals += _old_encodings(workspace, one)
    free = [removal for removal in removals if not _is_in_use(removal)]
    in_use = [removal.name for removal in removals if removal not in free]
    if isinstance(workspace, RemoteWorkspace):
        free += _unnamed_content(workspace, free)
    return PruningPlan(removals=free, in_use=in_use, place=place)


def remove(workspace: Workspace, removal: Removal) -> None:
    """Carry a removal out; raises RegistryError when MLflow does not, RunError when the run is in use meanwhile."""
    if removal.version is not None:
        _delete_version(removal.version)
        if removal.report is not None:
            _delete(workspace, removal.report.parent)
    elif removal.kind == "run" and removal.path is not None and removal.path.is_dir():
        with exclusive_lock(RunFiles(removal.path).lock, busy=f"{removal.path} is being trained"):
            _delete(workspace, removal.path)
    elif removal.path is not None:
        _delete(workspace, removal.path, removal.unit)
    elif isinstance(workspace, RemoteWorkspace):
        _sweeper(workspace).sweep()


def _delete(workspace: Workspace, path: Path, unit: Path | None = None) -> None:
    """Delete a file or folder of a unit, or the unit itself; also where it is gone already."""
    if isinstance(workspace, RemoteWorkspace):
        workspace.replica.forget((unit or path).relative_to(workspace.root).as_posix(), path)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# ---- versions ------------------------------------------------------------------------------------------------------


def _old_versions(name: str, aliases: dict[str, int | str], newest: int) -> list[RegisteredVersion]:
    versions = all_versions(name)
    of_number: dict[int, list[str]] = {}
    for alias, number in aliases.items():
        of_number.setdefault(int(number), []).append(alias)
    facts = [
        VersionFacts(
            number=version.version,
            is_champion=CHAMPION in of_number.get(version.version, []),
            aliases=of_number.get(version.version, []),
            parent=_number(tags.get("parent.version", "")),
            replaced=_number(tags.get(REPLACED, "")),
        )
        for version, tags in versions
    ]
    needed = {version.version for version in parents_and_language_models() if version.name == name}
    kept = kept_versions(facts, newest=newest, needed=needed)
    return [version for version, _ in versions if version.version not in kept]


def _number(tag: str) -> int | None:
    """The version of the same model in a tag; none for `none` and for `general/3`."""
    return int(tag) if tag.isdecimal() else None


def _version(workspace: Workspace, version: RegisteredVersion) -> Removal:
    folder = _artifact_folder(workspace, version)
    return Removal(
        kind="version",
        name=version.address,
        version=version,
        report=Workspace(workspace.root).report(version.name, version.version),
        size=None if folder is None else _size(folder),
    )


def _artifact_folder(workspace: Workspace, version: RegisteredVersion) -> Path | None:
    """The folder of a version's files, where it is in the workspace."""
    model_id = logged_model_id(version)
    folder = workspace.mlflow_artifacts_dir / "models" / str(model_id)
    return folder if model_id is not None and folder.is_dir() else None


def _delete_version(version: RegisteredVersion) -> None:
    with clear_errors(f"cannot delete {version.address}"):
        client = mlflow_client()
        model_id = logged_model_id(version)
        client.delete_model_version(version.name, str(version.version))
        if model_id is not None:
            location = client.get_logged_model(model_id).artifact_location
            client.delete_logged_model(model_id)
            delete_artifacts(location)


# ---- content in an object store -------------------------------------------------------------------------------------


def _unnamed_content(workspace: RemoteWorkspace, removals: Sequence[Removal]) -> Iterator[Removal]:
    """The content that nothing names when `removals` are gone."""
    folders = [removal.path for removal in removals if removal.path is not None]
    folders += [removal.report.parent for removal in removals if removal.report is not None]
    going = {path.relative_to(workspace.root).as_posix() for path in folders}
    sweep = _sweeper(workspace).plan(without=going)
    if sweep.sizes:
        name = f"{counted(len(sweep.sizes), 'object')} that no corpus and no run needs"
        yield Removal(kind="content", name=name, size=sweep.num_bytes)


def _sweeper(workspace: RemoteWorkspace) -> Sweeper:
    return Sweeper(workspace.replica.store, workspace.replica.catalogue)


# ---- runs and encoded text -----------------------------------------------------------------------------------------


def _runs_of(workspace: Workspace, name: str, gone: Sequence[RegisteredVersion]) -> Iterator[Removal]:
    """The run folders that only versions that go were made from."""
    used = _runs_by_version(name)
    kept = {run for version, runs in used.items() if version not in gone for run in runs}
    for run in sorted({run for version in gone for run in used.get(version, [])} - kept):
        path = workspace.runs_dir / run
        if files := contents(workspace, path):
            yield Removal(kind="run", name=run, path=path, size=sum(files.values()))


def _runs_by_version(name: str) -> dict[RegisteredVersion, list[str]]:
    """The run folders that each version was made from; empty where its manifest cannot be read."""
    found = {}
    for version, tags in all_versions(name):
        if folder := tags.get("task.fingerprint"):  # of a tagger or classifier: the name of its run folder
            found[version] = [folder]
            continue
        try:
            found[version] = list(read_manifest(version).get("runs", {}).values())
        except CharLMError:
            found[version] = []
    return found


def _finished_checkpoints(workspace: Workspace, name: str, gone: set[str]) -> Iterator[Removal]:
    """The checkpoints of finished runs of a corpus; nothing is left to continue there."""
    for files, manifest in _runs_on(workspace, name):
        if manifest.state == "finished" and files.name not in gone:
            path = files.checkpoint
            if (size := contents(workspace, files.root).get(path)) is not None:
                yield Removal(
                    kind="checkpoint", name=f"{files.name}/{path.name}", path=path, unit=files.root, size=size
                )


def _old_encodings(workspace: Workspace, name: str) -> Iterator[Removal]:
    """Encoded text under a dictionary that the corpus has no more, and that no unfinished run was begun with."""
    corpus = Workspace(workspace.root).corpus(name)
    files = contents(workspace, corpus.root)
    if isinstance(workspace, RemoteWorkspace):
        dictionary = corpus.dictionary.relative_to(corpus.root).as_posix()
        workspace.replica.fetch(f"corpora/{name}", only=dictionary.__eq__)
    needed = {
        manifest.dictionary["fingerprint"] for _, manifest in _runs_on(workspace, name) if manifest.state != "finished"
    }
    if corpus.dictionary.is_file():
        needed.add(Dictionary.load_from_file(corpus.dictionary).fingerprint)
    encoded = [path for path in files if corpus.encoded_root in path.parents]
    for folder in sorted({corpus.encoded_root / path.relative_to(corpus.encoded_root).parts[0] for path in encoded}):
        if folder.name not in needed:
            size = sum(files[path] for path in encoded if folder in path.parents)
            yield Removal(kind="encoded text", name=f"{name}/{folder.name}", path=folder, unit=corpus.root, size=size)


def _runs_on(workspace: Workspace, name: str) -> Iterator[tuple[RunFiles, RunManifest]]:
    """The runs of a corpus whose manifests can be read; others are left alone."""
    for path in workspace.run_manifests():
        files = RunFiles(path.parent)
        try:
            manifest = RunManifest.load(files)
        except CharLMError:
            continue
        if manifest.corpus["name"] == name:
            yield files, manifest


def _is_in_use(removal: Removal) -> bool:
    """True for a run folder, or a file in one, that a training holds."""
    if removal.path is None or removal.kind == "encoded text":
        return False
    folder = removal.unit or removal.path
    if not folder.is_dir():  # another machine has it
        return False
    try:
        with exclusive_lock(RunFiles(folder).lock, busy="in use"):
            return False
    except RunError:
        return True


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
