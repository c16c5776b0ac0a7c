"""The settings of a language model: its width, depth and kind, as in `config.json`."""

import reprlib
from dataclasses import dataclass

from charlm.config import JsonConfig
from charlm.errors import ModelFileError

# V = dictionary size, E = embedding size, H = hidden size, G = gates of a cell, O = width of the output (nout, or H)
GATES = {"LSTM": 4, "GRU": 3}
_LARGEST_SIZE = 1_000_000


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
    """Text between two documents."""

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
                raise ModelFileError(f"{name} is a number from 1 to {_LARGEST_SIZE}, not {shortened(size)}")
        for name in ("is_forward_lm", "has_decoder"):
            if not isinstance(getattr(self, name), bool):
                raise ModelFileError(f"{name} is true or false, not {shortened(getattr(self, name))}")
        if not isinstance(self.document_delimiter, str):
            raise ModelFileError(f"document_delimiter is text, not {shortened(self.document_delimiter)}")
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout <= 1:
            raise ModelFileError(f"dropout is a share in [0, 1], not {shortened(self.dropout)}")
        if self.recurrent_type not in tuple(GATES):  # not a look-up: a value from a file may not be hashable
            raise ModelFileError(f"recurrent_type is LSTM or GRU, not {shortened(self.recurrent_type)}")

    @property
    def direction(self) -> str:
        return "forward" if self.is_forward_lm else "backward"


def shortened(value: object) -> str:
    return reprlib.repr(value)  # bounded, however large or self-similar the value is
