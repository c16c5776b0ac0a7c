"""checkpoint.pt: everything that a stopped training needs to continue as if it had never stopped.

The file holds only tensors, numbers and text, so torch's weights-only reader, which executes nothing, reads it.
"""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from charlm.errors import ModelFileError
from charlm.storage.atomic import atomic_write

_FORMAT = "charlm.checkpoint/1"
_FILE_NAMES = {
    "rollbacks": "setbacks",
    "units": "characters",
    "validated_units": "validated_characters",
    "best_units": "best_characters",
}
"""What the file calls a field by another name."""


@dataclass(kw_only=True)
class Progress:
    """How far a training has come, in plain numbers."""

    step: int = 0
    """Optimizer steps done."""

    units: int = 0
    """Units predicted while training."""

    seconds: float = 0.0
    """Seconds spent training, without validations and checkpoints."""

    epoch: int = 0
    """Number of the current epoch, from 0."""

    split: int = 0
    """Place in the epoch's shard order."""

    row: int = 0
    """Next row of the shard's streams."""

    splits_read: int = 0
    """Shards read to their end since the start."""

    validations: int = 0
    """Validations done."""

    validation_seconds: float = 0.0
    """Seconds that they took."""

    validated_units: int = -1
    """`units` at the last validation."""

    best_loss: float = float("inf")
    """Lowest validation loss so far, nats per unit."""

    best_units: int = 0
    """`units` when the lowest loss was reached."""

    bad_validations: int = 0
    """Validations without improvement since the last improvement or annealing (`plateau`)."""

    patient_since: int = 0
    """`units` at the last improvement or annealing (`plateau`)."""

    rate_factor: float = 1.0
    """Factor that annealing and rollbacks have put on the learning rate."""

    rollbacks: int = 0
    """Returns to an earlier checkpoint after the loss exploded."""

    averaging_since: int = -1
    """Step after which weights began to be averaged; -1 before."""

    earlier_loss: float = float("inf")
    """Lowest loss of the validations before `recent_losses` (`averaging_patience`)."""

    recent_losses: list[float] = field(default_factory=list)
    """Losses of the last validations (`averaging_patience`)."""

    window_nats: float = 0.0
    """Cross entropy summed since the last `train` event."""

    window_units: int = 0
    """Units in that sum."""

    train_loss: float = float("nan")
    """Mean training loss in the last `train` event, nats per unit."""

    def to_json(self) -> dict[str, object]:
        values = asdict(self)
        return {_FILE_NAMES.get(name, name): value for name, value in values.items()}

    def restore(self, values: Mapping[str, object]) -> None:
        """Take over what `to_json` has returned; raises TypeError when it belongs to another version."""
        names = {file_name: name for name, file_name in _FILE_NAMES.items()}
        restored = type(self)(**{names.get(name, name): value for name, value in values.items()})  # type: ignore[arg-type]
        vars(self).update(vars(restored))


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The content of checkpoint.pt."""

    model: dict[str, Tensor]
    model_config: dict[str, object]
    dictionary: dict[str, object]
    optimizer: dict[str, Any]
    progress: dict[str, object]
    hidden: list[Tensor] | None
    """The states of all streams, (nlayers, B, H) each."""

    random_state: dict[str, Tensor]
    """The states of all processes' generators by device, concatenated in the order of ranks."""

    average: dict[str, Tensor] | None = None
    """The average of the weights, once it has begun."""

    config: dict[str, object]
    num_threads: int
    num_processes: int = 1
    precision: str | None = None
    """What it was trained in, `fp32`, `bf16` or `fp16`; none in checkpoints of older versions."""

    loss_scale: dict[str, float] = field(default_factory=dict)
    """What fp16 multiplies the loss by; empty in other precisions."""

    files: dict[str, int]

    def save(self, path: Path) -> None:
        content = {each.name: getattr(self, each.name) for each in fields(self)}
        with atomic_write(path) as file:
            torch.save({"format": _FORMAT, **content}, file)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The checkpoint in a file; raises ModelFileError when it is missing, damaged, or not to be trusted."""
        if not path.is_file():
            raise ModelFileError(f"no checkpoint at {path}")
        return cls._load(path, path)

    @staticmethod
    def read(path: Path) -> bytes:
        """The bytes of a file; raises ModelFileError when it is missing."""
        if not path.is_file():
            raise ModelFileError(f"no checkpoint at {path}")
        return path.read_bytes()

    @classmethod
    def parse(cls, data: bytes, path: Path) -> Self:
        """The checkpoint in the bytes of the file `path`."""
        return cls._load(io.BytesIO(data), path)

    @classmethod
    def _load(cls, source: Path | io.BytesIO, path: Path) -> Self:
        try:
            content = torch.load(source, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged archive raises almost anything
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelFileError(f"{path} is not a checkpoint that we can trust: {reason[:200]}") from error
        if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
            raise ModelFileError(f"{path} is not a checkpoint of this program")
        try:
            return cls(**content)
        except TypeError as error:
            raise ModelFileError(f"{path} is a checkpoint of another version: {error}") from error

    def restored_progress(self) -> Progress:
        progress = Progress()
        progress.restore(self.progress)
        return progress


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of the generators that dropout draws from, by device."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
