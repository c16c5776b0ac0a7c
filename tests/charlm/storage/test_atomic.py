"""Files and folders are there whole at every moment, and a damaged one is reported for what it is."""

import json
from pathlib import Path

import pytest

from charlm.artifacts import BundleFiles, CorpusFiles, RunFiles, Workspace
from charlm.errors import CharLMError, CorpusError, RunError
from charlm.storage import atomic
from charlm.storage.atomic import atomic_folder, atomic_write, read_json, syncing_together, write_text
from charlm.text.corpus.manifest import load_manifest
from charlm.trainers.lm.manifest import RunManifest
from tasks.registry.descriptions import version_description
from tasks.retraining.inbox import unseen_files


def fill(folder: Path, text: str) -> None:
    with atomic_folder(folder) as new:
        (new / "file").write_text(text)


@pytest.fixture(params=["one step", "two renames"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How folders are exchanged: as on most file systems, or as on those that cannot do it at once."""
    if request.param == "two renames":
        monkeypatch.setattr(atomic, "_renameat2", lambda new, old: False)
    return request.param


def test_a_folder_replaces_the_old_one_and_leaves_nothing_else(exchange: str, tmp_path: Path) -> None:
    for text in ("old", "new"):
        fill(tmp_path / "folder", text)
    assert (tmp_path / "folder" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_old_folder_stays_when_the_new_one_fails(exchange: str, tmp_path: Path) -> None:
    fill(tmp_path / "folder", "old")
    with pytest.raises(IsADirectoryError), atomic_folder(tmp_path / "folder") as new:
        new.write_text("no file")
    assert (tmp_path / "folder" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_there_is_no_moment_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step that a process could be killed after is looked at."""
    fill(tmp_path / "folder", "old")
    seen = []

    def look(step):
        def looked(*args, **kwargs):
            result = step(*args, **kwargs)
            seen.append((tmp_path / "folder" / "file").exists())
            return result

        return looked

    monkeypatch.setattr(Path, "replace", look(Path.replace))
    monkeypatch.setattr(atomic, "_renameat2", look(atomic._renameat2))
    monkeypatch.setattr(atomic.shutil, "rmtree", look(atomic.shutil.rmtree))
    fill(tmp_path / "folder", "new")
    assert seen
    assert all(seen)


def test_a_failed_second_rename_brings_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "folder", "old")
    monkeypatch.setattr(atomic, "_renameat2", lambda new, old: False)
    replace, calls = Path.replace, []

    def fail_once(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_once)
    with pytest.raises(OSError, match="No space"):
        fill(tmp_path / "folder", "new")
    assert (tmp_path / "folder" / "file").read_text() == "old"


# ---- damaged JSON --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"a": ', b"[" * 100_000])
def test_a_damaged_file_is_named_with_what_to_do(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "some.json").write_bytes(content)
    with pytest.raises(RunError, match=r"some\.json is damaged \(.*\); do this") as caught:
        read_json(tmp_path / "some.json", remedy="do this", error=RunError)
    assert "\n" not in str(caught.value)


def damaged(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, '{"format": ')
    return path


def test_each_kind_of_damaged_file_has_its_own_remedy(tmp_path: Path) -> None:
    """A run, a bundle and an inbox are no corpus, and nothing makes them anew when they are deleted."""
    run, bundle = RunFiles(tmp_path / "run"), BundleFiles(tmp_path / "bundle")
    corpus, workspace = CorpusFiles(tmp_path / "corpora" / "news"), Workspace(tmp_path)
    for path in (run.manifest, bundle.manifest, bundle.card, corpus.manifest, workspace.inbox_memory):
        damaged(path)
    said = {}
    for name, read in {
        "run.json": lambda: RunManifest.load(run),
        "bundle.json": lambda: version_description(bundle, None, None) and read_bundle_manifest(bundle),
        "inbox.json": lambda: unseen_files(workspace, []),
        "corpus.json": lambda: load_manifest(corpus),
    }.items():
        with pytest.raises(CharLMError, match=f"{name} is damaged") as caught:
            read()
        said[name] = caught.value
    assert isinstance(said["run.json"], RunError)
    assert isinstance(said["corpus.json"], CorpusError)
    assert "train again" in str(said["run.json"])
    assert "fetch the bundle again" in str(said["bundle.json"])
    assert "count as new" in str(said["inbox.json"])
    assert "prepare the text again" in str(said["corpus.json"])
    assert not any("anew" in str(error) for error in said.values())


def read_bundle_manifest(bundle: BundleFiles) -> object:
    from tasks.training.finetuning import _origin

    return _origin(bundle.root)


def test_json_is_written_to_be_read_by_people(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "a.json", {"b": ["ß"], "a": 1})
    assert (tmp_path / "a.json").read_text() == '{\n  "b": [\n    "ß"\n  ],\n  "a": 1\n}\n'
    assert json.loads((tmp_path / "a.json").read_text()) == read_json(tmp_path / "a.json")


# ---- many files ----------------------------------------------------------------------------------------------------


def test_files_that_are_synced_together_have_their_names_when_the_block_ends(tmp_path: Path) -> None:
    with syncing_together():
        for number in range(100):
            write_text(tmp_path / f"folder-{number % 3}" / f"{number}", f"text {number}")
    found = {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {f"{number}": f"text {number}" for number in range(100)}


def test_an_error_among_them_keeps_the_whole_ones_and_nothing_else(tmp_path: Path) -> None:
    def write_some() -> None:
        with syncing_together():
            write_text(tmp_path / "first", "whole")
            with atomic_write(tmp_path / "second") as file:
                file.write(b"half of")
                raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        write_some()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"first": "whole"}


def test_a_name_that_cannot_be_given_is_an_error_of_the_block(tmp_path: Path) -> None:
    def write_both() -> None:
        with syncing_together():
            write_text(tmp_path / "taken", "text")
            write_text(tmp_path / "free", "text")

    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        write_both()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["free", "taken"]
