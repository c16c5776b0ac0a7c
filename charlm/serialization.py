"""Language models in and out of files, without ever executing what a file says.

Reads  best-lm.pt, checkpoint.pt       Flair's format, ours and Flair's own, any version
Reads  model.safetensors, config.json  our own format
Writes both, and the bundle that the registry holds (bundle.json, dictionary.json, README.md, a folder per direction).

A `LanguageModelState` is what a file holds: plain settings, the dictionary, and named tensors whose shapes fit.
"""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from charlm.artifacts import (
    DIRECTIONS,
    BundleFiles,
    atomic_folder,
    atomic_write,
    fingerprint,
    sha256_of,
    write_json,
    write_text,
)
from charlm.config import JsonConfig
from charlm.data.dictionary import UNK, Dictionary
from charlm.errors import ModelFileError
from charlm.model_card import model_card
from charlm.plain_pickle import Name, PickledObject
from charlm.torch_archive import StoredTensor, TorchFile, errors_name, read_torch_file, write_torch_file

# V = dictionary size, E = embedding size, H = hidden size, G = gates of a cell, O = width of the output (nout, or H)
_GATES = {"LSTM": 4, "GRU": 3}
_LARGEST_SIZE = 1_000_000
_CONFIG_FORMAT = "charlm.language_model/1"
_BUNDLE_FORMAT = "charlm.bundle/1"

_FLAIR_DICTIONARY = Name("flair.data", "Dictionary")
# A byte dictionary has items that Flair would misread, so its files name our class and Flair refuses them.
_OUR_DICTIONARY = Name("charlm.data.dictionary", "Dictionary")


@dataclass(frozen=True, kw_only=True)
class LanguageModelConfig(JsonConfig):
    """The arguments of a language model, under Flair's names."""

    is_forward_lm: bool
    """True for a model that reads from left to right."""

    hidden_size: int
    """Width of each recurrent layer."""

    nlayers: int
    """Number of recurrent layers."""

    embedding_size: int = 100
    """Width of the character embedding."""

    nout: int | None = None
    """Width of the projection after the last layer; none without one."""

    document_delimiter: str = "\n"
    """What stands between two documents in the text."""

    dropout: float = 0.1
    """Share of values dropped while training."""

    recurrent_type: str = "LSTM"
    """Kind of recurrent cell: LSTM or GRU."""

    has_decoder: bool = True
    """True when the model can predict, not only embed."""

    def __post_init__(self) -> None:
        for name in ("hidden_size", "nlayers", "embedding_size", "nout"):
            size = getattr(self, name)
            if not (type(size) is int and 0 < size <= _LARGEST_SIZE) and not (name == "nout" and size is None):
                raise ModelFileError(f"{name} is a number from 1 to {_LARGEST_SIZE}, not {_shown(size)}")
        for name in ("is_forward_lm", "has_decoder"):
            if not isinstance(getattr(self, name), bool):
                raise ModelFileError(f"{name} is true or false, not {_shown(getattr(self, name))}")
        if not isinstance(self.document_delimiter, str):
            raise ModelFileError(f"document_delimiter is text, not {_shown(self.document_delimiter)}")
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout <= 1:
            raise ModelFileError(f"dropout is a share in [0, 1], not {_shown(self.dropout)}")
        if self.recurrent_type not in tuple(_GATES):  # not a look-up: what a file says may not be hashable
            raise ModelFileError(f"recurrent_type is LSTM or GRU, not {_shown(self.recurrent_type)}")

    @property
    def direction(self) -> str:
        return "forward" if self.is_forward_lm else "backward"


@dataclass(frozen=True)
class LanguageModelState:
    """A language model at rest. Tensors are float32 on the CPU; their names are those of Flair's state dict."""

    config: LanguageModelConfig
    dictionary: Dictionary
    tensors: dict[str, torch.Tensor] = field(repr=False)

    def __post_init__(self) -> None:
        _check_shapes(self.config, self.dictionary, {name: tuple(t.shape) for name, t in self.tensors.items()})


def _expected_shapes(config: LanguageModelConfig, size: int) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a model with a dictionary of `size` items."""
    hidden, gates = config.hidden_size, _GATES[config.recurrent_type] * config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {"encoder.weight": (size, config.embedding_size)}  # (V, E)
    for layer in range(config.nlayers):
        shapes[f"rnn.weight_ih_l{layer}"] = (gates, hidden if layer else config.embedding_size)  # (GH, E or H)
        shapes[f"rnn.weight_hh_l{layer}"] = (gates, hidden)  # (GH, H)
        shapes[f"rnn.bias_ih_l{layer}"] = shapes[f"rnn.bias_hh_l{layer}"] = (gates,)
    width = hidden
    if config.nout is not None:
        width = config.nout
        shapes |= {"proj.weight": (width, hidden), "proj.bias": (width,)}  # (O, H)
    if config.has_decoder:
        shapes |= {"decoder.weight": (size, width), "decoder.bias": (size,)}  # (V, O)
    return shapes


def _check_shapes(config: LanguageModelConfig, dictionary: Dictionary, found: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ModelFileError unless exactly the tensors of `config` are there, in their shapes."""
    if config.nlayers > len(found):  # before a made-up number of layers is spelled out
        raise ModelFileError(f"it declares {config.nlayers} layers but holds {len(found)} tensors")
    expected = _expected_shapes(config, len(dictionary))
    for name in expected.keys() - found.keys():
        raise ModelFileError(f"the tensor {name} is missing")
    for name in found.keys() - expected.keys():
        raise ModelFileError(f"the tensor {_shown(name)} belongs to no language model of these settings")
    for name, shape in expected.items():
        if found[name] != shape:
            raise ModelFileError(f"{name} has shape {list(found[name])} where {list(shape)} is declared")


# ---- Flair's format ------------------------------------------------------------------------------------------------


def read_flair_file(path: Path | str) -> LanguageModelState:
    """The language model in a `best-lm.pt` or `checkpoint.pt`, from us or from any version of Flair.

    Keys that older versions did not write have the defaults that Flair gives them. Raises ModelFileError, one line
    that names the file, when it is damaged, does not fit together, or would need anything executed to be read.
    """
    path = Path(path)
    with errors_name(path):
        return _state_from(read_torch_file(path, classes=frozenset({_FLAIR_DICTIONARY, _OUR_DICTIONARY})))


def _state_from(file: TorchFile) -> LanguageModelState:
    value = file.value
    if not isinstance(value, dict) or not isinstance(value.get("state_dict"), dict) or "dictionary" not in value:
        raise ModelFileError("it holds no state_dict and dictionary")
    recurrent_type = value.get("recurrent_type", "LSTM")
    for name in ("is_forward_lm", "hidden_size", "nlayers"):
        if name not in value:
            raise ModelFileError(f"it does not say its {name}")
    config = LanguageModelConfig(
        is_forward_lm=value["is_forward_lm"],
        hidden_size=value["hidden_size"],
        nlayers=value["nlayers"],
        embedding_size=value.get("embedding_size", 100),
        nout=value.get("nout"),
        document_delimiter=value.get("document_delimiter", "\n"),
        dropout=value.get("dropout", 0.1),
        recurrent_type=recurrent_type.upper() if isinstance(recurrent_type, str) else recurrent_type,
        has_decoder=value.get("has_decoder", True),
    )
    dictionary = _dictionary_from(value["dictionary"])
    stored = {
        name: tensor
        for name, tensor in value["state_dict"].items()
        if config.has_decoder or not str(name).startswith("decoder.")
    }
    if not all(isinstance(tensor, StoredTensor) for tensor in stored.values()):
        raise ModelFileError("its state_dict holds something that is not a tensor")
    _check_shapes(config, dictionary, {name: tensor.shape for name, tensor in stored.items()})
    return LanguageModelState(
        config, dictionary, {name: file.tensor(tensor).float() for name, tensor in stored.items()}
    )


def _dictionary_from(pickled: Any) -> Dictionary:
    attributes = pickled.state if isinstance(pickled, PickledObject) else None
    items = attributes.get("idx2item") if isinstance(attributes, dict) else None
    if not isinstance(attributes, dict) or not isinstance(items, list) or not items:
        raise ModelFileError("its dictionary holds no items")
    if not all(isinstance(item, str | bytes) for item in items):
        raise ModelFileError("the items of its dictionary are not text")
    dictionary = Dictionary(add_unk=False, unit="byte" if attributes.get("unit") == "byte" else "char")
    for item in items:
        dictionary.add_item(item)
    if len(dictionary) != len(items):
        raise ModelFileError("an item stands twice in its dictionary")
    if dictionary.unit == "char":
        dictionary.get_items()  # raises UnicodeDecodeError, a ValueError, for items that are not UTF-8
    dictionary.add_unk = bool(attributes.get("add_unk", dictionary.idx2item[0] == UNK))
    return dictionary


def write_flair_file(state: LanguageModelState, path: Path | str) -> None:
    """Write a `best-lm.pt` that Flair opens (unit char) and we read again (any unit); equal states give equal bytes."""
    dictionary = state.dictionary
    attributes: dict[str, Any] = {
        "item2idx": dictionary.item2idx,
        "idx2item": dictionary.idx2item,
        "add_unk": dictionary.add_unk,
        "multi_label": False,
        "span_labels": False,
    }
    if dictionary.unit != "char":
        attributes["unit"] = dictionary.unit
    name = _FLAIR_DICTIONARY if dictionary.unit == "char" else _OUR_DICTIONARY
    names = _expected_shapes(state.config, len(dictionary))  # in the order of Flair's state dict
    write_torch_file(
        Path(path),
        {
            "state_dict": {name: state.tensors[name] for name in names},
            "dictionary": PickledObject(name, state=attributes),
            **state.config.to_json(),
        },
    )


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
            if dictionary.unit == "char":
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


def _shown(value: Any) -> str:
    return reprlib.repr(value)  # bounded, however large or self-similar the value is
