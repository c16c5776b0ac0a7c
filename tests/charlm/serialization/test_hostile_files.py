"""Files that would run a command, or are damaged on purpose, in every place where a command reads one.

Each gets one line that names the file and exit code 2; nothing is executed, and nothing is written.
"""

import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from charlm.artifacts import BundleFiles, CorpusFiles, RunFiles, Workspace
from charlm.serialization.bundle import write_bundle
from charlm.serialization.flair_file import read_flair_file, write_flair_file
from charlm.storage.atomic import write_json
from charlm.trainers.lm.manifest import mark
from flows.cli.app import main
from tests.conftest import QUICK, TrainedWorkspace


class RunsACommand:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.proof}'",)


class TouchesAFile:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.proof,)


EXPLOITS = (RunsACommand, TouchesAFile)


@pytest.fixture
def proof(tmp_path: Path) -> Iterator[Path]:
    """The file that an exploit would make; it must not be there in the end."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """What a command sets for its libraries does not outlast the test."""
    saved = dict(os.environ)
    for name in saved:
        if name.startswith(("CHARLM_", "MLFLOW_", "PREFECT_")):
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(saved)


@pytest.mark.parametrize("exploit", EXPLOITS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_the_exploits_are_real(exploit: type, protocol: int, tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(exploit(tmp_path / "proof"), protocol))
    assert (tmp_path / "proof").exists()


# ---- the hostile files ---------------------------------------------------------------------------------------------


def inside_an_archive(valid: bytes, exploit: object, folder: Path) -> bytes:
    """A model file whose pickle is `exploit` and whose tensors are those of the `valid` one."""
    original, path = folder / "valid.zip", folder / "exploit.zip"
    original.write_bytes(valid)
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, pickle.dumps(exploit, 2) if name.endswith("data.pkl") else source.read(name))
    return path.read_bytes()


def with_wrong_shapes(best_lm: Path, folder: Path) -> bytes:
    """The model, declaring a hidden size that its tensors do not have."""
    state = read_flair_file(best_lm)
    object.__setattr__(state.config, "hidden_size", 17)
    write_flair_file(state, folder / "wrong.pt")
    return (folder / "wrong.pt").read_bytes()


MODEL_FILES: dict[str, Callable[[Path, Path, Path], bytes]] = {
    "a command": lambda best_lm, proof, folder: pickle.dumps(RunsACommand(proof)),
    "a touch": lambda best_lm, proof, folder: pickle.dumps(TouchesAFile(proof), 0),
    "a command in an archive": lambda best_lm, proof, folder: inside_an_archive(
        best_lm.read_bytes(), {"state_dict": RunsACommand(proof), "dictionary": {}}, folder
    ),
    "a touch saved by torch": lambda best_lm, proof, folder: saved_by_torch(TouchesAFile(proof), folder),
    "a cut archive": lambda best_lm, proof, folder: best_lm.read_bytes()[: best_lm.stat().st_size // 2],
    "wrong shapes": lambda best_lm, proof, folder: with_wrong_shapes(best_lm, folder),
}


def saved_by_torch(value: object, folder: Path) -> bytes:
    torch.save({"model": value}, folder / "torch.pt")
    return (folder / "torch.pt").read_bytes()


def with_huge_header(content: bytes) -> bytes:
    return struct.pack("<Q", 10 * 10**9) + content[8:]


def with_wrong_tensor(content: bytes, folder: Path) -> bytes:
    (folder / "wrong.safetensors").write_bytes(content)
    return save(load_file(folder / "wrong.safetensors") | {"encoder.weight": torch.zeros(3, 2)})


# Part of a bundle, and what stands in its place.
BUNDLE_PARTS: dict[str, tuple[str, Callable[[bytes, Path, Path], bytes]]] = {
    "a command as manifest": ("bundle.json", lambda content, proof, folder: pickle.dumps(RunsACommand(proof))),
    "a manifest of nothing": ("bundle.json", lambda content, proof, folder: b"[]"),
    "a command as dictionary": ("dictionary.json", lambda content, proof, folder: pickle.dumps(RunsACommand(proof))),
    "a touch as dictionary": ("dictionary.json", lambda content, proof, folder: pickle.dumps(TouchesAFile(proof), 0)),
    "a dictionary of numbers": (
        "dictionary.json",
        lambda content, proof, folder: json.dumps(json.loads(content) | {"items": [1, 2]}).encode(),
    ),
    "a command as config": ("forward/config.json", lambda content, proof, folder: pickle.dumps(RunsACommand(proof))),
    "a config too large": (
        "forward/config.json",
        lambda content, proof, folder: json.dumps(json.loads(content) | {"hidden_size": 10**12}).encode(),
    ),
    "a config nested too deep": ("forward/config.json", lambda content, proof, folder: b"[" * 100_000),
    "a command as weights": (
        "forward/model.safetensors",
        lambda content, proof, folder: pickle.dumps(RunsACommand(proof)),
    ),
    "a header of ten gigabytes": (
        "forward/model.safetensors",
        lambda content, proof, folder: with_huge_header(content),
    ),
    "weights cut short": ("forward/model.safetensors", lambda content, proof, folder: content[:-100]),
    "weights of another shape": (
        "forward/model.safetensors",
        lambda content, proof, folder: with_wrong_tensor(content, folder),
    ),
}


# ---- commands that take a model ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where the commands work."""

    workspace: Path
    text: Path
    output: Path


@pytest.fixture
def place(trained_workspace: TrainedWorkspace, tmp_path: Path) -> Place:
    return Place(trained_workspace.root, trained_workspace.text, tmp_path / "output")


COMMANDS: dict[str, Callable[[str, Place], list[str]]] = {
    "evaluate": lambda model, place: ["evaluate", model, str(place.text)],
    "embed": lambda model, place: ["embed", model, str(place.text), "--output", str(place.output / "v.parquet")],
    "generate": lambda model, place: ["generate", model],
    "export": lambda model, place: ["export", model, "--output", str(place.output / "exported")],
    "finetune": lambda model, place: ["finetune", "tiny", "--from", model, *QUICK],
}


def refusal(arguments: list[str], workspace: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the command ends with, in this process; it must end with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--workspace", str(workspace), "--json"])
    captured = capsys.readouterr()
    assert ended.value.code == 2
    (line,) = captured.out.splitlines()
    error: str = json.loads(line)["error"]
    assert "\n" not in error
    assert captured.err.splitlines()[-1] == f"error: {error}"
    assert "Traceback" not in captured.err
    return error


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    files = ((path, path.stat()) for path in folder.rglob("*"))
    return {path: (status.st_size, status.st_mtime_ns) for path, status in files}


def check_refused(command: str, model: Path, named: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(place.workspace)
    assert named in refusal(COMMANDS[command](str(model), place), place.workspace, capsys)
    assert snapshot(place.workspace) == before
    assert not list(place.output.rglob("*"))


def best_lm_of(workspace: Path) -> Path:
    return RunFiles(next(workspace.glob("runs/tiny-forward-*"))).best_lm


@pytest.mark.parametrize("hostile", MODEL_FILES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_hostile_model_file_is_refused(
    command: str, hostile: str, place: Place, proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = MODEL_FILES[hostile](best_lm_of(place.workspace), proof, tmp_path)
    run = tmp_path / "tiny-forward-evil"
    run.mkdir()
    (run / "best-lm.pt").write_bytes(content)
    for model in (run / "best-lm.pt", run):
        check_refused(command, model, str(run / "best-lm.pt"), place, capsys)


@pytest.fixture
def bundle(trained_workspace: TrainedWorkspace, tmp_path: Path) -> Path:
    (original,) = trained_workspace.root.glob("mlartifacts/**/bundle.json")
    return Path(shutil.copytree(original.parent, tmp_path / "bundle"))


@pytest.mark.parametrize("hostile", BUNDLE_PARTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_hostile_part_of_a_bundle_is_refused(
    command: str,
    hostile: str,
    bundle: Path,
    place: Place,
    proof: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, make = BUNDLE_PARTS[hostile]
    (bundle / name).write_bytes(make((bundle / name).read_bytes(), proof, tmp_path))
    for model in (bundle, bundle / "forward"):
        check_refused(command, model, str(bundle / name), place, capsys)


@pytest.mark.parametrize("command", ["evaluate", "embed", "generate", "export"])
def test_the_file_for_flair_in_a_bundle_is_never_read(
    command: str, bundle: Path, place: Place, proof: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    BundleFiles(bundle).best_lm("forward").write_bytes(pickle.dumps(RunsACommand(proof)))
    with pytest.raises(SystemExit) as ended:
        main([*COMMANDS[command](str(bundle), place), "--workspace", str(place.workspace), "--json"])
    assert ended.value.code == 0


def with_info(best_lm: Path, folder: Path, info: dict[str, Any]) -> Path:
    """A sound bundle of a model, whose manifest says `info` about where it comes from."""
    write_bundle(folder, {"forward": read_flair_file(best_lm)}, {})
    manifest = BundleFiles(folder).manifest
    write_json(manifest, json.loads(manifest.read_text()) | info)
    return folder


NONSENSE = [{"corpus": "x"}, {"corpus": {"name": "../../x"}}, {"corpus": {"name": ["x"]}}]


@pytest.mark.parametrize("info", NONSENSE, ids=str)
def test_an_origin_that_is_nonsense_is_refused_before_a_training(
    info: dict[str, Any], place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = with_info(best_lm_of(place.workspace), tmp_path / "bundle", info)
    check_refused("finetune", bundle, str(bundle / "bundle.json"), place, capsys)


@pytest.mark.parametrize("info", [*NONSENSE, {"scores": [1]}, {"library_versions": 3}, {"recipe": {}}], ids=str)
def test_what_a_manifest_says_about_its_origin_cannot_stop_an_export(
    info: dict[str, Any], place: Place, tmp_path: Path
) -> None:
    bundle = with_info(best_lm_of(place.workspace), tmp_path / "bundle", info)
    with pytest.raises(SystemExit) as ended:
        main([*COMMANDS["export"](str(bundle), place), "--workspace", str(place.workspace), "--card"])
    assert ended.value.code == 0


# ---- the registry --------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(trained_workspace: TrainedWorkspace, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_workspace.root, tmp_path / "workspace"))


@pytest.mark.service
@pytest.mark.parametrize("hostile", ["a command as dictionary", "a command as weights", "a header of ten gigabytes"])
def test_a_hostile_registered_model_is_refused_by_every_command(
    hostile: str, copy: Path, place: Place, proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (manifest,) = copy.glob("mlartifacts/**/bundle.json")
    name, make = BUNDLE_PARTS[hostile]
    part = manifest.parent / name
    part.write_bytes(make(part.read_bytes(), proof, tmp_path))
    for command in COMMANDS.values():
        assert part.name in refusal(command("models:/tiny/1", place), copy, capsys)
    assert not list(place.output.rglob("*"))


# ---- runs ----------------------------------------------------------------------------------------------------------


def checkpoint_with(content: bytes, folder: Path, **changed: Any) -> bytes:
    (folder / "original.pt").write_bytes(content)
    values = torch.load(folder / "original.pt", weights_only=True)
    torch.save(values | changed, folder / "changed.pt")
    return (folder / "changed.pt").read_bytes()


CHECKPOINTS: dict[str, Callable[[bytes, Path, Path], bytes]] = {
    "a command": lambda content, proof, folder: pickle.dumps(RunsACommand(proof)),
    "a touch saved by torch": lambda content, proof, folder: saved_by_torch(TouchesAFile(proof), folder),
    "a command in an archive": lambda content, proof, folder: inside_an_archive(content, RunsACommand(proof), folder),
    "a cut archive": lambda content, proof, folder: content[: len(content) // 2],
    "wrong shapes": lambda content, proof, folder: checkpoint_with(content, folder, model={"encoder.weight": _ONES}),
    "progress of another kind": lambda content, proof, folder: checkpoint_with(content, folder, progress={"x": 1}),
    "settings of another kind": lambda content, proof, folder: checkpoint_with(content, folder, config=[1]),
    "a number for tensors": lambda content, proof, folder: checkpoint_with(content, folder, random_state=3),
}
_ONES = torch.ones(3, 2)


def unfinished_run(workspace: Path) -> RunFiles:
    """The finished forward run, as if it had been interrupted after its last checkpoint."""
    run = RunFiles(next(workspace.glob("runs/tiny-forward-*")))
    mark(run, "interrupted")
    return run


@pytest.mark.service
@pytest.mark.parametrize("hostile", CHECKPOINTS)
def test_a_hostile_checkpoint_is_refused_by_resume(
    hostile: str, copy: Path, proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = unfinished_run(copy)
    content = CHECKPOINTS[hostile](run.checkpoint.read_bytes(), proof, tmp_path)
    run.checkpoint.write_bytes(content)
    best = run.best_lm.read_bytes()
    error = refusal(["train", "tiny", *QUICK, "--direction", "forward", "--resume"], copy, capsys)
    assert str(run.checkpoint) in error
    assert run.checkpoint.read_bytes() == content
    assert run.best_lm.read_bytes() == best
    assert len(list(copy.glob("runs/tiny-forward-*"))) == 1


@pytest.mark.service
def test_a_hostile_best_model_is_not_registered(copy: Path, proof: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = best_lm_of(copy)
    best.write_bytes(pickle.dumps(RunsACommand(proof)))
    assert str(best) in refusal(["train", "tiny", *QUICK, "--resume"], copy, capsys)
    assert len(list(copy.glob("mlartifacts/**/bundle.json"))) == 1


@pytest.mark.parametrize(
    "content", [b"\x80\x04N.", b"[]", b'{"format": "charlm.run/1"}', b'{"format": "charlm.run/1", "config": {"a": 1}}']
)
def test_a_run_that_says_nonsense_is_refused(
    content: bytes, copy: Path, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFiles(next(copy.glob("runs/tiny-forward-*")))
    run.manifest.write_bytes(content)
    assert str(run.manifest) in refusal(["export", str(run.root), "--output", str(place.output)], copy, capsys)
    assert not place.output.exists()


# ---- dictionaries --------------------------------------------------------------------------------------------------


@pytest.mark.service
@pytest.mark.parametrize("command", ["train", "prepare", "plan"])
def test_a_hostile_dictionary_of_a_corpus_is_refused(
    command: str, copy: Path, place: Place, proof: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dictionary = CorpusFiles(copy / "corpora" / "tiny").dictionary
    dictionary.write_bytes(pickle.dumps(RunsACommand(proof)))
    arguments = {
        "train": ["train", "tiny", *QUICK],
        "plan": ["plan", "tiny", *QUICK],
        "prepare": ["prepare", str(place.text), "--name", "tiny"],
    }[command]
    num_runs = len(list(Workspace(copy).runs_dir.iterdir()))
    assert str(dictionary) in refusal(arguments, copy, capsys)
    assert len(list(Workspace(copy).runs_dir.iterdir())) == num_runs
