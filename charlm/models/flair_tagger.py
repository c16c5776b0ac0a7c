"""Read Flair's SequenceTagger (`final-model.pt`) as one of ours, without executing code.

Reads taggers on FlairEmbeddings and WordEmbeddings, alone or stacked. A file holds the settings of the tagger and of
its embeddings, a dictionary of tags, and the weights; of objects only the names below are let through, as plain data.
"""

# K = tags, D = width of the vectors

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from charlm.config.language_model import LanguageModelConfig
from charlm.errors import ModelFileError
from charlm.serialization.flair_file import FLAIR_DICTIONARY, dictionary_from
from charlm.serialization.state import check_shapes
from charlm.storage.archive import Part
from charlm.storage.atomic import JsonObject
from charlm.storage.plain_pickle import Name
from charlm.storage.torch_file import StoredTensor, TorchFile, read_torch_file

_NAMES = frozenset(
    [
        FLAIR_DICTIONARY,
        # In what Flair notes of the training; nothing is read of it.
        Name("torch.torch_version", "TorchVersion"),
        *(Name("pathlib", kind) for kind in ("Path", "PosixPath", "WindowsPath")),
    ]
)
_START, _STOP = "<START>", "<STOP>"
_NO_TAGS = frozenset({"<unk>", _START, _STOP})
_WHAT_TO_DO = "train the tagger again on the same sentences, or use Flair"

Tensors = dict[str, Tensor]


def read_flair_tagger(path: Path) -> Part:
    """The content of our model file for a tagger that Flair has written.

    Raises ModelFileError for another kind of model, for embeddings and settings that charlm does not have, and where
    the file names anything that would have to be imported.
    """
    try:
        file = read_torch_file(path, classes=_NAMES)
    except ModelFileError as error:
        raise ModelFileError(
            f"it is a pickle of torch, and {error}; charlm reads language models and taggers of Flair 0.11 and later: "
            f"{_WHAT_TO_DO}"
        ) from error
    state = file.value
    kind = state.get("__cls__", "SequenceTagger") if isinstance(state, dict) else None
    if not isinstance(state, dict) or kind != "SequenceTagger" or "tag_dictionary" not in state:
        found = kind if isinstance(kind, str) else "something else"
        raise ModelFileError(
            f"it is a pickle of torch that holds {found}; of Flair's taggers and classifiers charlm reads the "
            f"SequenceTagger: {_WHAT_TO_DO}"
        )
    if state.get("train_initial_hidden_state"):
        raise ModelFileError(f"its tagger has a trained initial state, which charlm does not have: {_WHAT_TO_DO}")
    weights = _Weights(file, state["state_dict"])
    embeddings, tensors = _embeddings(state["embeddings"], weights, "embeddings.", "embeddings.")
    items = dictionary_from(state["tag_dictionary"]).get_items()
    tags = [item for item in items if item not in _NO_TAGS]
    rows = torch.tensor([items.index(tag) for tag in tags])
    tensors |= {
        "linear.weight": weights.take("linear.weight")[rows],
        "linear.bias": weights.take("linear.bias")[rows],
    }
    settings = _settings(state) | {"kind": "SequenceTagger", "embeddings": embeddings, "tags": tags}
    if settings["use_crf"]:
        tensors |= _transitions(weights.take("crf.transitions", "transitions"), items, rows)
    if settings["reproject_embeddings"]:
        tensors |= {name: weights.take(name) for name in ("embedding2nn.weight", "embedding2nn.bias")}
    if settings["use_rnn"]:
        is_bidirectional = weights.has("rnn.weight_ih_l0_reverse")
        is_ours = settings["rnn_type"] == "LSTM" and is_bidirectional
        settings["bidirectional"] = is_bidirectional
        tensors |= {_rnn_name(name) if is_ours else f"rnn.{name}": weights.take(name) for name in weights.names("rnn.")}
    weights.check_all_taken()
    return Part(settings, tensors)


def _settings(state: JsonObject) -> JsonObject:
    """The arguments of our tagger; those that older versions did not write have the defaults that Flair gives them."""
    settings = {
        "hidden_size": state["hidden_size"],
        "tag_type": state["tag_type"],
        "use_crf": bool(state["use_crf"]),
        "use_rnn": bool(state["use_rnn"]),
        "rnn_layers": state["rnn_layers"],
        "rnn_type": state.get("rnn_type", "LSTM"),
        "dropout": state.get("use_dropout", 0.0),
        "word_dropout": state.get("use_word_dropout", 0.0),
        "locked_dropout": state.get("use_locked_dropout", 0.0),
        "reproject_embeddings": bool(state.get("reproject_embeddings", True)),
    }
    if state.get("weight_dict") and not settings["use_crf"]:
        settings["loss_weights"] = dict(state["weight_dict"])
    return settings


def _transitions(transitions: Tensor, items: list[str], rows: Tensor) -> Tensors:
    """The scores of our CRF: `transitions[from, to]`, where Flair has [to, from] with a start and a stop tag."""
    if _START not in items or _STOP not in items or transitions.shape != (len(items), len(items)):
        raise ModelFileError(f"its transitions have the shape {list(transitions.shape)} for {len(items)} tags")
    start, stop = items.index(_START), items.index(_STOP)
    return {
        "crf.transitions": transitions[rows][:, rows].T.contiguous(),
        "crf.start": transitions[rows, start],
        "crf.stop": transitions[stop, rows],
    }


def _rnn_name(name: str) -> str:
    """`rnn.weight_ih_l1_reverse` -> `rnn.backward_layers.1.weight_ih_l0`."""
    weight, _, layer = name.removeprefix("rnn.").removesuffix("_reverse").rpartition("_l")
    direction = "backward" if name.endswith("_reverse") else "forward"
    return f"rnn.{direction}_layers.{layer}.{weight}_l0"


# ---- embeddings ----------------------------------------------------------------------------------------------------


def _embeddings(params: object, weights: "_Weights", theirs: str, ours: str) -> tuple[JsonObject, Tensors]:
    """The settings and weights of embeddings, whose weights are called `theirs…` in the file and `ours…` here."""
    kind = params.get("__cls__") if isinstance(params, dict) else None
    if not isinstance(params, dict) or kind not in _READERS:
        what = kind if isinstance(kind, str) else "embeddings as an object of Python"
        raise ModelFileError(
            f"its tagger is built on {what}; of Flair's taggers charlm reads those on {', '.join(_READERS)}: "
            f"{_WHAT_TO_DO}"
        )
    settings, tensors = _READERS[kind](params, weights, theirs, ours)
    return {"kind": kind, **settings}, tensors


def _stacked(params: JsonObject, weights: "_Weights", theirs: str, ours: str) -> tuple[JsonObject, Tensors]:
    settings: list[JsonObject] = []
    tensors: Tensors = {}
    for place, inner in enumerate(params["embeddings"]):
        names = f"{theirs}list_embedding_{place}.", f"{ours}embeddings.{place}."
        inner_settings, inner_tensors = _embeddings(inner, weights, *names)
        settings.append(inner_settings)
        tensors |= inner_tensors
    return {"embeddings": settings}, tensors


def _words(params: JsonObject, weights: "_Weights", theirs: str, ours: str) -> tuple[JsonObject, Tensors]:
    if params.get("stable") or params.get("field"):
        raise ModelFileError(f"its vectors of words are stable ones or those of a field of labels: {_WHAT_TO_DO}")
    vocab = params["vocab"]
    words = sorted(vocab, key=vocab.__getitem__)
    vectors = weights.take(f"{theirs}embedding.weight")[: len(words)]  # (K, D): the last row is that of other words
    if [vocab[word] for word in words] != list(range(len(vectors))):
        raise ModelFileError(f"{len(words)} words have vectors of the shape {list(vectors.shape)}")
    settings = {"name": params["name"], "words": words, "width": vectors.shape[1]}
    return settings, {f"{ours}_extra_state": vectors.contiguous()}


def _characters(params: JsonObject, weights: "_Weights", theirs: str, ours: str) -> tuple[JsonObject, Tensors]:
    model = params["model_params"]
    dictionary = dictionary_from(model["dictionary"])
    config = LanguageModelConfig(**{name: value for name, value in model.items() if name != "dictionary"})
    tensors = {name.removeprefix(f"{theirs}lm."): weights.take(name) for name in weights.names(f"{theirs}lm.")}
    check_shapes(config, dictionary, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    settings = {
        "model": config.to_json(),
        "dictionary": dictionary.to_json(),
        **{name: params[name] for name in ("fine_tune", "chars_per_chunk", "is_lower", "tokenized_lm", "name")},
    }
    return settings, {f"{ours}lm.{name}": tensor for name, tensor in tensors.items()}


_READERS: dict[str, Callable[[JsonObject, "_Weights", str, str], tuple[JsonObject, Tensors]]] = {
    "FlairEmbeddings": _characters,
    "WordEmbeddings": _words,
    "StackedEmbeddings": _stacked,
}


class _Weights:
    """The tensors of the file by name; each is read when it is taken, and in the end none may be left."""

    def __init__(self, file: TorchFile, stored: object) -> None:
        is_plain = isinstance(stored, dict) and all(isinstance(tensor, StoredTensor) for tensor in stored.values())
        if not isinstance(stored, dict) or not is_plain:
            raise ModelFileError("its state_dict holds something that is not a tensor")
        self._file = file
        self._left: dict[str, StoredTensor] = dict(stored)

    def has(self, name: str) -> bool:
        return name in self._left

    def names(self, prefix: str) -> list[str]:
        return [name for name in self._left if name.startswith(prefix)]

    def take(self, *names: str) -> Tensor:
        """The tensor under the first of the names that there is."""
        for name in names:
            if name in self._left:
                return self._file.tensor(self._left.pop(name)).float()
        raise ModelFileError(f"it has no weights {names[0]}")

    def check_all_taken(self) -> None:
        if self._left:
            raise ModelFileError(f"its tagger has a part that charlm does not have, {min(self._left)}: {_WHAT_TO_DO}")
