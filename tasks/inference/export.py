"""Write a model for others: Flair's files, a bundle of safetensors and JSON, or graphs that are read without torch."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.artifacts import BundleFiles, RunFiles, Workspace
from charlm.config import CorpusMetadata
from charlm.errors import ConfigError, ModelFileError, SourceError
from charlm.storage.atomic import JsonObject, atomic_folder
from charlm.storage.user_paths import user_path
from charlm.text.corpus.manifest import load_manifest
from charlm.trainers.lm.manifest import RunManifest
from tasks.registry.download import open_model
from tasks.registry.onnx_export import write_exported

if TYPE_CHECKING:
    from charlm.language_models.language_model import LanguageModel
    from tasks.promotion.probe import Probe

FORMATS = ("flair", "safetensors", "onnx")
_COMPUTED = ("format", "fingerprint", "dictionary", "models")  # the keys of a manifest that write_bundle computes


@dataclass(frozen=True, kw_only=True)
class OnnxSettings:
    """How a model is written as ONNX, and what its vectors are compared on."""

    int8: bool = False
    """Weights of 8 bits; of an LSTM only."""

    held_out: str | None = None
    """A text that the model was not trained on, UTF-8; by default the validation text of its corpus."""

    probe: "Probe | None" = None
    """Labelled data to train a small tagger on."""

    def held_out_of(self, workspace: Workspace, info: Mapping[str, object]) -> Path | None:
        """The held-out text of a model; none where it is not known, which is an error with `int8`."""
        if self.held_out is not None:
            path = user_path(self.held_out)
            if not path.is_file():
                raise SourceError(f"there is no text file {self.held_out!r} to compare vectors on")
            return path
        known = info.get("corpus")
        if (
            isinstance(known, Mapping)
            and (text := workspace.corpus(str(known.get("name")), train_text=False).valid).is_file()
        ):
            return text
        if self.int8:
            raise ConfigError(
                "--int8 measures what it costs, and the corpus of this model is not in the workspace; give a text that "
                "the model was not trained on with --held-out TEXT"
            )
        return None


@dataclass(frozen=True)
class Exported:
    """The files that were written, and what the export changes of the vectors, where that was measured."""

    files: list[Path]
    loss: JsonObject

    def to_json(self) -> JsonObject:
        return {"files": [str(file) for file in self.files]} | ({"loss": self.loss} if self.loss else {})


def export_model(
    workspace: Workspace,
    model: str,
    output: Path,
    *,
    model_format: str,
    with_card: bool = False,
    metadata: CorpusMetadata = CorpusMetadata(),  # noqa: B008  # never changed
    onnx: OnnxSettings = OnnxSettings(),
) -> Exported:
    """Write every direction of `model` to the folder `output`.

    `flair` gives `forward/best-lm.pt` and so on, which Flair opens, and the model card if requested; `safetensors`
    gives a whole bundle; `onnx` what charlm/runtime reads. What `metadata` has is written to card and manifest, in
    place of what is known. Raises ConfigError for another format, or when `output` already holds something.
    """
    if model_format not in FORMATS:
        raise ConfigError(f"--format is {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, got {model_format!r}")
    if model_format != "onnx" and onnx != OnnxSettings():
        raise ConfigError(f"--int8, --held-out and --probe are for --format onnx, got --format {model_format}")
    output = user_path(output).absolute()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output} already holds something; give an empty folder, or one that does not exist")
    opened = open_model(model, workspace)
    models = opened.models
    unit = next(iter(models.values())).dictionary.unit_of
    if model_format == "flair" and not unit.in_flair:
        raise ConfigError(f"{model} is a model of {unit.plural}, which Flair cannot read; use --format safetensors")
    info = _known_about(opened.path, workspace) | {name: value for name, value in metadata.to_json().items() if value}
    loss: JsonObject = {}
    try:
        with atomic_folder(output) as target:
            if model_format == "onnx":
                held_out = onnx.held_out_of(workspace, info)
                measure = None if onnx.probe is None else onnx.probe.of_export(models.values())
                loss = write_exported(target, models, info, int8=onnx.int8, held_out=held_out, probe=measure)
            else:
                _write_bundle_files(target, models, info, model_format=model_format, with_card=with_card)
    except OSError as error:
        raise ModelFileError(f"cannot write {output}: {error.strerror}") from error
    return Exported(sorted(file for file in output.rglob("*") if file.is_file()), loss)


def _write_bundle_files(
    target: Path, models: "dict[str, LanguageModel]", info: JsonObject, *, model_format: str, with_card: bool
) -> None:
    from charlm.serialization.bundle import write_bundle

    states = {direction: lm.language_model_state() for direction, lm in models.items()}
    with tempfile.TemporaryDirectory(prefix="charlm-export-") as folder:
        bundle = BundleFiles(Path(folder) / "bundle")
        write_bundle(bundle.root, states, info)
        wanted = [bundle.best_lm(direction) for direction in models] + [bundle.card] * with_card
        if model_format == "safetensors":
            wanted = [file for file in bundle.root.rglob("*") if file.is_file()]
        for file in wanted:
            copy = target / file.relative_to(bundle.root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def _known_about(path: Path, workspace: Workspace) -> JsonObject:
    """The origin of the models of a bundle or a run; nothing for a single file."""
    if BundleFiles(path).manifest.is_file():
        from charlm.serialization.bundle import read_bundle

        manifest = read_bundle(path).manifest
        return {name: value for name, value in manifest.items() if name not in _COMPUTED}
    run = RunFiles(path if path.is_dir() else path.parent)
    if not run.manifest.is_file():
        return {}
    known = RunManifest.load(run)
    corpus = workspace.corpus(known.corpus["name"], train_text=False)
    scores = {split: known.result[split] for split in ("valid", "test") if split in known.result}
    return {
        "corpus": known.corpus,
        "recipe": known.config.training.recipe,
        "training": known.config.training.to_json(),
        "scores": {known.config.direction: scores},
        "library_versions": known.libraries,
        **(load_manifest(corpus).metadata if corpus.manifest.is_file() else {}),
    }
