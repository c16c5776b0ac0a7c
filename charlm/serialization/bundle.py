"""The bundle that the registry holds: the language models of one or both directions, without code in any file.

Reads and writes bundle.json, dictionary.json, and a folder per direction with model.safetensors and config.json.
Writes README.md (the model card) and, for character models, a best-lm.pt per direction in Flair's format.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from charlm.artifacts import DIRECTIONS, BundleFiles
from charlm.data.dictionary import Dictionary
from charlm.errors import ModelFileError, decoration
from charlm.serialization.flair_file import write_flair_file
from charlm.serialization.model_card import model_card
from charlm.serialization.safetensors_file import read_safetensors, read_settings, write_safetensors
from charlm.serialization.state import LanguageModelState
from charlm.storage.atomic import JsonObject, atomic_folder, write_json, write_text
from charlm.storage.fingerprints import fingerprint, sha256_of

_BUNDLE_FORMAT = "charlm.bundle/1"


@dataclass(frozen=True)
class Bundle:
    """What the registry holds: one model per direction that was trained, and what is known about them."""

    manifest: JsonObject
    states: dict[str, LanguageModelState]

    @property
    def fingerprint(self) -> str:
        """Equal for equal weights and dictionary, whatever else the manifest holds."""
        value: str = self.manifest["fingerprint"]
        return value


def write_bundle(folder: Path | str, states: Mapping[str, LanguageModelState], info: Mapping[str, object]) -> str:
    """Write the bundle of `states` (by direction) and return its fingerprint.

    `info` is plain JSON about where the models come from (corpus, scores, recipe, parent version, library versions);
    it enters the manifest as it is. Equal models and info give equal bytes. A bundle of this name is replaced.
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
        models: dict[str, dict[str, dict[str, str]]] = {}
        for direction in sorted(states, key=DIRECTIONS.index):
            write_safetensors(states[direction], files.direction_dir(direction))
            paths = [files.model(direction), files.config(direction)]
            if dictionary.unit_of.in_flair and states[direction].config.in_flair:
                write_flair_file(states[direction], files.best_lm(direction))
                paths.append(files.best_lm(direction))
            models[direction] = {"sha256": {path.name: sha256_of(path) for path in paths}}
        weights = {direction: model["sha256"][files.model(direction).name] for direction, model in models.items()}
        configs = {direction: state.config.to_json() for direction, state in states.items()}
        identity = fingerprint([dictionary.to_json(), weights, configs])
        manifest: dict[str, object] = {
            "format": _BUNDLE_FORMAT,
            "fingerprint": identity,
            "dictionary": {"fingerprint": dictionary.fingerprint, "size": len(dictionary), "unit": dictionary.unit},
            "models": {direction: {**configs[direction], **models[direction]} for direction in models},
            **info,
        }
        write_json(files.manifest, manifest)
        with decoration(files.card.name):
            write_text(files.card, model_card(manifest))
    return identity


def read_bundle(folder: Path | str) -> Bundle:
    """The bundle in `folder`; raises ModelFileError when a part is missing, damaged or not its own."""
    files = BundleFiles(Path(folder))
    manifest = read_settings(files.manifest, _BUNDLE_FORMAT)
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
