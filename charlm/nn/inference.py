"""Evaluation mode and no gradients, for a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from charlm.language_models.language_model import LanguageModel


@contextmanager
def inference(model: "LanguageModel") -> Iterator[None]:
    """The model without dropout and gradients for the block, and as it was before behind it."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)
