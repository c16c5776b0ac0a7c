"""What computes the answers of a registered model."""

import os
from typing import Literal, get_args

from charlm.errors import ConfigError

Runtime = Literal["torch", "onnx", "onnx-int8"]
RUNTIME_VARIABLE = "CHARLM_RUNTIME"
"""Names what computes the answers of the models that are registered; torch by default."""


def check_runtime(name: str, source: str = RUNTIME_VARIABLE) -> Runtime:
    """The runtime of a name; raises ConfigError where there is none."""
    for known in get_args(Runtime):
        if name == known:
            return known  # type: ignore[no-any-return]  # one of the literals
    raise ConfigError(f"{source} is torch, onnx or onnx-int8, got {name!r}")


def chosen_runtime() -> Runtime:
    """The runtime that the environment names; raises ConfigError where there is none of that name."""
    return check_runtime(os.environ.get(RUNTIME_VARIABLE, "torch"))
