"""Trainers. They are imported on first use, so that the light modules here stay light."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charlm.trainers.language_model_trainer import LanguageModelTrainer, TextCorpus
    from charlm.trainers.model_trainer import ModelTrainer

__all__ = ["LanguageModelTrainer", "ModelTrainer", "TextCorpus"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "model_trainer" if name == "ModelTrainer" else "language_model_trainer"
    return getattr(import_module(f"charlm.trainers.{module}"), name)
