"""Evaluation mode and no gradients, for a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from charlm.language_models.language_model import LanguageModel


@contextmanager
def inference(model: "LanguageModel") -> Iterator[None]:
    """Run the block without dropout and gradients; the mode of the model is restored after it, also on errors."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)
