"""What a language model can have that Flair's have not: mostly for words."""

import dataclasses
from dataclasses import dataclass

from charlm.config.json_config import JsonConfig, check_share
from charlm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Extensions(JsonConfig):
    """Shared weights, projected states, and more kinds of dropout; none of them by default."""

    tie_weights: bool = False
    """One matrix is both the embedding and the weights of the softmax, which has as many rows as the dictionary. The
    last of several layers is then as wide as the embedding."""

    projection: int | None = None
    """Width that the state of each layer is projected to within the recurrence (LSTMP); none by default."""

    locked_dropout: bool = False
    """Drop the same values of the embedded and of the output vectors at all times of a sequence."""

    input_dropout: float | None = None
    """Share of the embedded values that is dropped, instead of `dropout`."""

    hidden_dropout: float | None = None
    """Share of the values between layers that is dropped, the same at all times, instead of `dropout`."""

    embedding_dropout: float = 0.0
    """Share of the words of the dictionary that is dropped from a sequence."""

    weight_dropout: float = 0.0
    """Share of the recurrent weights that is dropped."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("input_dropout", "hidden_dropout", "embedding_dropout", "weight_dropout"):
            if getattr(self, name) is not None:
                check_share(name, getattr(self, name))
        if self.projection is not None and self.projection < 1:
            raise ConfigError(f"projection must be at least 1, got {self.projection}")

    @property
    def has_stack(self) -> bool:
        """Whether the layers must be apart from each other, whatever their widths are."""
        return self.projection is not None or self.hidden_dropout is not None or self.weight_dropout > 0


EXTENSIONS = tuple(field.name for field in dataclasses.fields(Extensions))


def layer_sizes(
    extensions: Extensions, *, hidden_size: int, nlayers: int, embedding_size: int, nout: int | None
) -> list[int]:
    """Width of the cells of each layer.

    Raises ConfigError when the weights are shared, but the output is not as wide as the embedding.
    """
    sizes = [hidden_size] * nlayers
    if not extensions.tie_weights:
        return sizes
    if nout is None and extensions.projection is None and nlayers > 1:
        sizes[-1] = embedding_size
    width = nout or extensions.projection or sizes[-1]
    if width != embedding_size:
        raise ConfigError(
            f"tie_weights needs an output as wide as the embedding, {embedding_size}, not {width}; "
            f"set embedding_size={width}, or nout={embedding_size}"
        )
    return sizes
