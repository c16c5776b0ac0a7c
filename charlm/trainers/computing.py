"""What a training computes on, and how, as its first event reports it."""

import torch

from charlm.nn.kernel import kernel_name
from charlm.nn.precision import instruction_set
from charlm.trainers.events import Computing


def computing(device: torch.device, precision: str) -> Computing:
    """The facts about `device` that the weights of a training in `precision` depend on."""
    facts: Computing = {
        "device": str(device),
        "precision": precision,
        "instruction_set": instruction_set(device),
        "kernel": kernel_name(device, precision),
    }
    if device.type == "cuda":
        facts["tf32"] = bool(torch.backends.cudnn.allow_tf32)
        facts["deterministic"] = torch.are_deterministic_algorithms_enabled() or torch.backends.cudnn.deterministic
    return facts
