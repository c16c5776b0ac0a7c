"""Language models in and out of files, without ever executing what a file says.

Reads  best-lm.pt, checkpoint.pt       Flair's format, ours and Flair's own, any version
Reads  model.safetensors, config.json  our own format
Writes both, and the bundle that the registry holds (bundle.json, dictionary.json, README.md, a folder per direction).

A `LanguageModelState` is what a file holds: plain settings, the dictionary, and named tensors whose shapes fit.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save

from charlm.artifacts import DIRECTIONS, BundleFiles
from charlm.config.language_model import LanguageModelConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import ModelFileError
from charlm.serialization.flair_file import write_flair_file
from charlm.serialization.model_card import model_card
from charlm.serialization.state import LanguageModelState
from charlm.storage.atomic import atomic_folder, atomic_write, write_json, write_text
from charlm.storage.fingerprints import fingerprint, sha256_of
from charlm.storage.torch_file import errors_name

_CONFIG_FORMAT = "charlm.language_model/1"
_BUNDLE_FORMAT = "charlm.bundle/1"


# ---- Flair's format ------------------------------------------------------------------------------------------------


# ---- our own format ------------------------------------------------------------------------------------------------


def write_safetensors(state: LanguageModelState, folder: Path | str) -> None:
    """Write `model.safetensors` and `config.json` into `folder`. The dictionary lies beside it, once for a bundle."""
    files = BundleFiles(Path(folder).parent)
    direction = Path(folder).name
    with atomic_write(files.model(direction)) as file:
        file.write(save({name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}))
    settings = {"format": _CONFIG_FORMAT, "dictionary": state.dictionary.fingerprint, **state.config.to_json()}
    write_json(files.config(direction), settings)


def read_safetensors(folder: Path | str, dictionary: Dictionary | None = None) -> LanguageModelState:
    """The language model in `folder`, with the dictionary given or found in the folder above.

    Raises ModelFileError, one line that names the file, when a file is missing, damaged or does not fit the others.
    """
    files = BundleFiles(Path(folder).parent)
    config_path, model_path = files.config(Path(folder).name), files.model(Path(folder).name)
    if dictionary is None:
        dictionary = Dictionary.load_from_file(files.dictionary)
    settings = _read_settings(config_path, _CONFIG_FORMAT)
    if settings.pop("dictionary", None) != dictionary.fingerprint:
        raise ModelFileError(f"{config_path} was written with another dictionary than {files.dictionary}")
    with errors_name(config_path):
        config = LanguageModelConfig.from_json(settings)
    with errors_name(model_path):
        tensors = {name: tensor.float() for name, tensor in load_file(model_path).items()}
        return LanguageModelState(config, dictionary, tensors)


def _read_settings(path: Path, expected_format: str) -> dict[str, Any]:
    """The JSON object in `path` less its `format`, which must be the expected one."""
    try:
        settings = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged ({error})") from error
    if not isinstance(settings, dict) or settings.pop("format", None) != expected_format:
        raise ModelFileError(f"{path} has no format {expected_format!r}; a newer charlm may have written it")
    return settings


# ---- the bundle ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bundle:
    """What the registry holds: one model per direction that was trained, and what is known about them."""

    manifest: dict[str, Any]
    states: dict[str, LanguageModelState]

    @property
    def fingerprint(self) -> str:
        """Equal for equal weights and dictionary, whatever else the manifest says."""
        value: str = self.manifest["fingerprint"]
        return value


def write_bundle(folder: Path | str, states: Mapping[str, LanguageModelState], info: Mapping[str, Any]) -> str:
    """Write the bundle of `states` (by direction) and return its fingerprint.

    `info` is plain JSON about where the models come from (corpus, scores, recipe, parent version, library versions);
    it enters the manifest as it is. Equal models and info give equal bytes. An old bundle of this name gives way.
    """
    dictionary = next(iter(states.values())).dictionary
    for direction, state in states.items():
        if direction not in DIRECTIONS or state.config.direction != direction:
            raise ModelFileError(f"a {state.config.direction} model cannot be the {direction} one of a bundle")
        if state.dictionary != dictionary:
            raise ModelFileError("the two directions of a bundle must share one dictionary")
    with atomic_folder(Path(folder)) as temporary:
        files = BundleFiles(temporary)
        dictionary.save(files.dictionary)
        models: dict[str, Any] = {}
        for direction in sorted(states, key=DIRECTIONS.index):
            write_safetensors(states[direction], files.direction_dir(direction))
            paths = [files.model(direction), files.config(direction)]
            if dictionary.unit_of.in_flair:
                write_flair_file(states[direction], files.best_lm(direction))
                paths.append(files.best_lm(direction))
            models[direction] = {"sha256": {path.name: sha256_of(path) for path in paths}}
        weights = {direction: model["sha256"][files.model(direction).name] for direction, model in models.items()}
        configs = {direction: state.config.to_json() for direction, state in states.items()}
        manifest = {
            "format": _BUNDLE_FORMAT,
            "fingerprint": fingerprint([dictionary.to_json(), weights, configs]),
            "dictionary": {"fingerprint": dictionary.fingerprint, "size": len(dictionary), "unit": dictionary.unit},
            "models": {direction: {**configs[direction], **models[direction]} for direction in models},
            **info,
        }
        write_json(files.manifest, manifest)
        write_text(files.card, model_card(manifest))
    identity: str = manifest["fingerprint"]
    return identity


def read_bundle(folder: Path | str) -> Bundle:
    """The bundle in `folder`; raises ModelFileError when a part is missing, damaged or not its own."""
    files = BundleFiles(Path(folder))
    manifest = _read_settings(files.manifest, _BUNDLE_FORMAT)
    models = manifest.get("models")
    if not isinstance(models, dict) or not models or not models.keys() <= set(DIRECTIONS):
        raise ModelFileError(f"{files.manifest} names no models of known directions")
    dictionary = Dictionary.load_from_file(files.dictionary)
    states = {}
    for direction in sorted(models, key=DIRECTIONS.index):
        states[direction] = read_safetensors(files.direction_dir(direction), dictionary)
        model = models[direction]
        digests = model.get("sha256") if isinstance(model, dict) else None
        name = files.model(direction).name
        if not isinstance(digests, dict) or sha256_of(files.model(direction)) != digests.get(name):
            raise ModelFileError(f"{files.model(direction)} is not the file that {files.manifest} was written with")
    return Bundle({"format": _BUNDLE_FORMAT, **manifest}, states)
