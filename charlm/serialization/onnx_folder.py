"""A model that is read without torch: what `charlm export --format onnx` writes and charlm/runtime reads.

Writes model.json, dictionary.json, a graph for each direction, README.md (the model card), and a copy of the reader
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from charlm import runtime
from charlm.artifacts import DIRECTIONS, OnnxFiles
from charlm.errors import ModelFileError, decoration, how_to_install
from charlm.serialization.model_card import model_card
from charlm.serialization.onnx_graph import OnnxPrecision, check_exportable, onnx_graph
from charlm.serialization.state import LanguageModelState
from charlm.storage.atomic import JsonObject, write_json, write_text
from charlm.storage.fingerprints import sha256_of


def check_onnx_export(states: Mapping[str, LanguageModelState], precision: OnnxPrecision) -> None:
    """Raise ModelFileError where the models cannot be written as ONNX, or a package is missing."""
    for state in states.values():
        check_exportable(state, precision)
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ModelFileError(f"--format onnx needs onnx and onnxruntime; {how_to_install('onnx')}") from error


def write_onnx_folder(
    folder: Path, states: Mapping[str, LanguageModelState], precision: OnnxPrecision, info: Mapping[str, object]
) -> None:
    """Write the models by direction into `folder`; `info` is what a bundle's manifest says of them.

    Raises ModelFileError where `check_onnx_export` does.
    """
    check_onnx_export(states, precision)
    files = OnnxFiles(folder)
    dictionary = next(iter(states.values())).dictionary
    dictionary.save(files.dictionary)
    graphs = {direction: files.graph(direction) for direction in sorted(states, key=DIRECTIONS.index)}
    for direction, path in graphs.items():
        path.write_bytes(onnx_graph(states[direction], precision))
    shutil.copyfile(runtime.__file__, files.reader)
    manifest: JsonObject = {
        "format": runtime.FORMAT,
        "precision": precision,
        "unit": dictionary.unit,
        "document_delimiter": next(iter(states.values())).config.document_delimiter,
        "graphs": {direction: path.name for direction, path in graphs.items()},
        "sha256": {path.name: sha256_of(path) for path in (files.dictionary, *graphs.values())},
        **info,
        "dictionary": {
            "file": files.dictionary.name,
            "fingerprint": dictionary.fingerprint,
            "size": len(dictionary),
            "unit": dictionary.unit,
        },
        "models": {direction: states[direction].config.to_json() for direction in graphs},
    }
    _write_manifest(files, manifest)


def record_loss(folder: Path, settings: Mapping[str, object], loss: Mapping[str, object]) -> None:
    """Add to a folder with these settings how far its vectors are from those of the model in torch."""
    _write_manifest(OnnxFiles(folder), {**settings, "loss": dict(loss)})


def _write_manifest(files: OnnxFiles, manifest: JsonObject) -> None:
    write_json(files.settings, manifest)
    with decoration(files.card.name):
        write_text(files.card, model_card(manifest))
