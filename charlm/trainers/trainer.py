"""What programs written for Flair import from `trainers.trainer`."""

from charlm.trainers.model_trainer import ModelTrainer

__all__ = ["ModelTrainer"]
