"""Write a model for others: Flair's files, or a bundle of safetensors and JSON."""

import shutil
import tempfile
from pathlib import Path

from charlm.artifacts import BundleFiles, RunFiles, Workspace
from charlm.config import CorpusMetadata
from charlm.errors import ConfigError, ModelFileError
from charlm.storage.atomic import JsonObject, atomic_folder
from charlm.storage.user_paths import user_path
from charlm.text.corpus.manifest import load_manifest
from charlm.trainers.lm.manifest import RunManifest
from tasks.registry.download import open_model

FORMATS = ("flair", "safetensors")
_COMPUTED = ("format", "fingerprint", "dictionary", "models")  # the keys of a manifest that write_bundle computes


def export_model(
    workspace: Workspace,
    model: str,
    output: Path,
    *,
    model_format: str,
    with_card: bool = False,
    metadata: CorpusMetadata = CorpusMetadata(),  # noqa: B008  # never changed
) -> list[Path]:
    """Write every direction of `model` to the folder `output`; the files that were written.

    `flair` gives `forward/best-lm.pt` and so on, which Flair opens, and the model card if requested; `safetensors`
    gives a whole bundle. What `metadata` has is written to card and manifest, in place of what is known. Raises
    ConfigError for another format, or when `output` already holds something.
    """
    if model_format not in FORMATS:
        raise ConfigError(f"--format is {' or '.join(FORMATS)}, got {model_format!r}")
    output = user_path(output).absolute()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output} already holds something; give an empty folder, or one that does not exist")
    opened = open_model(model, workspace)
    from charlm.serialization.bundle import write_bundle

    models = opened.models
    unit = next(iter(models.values())).dictionary.unit_of
    if model_format == "flair" and not unit.in_flair:
        raise ConfigError(f"{model} is a model of {unit.plural}, which Flair cannot read; use --format safetensors")
    with tempfile.TemporaryDirectory(prefix="charlm-export-") as folder:
        bundle = BundleFiles(Path(folder) / "bundle")
        states = {direction: lm.language_model_state() for direction, lm in models.items()}
        given = {name: value for name, value in metadata.to_json().items() if value}
        info = _known_about(opened.path, workspace) | given
        write_bundle(bundle.root, states, info)
        wanted = [bundle.best_lm(direction) for direction in models] + [bundle.card] * with_card
        if model_format == "safetensors":
            wanted = [file for file in bundle.root.rglob("*") if file.is_file()]
        names = [file.relative_to(bundle.root) for file in sorted(wanted)]
        try:
            with atomic_folder(output) as target:
                for name in names:
                    (target / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(bundle.root / name, target / name)
        except OSError as error:
            raise ModelFileError(f"cannot write {output}: {error.strerror}") from error
    return [output / name for name in names]


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
    corpus = workspace.corpus(known.corpus["name"])
    scores = {split: known.result[split] for split in ("valid", "test") if split in known.result}
    return {
        "corpus": known.corpus,
        "recipe": known.config.training.recipe,
        "training": known.config.training.to_json(),
        "scores": {known.config.direction: scores},
        "library_versions": known.libraries,
        **(load_manifest(corpus).metadata if corpus.manifest.is_file() else {}),
    }
