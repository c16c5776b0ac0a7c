"""Read and write Flair's `best-lm.pt` without executing code."""

from pathlib import Path

from charlm.config.language_model import LanguageModelConfig
from charlm.data.dictionary import UNK, Dictionary
from charlm.errors import ModelFileError
from charlm.serialization.state import LanguageModelState, check_shapes, expected_shapes
from charlm.storage.plain_pickle import Name, PickledObject
from charlm.storage.torch_file import StoredTensor, TorchFile, errors_name, read_torch_file, write_torch_file
from charlm.units.unit import find_unit

FLAIR_DICTIONARY = Name("flair.data", "Dictionary")
# Flair would misread the items of bytes and words, and a model that shares its weights: their files name our class,
# which Flair refuses.
_OUR_DICTIONARY = Name("charlm.data.dictionary", "Dictionary")


def read_flair_file(path: Path | str) -> LanguageModelState:
    """The language model in a `best-lm.pt` or `checkpoint.pt`, from us or from any version of Flair.

    Keys that older versions did not write have the defaults that Flair gives them. Raises ModelFileError, one line
    that names the file, when it is damaged, does not fit together, or would need anything executed to be read.
    """
    path = Path(path)
    with errors_name(path):
        return _state_from(read_torch_file(path, classes=frozenset({FLAIR_DICTIONARY, _OUR_DICTIONARY})))


def _state_from(file: TorchFile) -> LanguageModelState:
    value = file.value
    if not isinstance(value, dict) or not isinstance(value.get("state_dict"), dict) or "dictionary" not in value:
        raise ModelFileError("it holds no state_dict and dictionary")
    recurrent_type = value.get("recurrent_type", "LSTM")
    for name in ("is_forward_lm", "hidden_size", "nlayers"):
        if name not in value:
            raise ModelFileError(f"it has no {name}")
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
        **{name: value[name] for name in LanguageModelConfig.OMITTED_AT_DEFAULT if name in value},
    )
    dictionary = dictionary_from(value["dictionary"])
    stored = {
        name: tensor
        for name, tensor in value["state_dict"].items()
        if config.has_decoder or not str(name).startswith("decoder.")
    }
    if not all(isinstance(tensor, StoredTensor) for tensor in stored.values()):
        raise ModelFileError("its state_dict holds something that is not a tensor")
    check_shapes(config, dictionary, {name: tensor.shape for name, tensor in stored.items()})
    return LanguageModelState(
        config, dictionary, {name: file.tensor(tensor).float() for name, tensor in stored.items()}
    )


def dictionary_from(pickled: object) -> Dictionary:
    """The dictionary that a file of Flair holds; raises ModelFileError where it is damaged."""
    attributes = pickled.state if isinstance(pickled, PickledObject) else None
    items = attributes.get("idx2item") if isinstance(attributes, dict) else None
    if not isinstance(attributes, dict) or not isinstance(items, list) or not items:
        raise ModelFileError("its dictionary holds no items")
    if not all(isinstance(item, str | bytes) for item in items):
        raise ModelFileError("the items of its dictionary are not text")
    settings = attributes.get("unit_settings", {})
    if not isinstance(settings, dict):
        raise ModelFileError("the settings of its dictionary's unit are damaged")
    dictionary = Dictionary(add_unk=False, unit=find_unit(attributes.get("unit", "char")).with_settings(settings))
    for item in items:
        dictionary.add_item(item)
    if len(dictionary) != len(items):
        raise ModelFileError("an item stands twice in its dictionary")
    dictionary.get_items()  # raises UnicodeDecodeError, a ValueError, for items that are not UTF-8
    dictionary.add_unk = bool(attributes.get("add_unk", dictionary.idx2item[0] == UNK))
    return dictionary


def write_flair_file(state: LanguageModelState, path: Path | str) -> None:
    """Write a `best-lm.pt` that Flair opens (unit char) and we read again (any unit); equal states give equal bytes."""
    dictionary = state.dictionary
    attributes: dict[str, object] = {
        "item2idx": dictionary.item2idx,
        "idx2item": dictionary.idx2item,
        "add_unk": dictionary.add_unk,
        "multi_label": False,
        "span_labels": False,
    }
    if not dictionary.unit_of.in_flair:
        attributes["unit"] = dictionary.unit
    if dictionary.unit_settings:
        attributes["unit_settings"] = dictionary.unit_settings
    name = FLAIR_DICTIONARY if dictionary.unit_of.in_flair and state.config.in_flair else _OUR_DICTIONARY
    names = expected_shapes(state.config, len(dictionary))  # in the order of Flair's state dict
    write_torch_file(
        Path(path),
        {
            "state_dict": {name: state.tensors[name] for name in names},
            "dictionary": PickledObject(name, state=attributes),
            **state.config.to_json(),
        },
    )
