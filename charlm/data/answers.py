"""The vectors of texts as an answer to a program: pooled, in a smaller type, as lists of numbers or as base64.

`AnswerForm()` -> {"tokens": ["I", "see"], "embeddings": [[0.1, …], [0.2, …]]}
`AnswerForm(pooling="mean")` -> {"embedding": [0.15, …]}
`AnswerForm(base64=True)` -> {"tokens": ["I", "see"], "embeddings": "zczMPQ…", "shape": [2, 512], "dtype": "float32"}
"""

# N = tokens of a text, D = width of an embedding

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from charlm.errors import ConfigError

Pooling = Literal["token", "mean", "first_last"]
NumberType = Literal["float32", "float16"]


@dataclass(frozen=True, kw_only=True)
class AnswerForm:
    """What of the vectors is in an answer, and how it is written."""

    pooling: Pooling = "token"
    """`token`: a vector for each token; `mean`: their mean; `first_last`: those of the first and the last, joined."""

    dtype: NumberType = "float32"
    """Of the numbers; `float16` keeps three digits."""

    base64: bool = False
    """Whether the numbers are their little-endian bytes in base64, row by row, instead of lists."""

    def __post_init__(self) -> None:
        for name, known in (("pooling", get_args(Pooling)), ("dtype", get_args(NumberType)), ("base64", (True, False))):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is {' or '.join(map(str, known))}, got {getattr(self, name)!r}")

    @classmethod
    def from_params(cls, params: Mapping[str, object] | None) -> "AnswerForm":
        """The form that the parameters of a request describe; raises ConfigError where there is none."""
        given = dict(params or {})
        if unknown := given.keys() - cls.__dataclass_fields__.keys():
            known = ", ".join(cls.__dataclass_fields__)
            raise ConfigError(f"there is no parameter {', '.join(sorted(unknown))}; there are {known}")
        return cls(**given)  # type: ignore[arg-type]  # __post_init__ checks the values

    def write(self, words: list[str], vectors: npt.NDArray[np.float32]) -> dict[str, object]:
        """The answer for a text of N words with these vectors, (N, D)."""
        if self.pooling == "token":
            return {"tokens": words, **self._numbers("embeddings", vectors)}
        return self._numbers("embedding", self._pooled(vectors))

    def _pooled(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(N, D) -> (D,) or (2 D,); zeros for a text without tokens."""
        if not len(matrix):
            matrix = np.zeros((1, matrix.shape[1]), np.float32)
        if self.pooling == "mean":
            return np.asarray(matrix.mean(axis=0), np.float32)
        return np.concatenate([matrix[0], matrix[-1]])

    def _numbers(self, name: str, values: npt.NDArray[np.float32]) -> dict[str, object]:
        if not self.base64:
            return {name: values.astype(self.dtype).tolist()}
        raw = values.astype(np.dtype(self.dtype).newbyteorder("<")).tobytes()
        return {name: b64encode(raw).decode("ascii"), "shape": list(values.shape), "dtype": self.dtype}
