"""Label: a value given to a token, a span or a sentence, as Flair prints and compares it."""

from typing import TYPE_CHECKING, Any, Self

from charlm.storage.atomic import JsonObject

if TYPE_CHECKING:
    from charlm.data.data_point import DataPoint


class Label:
    """A value with a confidence, usually in [0, 1].

    Attributes:
        data_point: what is labelled; None for a label that stands alone.
        value: the label itself, such as `LOC`.
        metadata: whatever else was given by name: `add_label("ner", "LOC", source="gazetteer")`.
    """

    __slots__ = ("_metadata", "data_point", "score", "value")

    def __init__(self, data_point: "DataPoint | None", value: str, score: float = 1.0, **metadata: object) -> None:
        self.data_point: Any = data_point  # as in Flair, a DataPoint to whoever reads it
        self.value = value
        self.score = score
        self._metadata = metadata or None

    def set_value(self, value: str, score: float = 1.0) -> Self:
        self.value = value
        self.score = score
        return self

    @property
    def metadata(self) -> dict[str, object]:
        return {} if self._metadata is None else self._metadata

    def to_dict(self) -> JsonObject:
        return {"value": self.value, "confidence": self.score}

    # ---- what a label is called --------------------------------------------------------------------------------

    @property
    def metadata_str(self) -> str:
        """`/source=gazetteer`; empty without metadata."""
        return "".join(f"/{name}={value}" for name, value in self.metadata.items())

    @property
    def unlabeled_identifier(self) -> str:
        """`Token[2]: "Berlin"`."""
        return str(self.data_point.unlabeled_identifier)

    @property
    def labeled_identifier(self) -> str:
        """`Token[2]: "Berlin"/LOC`."""
        return f"{self.unlabeled_identifier}/{self.value}"

    @property
    def shortstring(self) -> str:
        """`"Berlin"/LOC`."""
        return f'"{self.data_point.text}"/{self.value}'

    def __repr__(self) -> str:
        return f"'{self.unlabeled_identifier}'/'{self.value}'{self.metadata_str} ({round(self.score, 4)})"

    def __str__(self) -> str:
        return f"{self.unlabeled_identifier} → {self.value}{self.metadata_str} ({round(self.score, 4)})"

    # ---- comparison --------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Label):
            return NotImplemented
        return (self.value, self.score) == (other.value, other.score) and self.data_point == other.data_point

    def __hash__(self) -> int:
        return hash((self.data_point, self.value, self.score))

    def __lt__(self, other: "Label") -> bool:
        """The order of what is labelled in the text."""
        return bool(self.data_point < other.data_point)


setattr(Label, "_score", vars(Label)["score"])  # noqa: B010  # its name inside Flair; mypy does not know slots so
