"""checkpoint.pt: everything that a stopped training needs to go on as if it had never stopped.

Holds tensors, numbers and text alone, so it is read with torch's weights-only reader, which executes nothing.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from charlm.errors import ModelFileError
from charlm.storage.atomic import atomic_write

_FORMAT = "charlm.checkpoint/1"


@dataclass(kw_only=True)
class Progress:
    """Where a training stands. All of it is plain numbers."""

    step: int = 0
    """Optimizer steps done."""

    characters: int = 0
    """Units predicted while training."""

    seconds: float = 0.0
    """Seconds spent training, validations and checkpoints not counted."""

    epoch: int = 0
    """Epoch that is being read, from 0."""

    split: int = 0
    """Place in the epoch's shard order."""

    row: int = 0
    """Row of the shard's streams that is read next."""

    splits_read: int = 0
    """Shards read to their end since the start."""

    validations: int = 0
    """Validations done."""

    validated_characters: int = -1
    """`characters` at the last validation."""

    best_loss: float = float("inf")
    """Lowest validation loss so far, nats per unit."""

    best_characters: int = 0
    """`characters` when it was reached."""

    bad_validations: int = 0
    """Validations without improvement since the last improvement or annealing (`plateau`)."""

    patient_since: int = 0
    """`characters` at the last improvement or annealing (`plateau`)."""

    rate_factor: float = 1.0
    """What annealing and guards have left of the learning rate."""

    setbacks: int = 0
    """Returns to an earlier checkpoint after the loss exploded."""

    window_nats: float = 0.0
    """Cross entropy summed since the last `train` event."""

    window_units: int = 0
    """Units in that sum."""

    train_loss: float = float("nan")
    """Mean loss of the last full window, nats per unit."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The content of checkpoint.pt."""

    model: dict[str, Tensor]
    model_config: dict[str, Any]
    dictionary: dict[str, Any]
    optimizer: dict[str, Any]
    progress: dict[str, Any]
    hidden: list[Tensor] | None
    """The states of all streams, (nlayers, B, H) each."""

    random_state: dict[str, Tensor]
    """The states of all processes' generators, one after the other."""

    config: dict[str, Any]
    num_threads: int
    num_processes: int = 1
    precision: str | None = None
    """What it was trained in, `fp32` or `bf16`; none in checkpoints that do not say."""

    files: dict[str, int]

    def save(self, path: Path) -> None:
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        with atomic_write(path) as file:
            torch.save({"format": _FORMAT, **content}, file)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The checkpoint in a file; raises ModelFileError when it is missing, damaged, or not to be trusted."""
        if not path.is_file():
            raise ModelFileError(f"no checkpoint at {path}")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged archives raise almost anything
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelFileError(f"{path} is not a checkpoint that we can trust: {reason[:200]}") from error
        if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
            raise ModelFileError(f"{path} is not a checkpoint of this program")
        try:
            return cls(**content)
        except TypeError as error:
            raise ModelFileError(f"{path} is a checkpoint of another version: {error}") from error

    def restored_progress(self) -> Progress:
        return Progress(**self.progress)


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of the generators that dropout draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def progress_values(progress: Progress) -> dict[str, Any]:
    return asdict(progress)
