"""Where tensors are computed: one rule for training, scoring, embedding and generating."""

import os

import torch

import charlm
from charlm.errors import ConfigError

DEVICE_VARIABLE = "CHARLM_DEVICE"


def find_device(name: str | torch.device | None = None) -> torch.device:
    """The device called `name`: `cpu`, `cuda` (the first GPU), `cuda:N`, or `auto`.

    `auto`, like None, leaves the choice to `charlm.device`, then to the variable CHARLM_DEVICE, and at last to the
    machine: a GPU where there is one. Raises ConfigError for another name, and for a GPU that is not there.
    """
    for choice, source in (
        (name, "device"),
        (vars(charlm).get("device"), "charlm.device"),
        (os.environ.get(DEVICE_VARIABLE), DEVICE_VARIABLE),
    ):
        if choice and str(choice) != "auto":
            return _device(str(choice), source)
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def _device(name: str, source: str) -> torch.device:
    kind, _, number = name.partition(":")
    is_known = name == "cpu" or (kind == "cuda" and (name == kind or number.isdecimal()))
    if not is_known:
        raise ConfigError(f"{source} is auto, cpu, cuda or cuda:0, got {name!r}")
    if kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(f"{source}={name}, but torch finds no GPU here; use cpu or auto")
    index, count = int(number or 0), torch.cuda.device_count()
    if index >= count:
        raise ConfigError(f"{source}={name}, but torch finds {count} GPU(s) here; the first is cuda:0")
    return torch.device("cuda", index)
