"""DataPoint: what can carry embeddings, labels and metadata; the base of sentences, tokens and spans."""

# D = width of an embedding

from typing import TYPE_CHECKING, Self

from charlm.data.label import Label
from charlm.storage.atomic import JsonObject

if TYPE_CHECKING:
    import torch

Vectors = dict[str, "torch.Tensor"]
"""Embeddings by their names."""


class DataPoint:
    """What can carry embeddings and labels. The containers are made when the first one comes."""

    __slots__ = ("_embeddings", "_labels", "_metadata")

    def __init__(self) -> None:
        self._embeddings: Vectors | None = None
        self._labels: dict[str, list[Label]] | None = None
        self._metadata: dict[str, object] | None = None

    # ---- embeddings --------------------------------------------------------------------------------------------

    def set_embedding(self, name: str, vector: "torch.Tensor") -> None:
        """Keep `vector` (D,) under the name of its embedding."""
        if self._embeddings is None:
            self._embeddings = {}
        self._embeddings[name] = vector

    def get_each_embedding(self, embedding_names: list[str] | None = None) -> "list[torch.Tensor]":
        """The embeddings, or those of `embedding_names`, in the order of their names."""
        found = self._all_embeddings()
        return [found[name] for name in sorted(found) if embedding_names is None or name in embedding_names]

    def get_embedding(self, names: list[str] | None = None) -> "torch.Tensor":
        """All embeddings, or those of `names`, concatenated in the order of their names; (0,) where there is none."""
        import torch

        vectors = self.get_each_embedding(names)
        if len(vectors) == 1:
            return vectors[0]
        return torch.cat(on_one_device(vectors)) if vectors else torch.empty(0)

    def has_embedding(self, name: str) -> bool:
        return name in self._all_embeddings()

    @property
    def embedding(self) -> "torch.Tensor":
        return self.get_embedding()

    def _all_embeddings(self) -> Vectors:
        return self._embeddings or {}

    def clear_embeddings(self, embedding_names: list[str] | None = None) -> None:
        """Drop all embeddings, or those of `embedding_names`."""
        self._embeddings = without(self._embeddings, embedding_names)

    def to(self, device: "torch.device | str", pin_memory: bool = False) -> None:
        """Move the embeddings to `device`, through pinned memory where `pin_memory` is true."""
        self._embeddings = moved(self._embeddings, device, pin_memory)

    # ---- labels ------------------------------------------------------------------------------------------------

    def add_label(self, typename: str, value: str, score: float = 1.0, **metadata: object) -> Self:
        """Add a label in the layer `typename`, such as `ner`; `metadata` is kept with it."""
        label = Label(self, value, score, **metadata) if metadata else Label(self, value, score)
        self._keep_label(typename, label)
        return self

    def set_label(self, typename: str, value: str, score: float = 1.0, **metadata: object) -> Self:
        """Make this the only label of the layer `typename`, which keeps its place among the layers."""
        layers = tuple(self._labels or ())
        if typename in layers:
            self.remove_labels(typename)
        self.add_label(typename, value, score, **metadata)
        if typename in layers[:-1] and self._labels is not None:
            self._labels = {layer: self._labels[layer] for layer in layers}
        return self

    def remove_labels(self, typename: str) -> None:
        if self._labels is not None:
            self._labels.pop(typename, None)

    def _keep_label(self, typename: str, label: Label) -> None:
        labels = self._labels
        if labels is None:
            self._labels = {typename: [label]}
        elif typename in labels:
            labels[typename].append(label)
        else:
            labels[typename] = [label]

    def get_labels(self, typename: str | None = None) -> list[Label]:
        """The labels of one layer, or of all."""
        return self.labels if typename is None else list((self._labels or {}).get(typename, ()))

    def get_label(self, label_type: str | None = None, zero_tag_value: str = "O") -> Label:
        """The first label of the layer, or one of `zero_tag_value` where there is none."""
        labels = self.get_labels(label_type)
        return labels[0] if labels else Label(self, zero_tag_value)

    def has_label(self, typename: str) -> bool:
        return bool(self._labels and self._labels.get(typename))

    @property
    def annotation_layers(self) -> dict[str, list[Label]]:
        """The labels by layer."""
        return {typename: list(labels) for typename, labels in (self._labels or {}).items()}

    @property
    def labels(self) -> list[Label]:
        """All labels: layer by layer, each in the order in which they were added."""
        return [label for labels in (self._labels or {}).values() for label in labels]

    @property
    def tag(self) -> str:
        """Value of the label that was added first; `O` where there is none."""
        return self.labels[0].value if self._labels and self.labels else "O"

    @property
    def score(self) -> float:
        """Confidence of the label that was added first; 1 where there is none."""
        return self.labels[0].score if self._labels and self.labels else 1.0

    # ---- metadata ----------------------------------------------------------------------------------------------

    def add_metadata(self, key: str, value: object) -> None:
        if self._metadata is None:
            self._metadata = {}
        self._metadata[key] = value

    def get_metadata(self, key: str) -> object:
        """What was kept under `key`; KeyError where nothing was."""
        return (self._metadata or {})[key]

    def has_metadata(self, key: str) -> bool:
        return key in (self._metadata or {})

    # ---- what a part is called ---------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        raise NotImplementedError

    @property
    def start_position(self) -> int:
        raise NotImplementedError

    @property
    def end_position(self) -> int:
        return self.start_position + len(self.text)

    @property
    def unlabeled_identifier(self) -> str:
        raise NotImplementedError

    def __lt__(self, other: "DataPoint") -> bool:
        """The order of the text."""
        return self.start_position < other.start_position

    def __repr__(self) -> str:
        own = [label for label in self.labels if label.data_point is self]
        labels = "; ".join(f"{label.value}{label.metadata_str} ({label.score:.4f})" for label in own)
        return f"{self.unlabeled_identifier} → {labels}" if labels else self.unlabeled_identifier

    def to_dict(self, tag_type: str | None = None) -> JsonObject:
        return {
            "text": self.text,
            "start_pos": self.start_position,
            "end_pos": self.end_position,
            "labels": [label.to_dict() for label in self.get_labels(tag_type)],
        }


def without(embeddings: Vectors | None, names: list[str] | None) -> Vectors | None:
    """The embeddings that are not among `names`; none where no names are given."""
    if embeddings is None or names is None:
        return None
    return {name: vector for name, vector in embeddings.items() if name not in names} or None


def on_one_device(vectors: "list[torch.Tensor]") -> "list[torch.Tensor]":
    """The vectors on a GPU where one of them is, so that they can be put side by side.

    Stored vectors lie on the CPU, learned ones on the GPU that learns them.
    """
    device = next((vector.device for vector in vectors if vector.device.type != "cpu"), None)
    return vectors if device is None else [vector.to(device) for vector in vectors]


def moved(embeddings: Vectors | None, device: "torch.device | str", pin_memory: bool = False) -> Vectors | None:
    """The embeddings on `device`."""
    if embeddings is None:
        return None
    if pin_memory:
        embeddings = {name: vector.pin_memory() for name, vector in embeddings.items()}
    return {name: vector.to(device, non_blocking=pin_memory) for name, vector in embeddings.items()}
