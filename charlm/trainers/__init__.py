"""Trainers. `ModelTrainer` is imported on first use, so that the light modules here stay light."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charlm.trainers.model_trainer import ModelTrainer

__all__ = ["ModelTrainer"]


def __getattr__(name: str) -> object:
    if name != "ModelTrainer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from charlm.trainers.model_trainer import ModelTrainer

    return ModelTrainer
