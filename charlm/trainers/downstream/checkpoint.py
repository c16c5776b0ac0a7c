"""checkpoint.pt of a tagger or classifier: the model, and all that its training needs to resume exactly.

It is a model file with a second part, so a model can be loaded from it too.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from torch import Tensor

from charlm.errors import ModelFileError
from charlm.models.downstream_model import MODEL_PART, DownstreamModel
from charlm.storage.archive import Part, read_archive, write_archive
from charlm.storage.atomic import JsonObject
from charlm.storage.torch_file import errors_name
from charlm.trainers.downstream.plateau import PlateauScheduler

_PART = "training"


@dataclass(kw_only=True)
class DownstreamProgress:
    """The progress of a training after an epoch. All of it is plain numbers."""

    plateau: PlateauScheduler
    """The learning rate, and what it depends on."""

    epoch: int = 0
    """Epochs done."""

    step: int = 0
    """Optimizer steps done."""

    best_epoch: int = 0
    """Epoch with the highest score, counted from 1."""

    seconds: float = 0.0
    """Seconds spent training, scoring not counted."""

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: JsonObject) -> Self:
        return cls(**values | {"plateau": PlateauScheduler(**values["plateau"])})


@dataclass(frozen=True, kw_only=True)
class DownstreamCheckpoint:
    """The content of checkpoint.pt."""

    model: Part
    progress: DownstreamProgress
    optimizer: Part
    random_state: dict[str, Tensor]
    corpus: str
    """Fingerprint of the sentences to learn from."""

    precision: str | None = None
    """What it was trained in, `fp32`, `bf16` or `fp16`; none in checkpoints of older versions."""

    loss_scale: dict[str, float] = field(default_factory=dict)
    """What fp16 multiplies the loss by; empty in other precisions."""

    files: dict[str, int]
    """Length of every file that only grows."""

    def save(self, path: Path) -> None:
        settings = {
            "progress": self.progress.to_json(),
            "optimizer": self.optimizer.settings,
            "corpus": self.corpus,
            "precision": self.precision,
            "loss_scale": self.loss_scale,
            "files": self.files,
        }
        tensors = {f"optimizer.{name}": tensor for name, tensor in self.optimizer.tensors.items()}
        tensors |= {f"random.{name}": tensor for name, tensor in self.random_state.items()}
        write_archive(path, {MODEL_PART: self.model, _PART: Part(settings, tensors)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The checkpoint in a file; raises ModelFileError when it is missing, damaged, or no checkpoint."""
        parts = read_archive(path)
        if _PART not in parts:
            raise ModelFileError(f"{path} is a model but no checkpoint: train with checkpoint=True to get one")
        settings, tensors = parts[_PART].settings, parts[_PART].tensors
        with errors_name(path):
            return cls(
                model=parts[MODEL_PART],
                progress=DownstreamProgress.from_json(settings["progress"]),
                optimizer=Part(settings["optimizer"], _under(tensors, "optimizer.")),
                random_state=_under(tensors, "random."),
                corpus=settings["corpus"],
                precision=settings.get("precision"),
                loss_scale=settings.get("loss_scale", {}),
                files=settings["files"],
            )

    def restored_model(self) -> DownstreamModel:
        return DownstreamModel.from_part(self.model)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
