"""The settings of a language model: its width, depth and kind, as in `config.json`."""

import reprlib
from dataclasses import dataclass
from typing import ClassVar

from charlm.config.extensions import EXTENSIONS, Extensions, layer_sizes
from charlm.errors import ConfigError, ModelFileError
from charlm.storage.atomic import JsonObject

# V = dictionary size, E = embedding size, H = hidden size, G = gates of a cell, O = width of the output (nout, or H)
GATES = {"LSTM": 4, "GRU": 3}
_LARGEST_SIZE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class LanguageModelConfig(Extensions):
    """The arguments of a language model, under Flair's names; of those that Flair lacks, the ones that are used."""

    OMITTED_AT_DEFAULT: ClassVar[frozenset[str]] = frozenset({*EXTENSIONS, "cutoffs"})

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

    cutoffs: tuple[int, ...] = ()
    """Where each cluster of a clustered softmax begins in the dictionary; none: the softmax is exact."""

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
        self._check_extensions()

    def _check_extensions(self) -> None:
        cutoffs = self.cutoffs
        if not isinstance(cutoffs, list | tuple) or not all(type(cutoff) is int for cutoff in cutoffs):
            raise ModelFileError(f"cutoffs are whole numbers, not {shortened(cutoffs)}")
        object.__setattr__(self, "cutoffs", tuple(cutoffs))  # JSON has lists
        if any(not 0 < cutoff <= _LARGEST_SIZE for cutoff in cutoffs) or list(cutoffs) != sorted(set(cutoffs)):
            raise ModelFileError(f"cutoffs are ascending numbers from 1 to {_LARGEST_SIZE}, not {shortened(cutoffs)}")
        try:
            has_stack, sizes = self.extensions.has_stack, self.layer_sizes
        except ConfigError as error:
            raise ModelFileError(str(error)) from error
        if cutoffs and not self.tie_weights:
            raise ModelFileError("a clustered softmax shares the rows of the embedding: it needs tie_weights")
        if has_stack and self.recurrent_type != "LSTM":
            raise ModelFileError("projection, hidden_dropout and weight_dropout are for an LSTM only")
        if self.projection is not None and self.projection >= min(sizes):
            raise ModelFileError(f"projection={self.projection} must be smaller than the layers, {min(sizes)}")

    @property
    def extensions(self) -> Extensions:
        return Extensions(**{name: getattr(self, name) for name in EXTENSIONS})

    @property
    def layer_sizes(self) -> list[int]:
        """Width of the cells of each layer."""
        return layer_sizes(
            self,
            hidden_size=self.hidden_size,
            nlayers=self.nlayers,
            embedding_size=self.embedding_size,
            nout=self.nout,
        )

    @property
    def is_stack(self) -> bool:
        """Whether each layer is an LSTM of its own."""
        return self.has_stack or len(set(self.layer_sizes)) > 1

    @property
    def in_flair(self) -> bool:
        """Whether Flair has such a model; where it has not, no file is written that it would misread."""
        return not any(name in self.to_json() for name in self.OMITTED_AT_DEFAULT)

    def to_json(self) -> JsonObject:
        values = super().to_json()
        return values | {"cutoffs": list(self.cutoffs)} if self.cutoffs else values

    @property
    def direction(self) -> str:
        return "forward" if self.is_forward_lm else "backward"


def shortened(value: object) -> str:
    return reprlib.repr(value)  # bounded, however large or self-similar the value is
