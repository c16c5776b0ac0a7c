"""Where tensors are computed: one rule for training, scoring, embedding and generating; and how they get there."""

import os

import torch
from torch import Tensor

import charlm
from charlm.config import DEVICE_VARIABLE, check_device_name
from charlm.errors import ConfigError


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


def is_device_named() -> bool:
    """Whether `charlm.device` or CHARLM_DEVICE names the device, so that no other one will do."""
    return any(str(name or "auto") != "auto" for name in (vars(charlm).get("device"), os.environ.get(DEVICE_VARIABLE)))


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`; a GPU copies it from pinned memory by itself while the program goes on."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _device(name: str, source: str) -> torch.device:
    check_device_name(name, source)
    kind, _, number = name.partition(":")
    if kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(f"{source}={name}, but torch finds no GPU here; use cpu or auto")
    index, count = int(number or 0), torch.cuda.device_count()
    if index >= count:
        raise ConfigError(f"{source}={name}, but torch finds {count} GPU(s) here; the first is cuda:0")
    return torch.device("cuda", index)
