"""Trainers. `ModelTrainer` is imported when it is asked for, so that light modules here stay light."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charlm.trainers.model_trainer import ModelTrainer

__all__ = ["ModelTrainer"]


def __getattr__(name: str) -> Any:
    if name != "ModelTrainer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from charlm.trainers.model_trainer import ModelTrainer

    return ModelTrainer
