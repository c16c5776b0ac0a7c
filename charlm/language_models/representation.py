"""What a language model makes of every character of a text."""

# T = characters of the longest text, B = texts, H = hidden size

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from charlm.language_models.language_model import LanguageModel


def get_representation(model: "LanguageModel", strings: Sequence[str], start_marker: str, end_marker: str) -> Tensor:
    """Top-layer output (T, B, H or nout) over the texts with a marker at both ends, with no gradient.

    A backward model reads the text reversed between the markers. Shorter texts are filled up with spaces.
    """
    texts = [f"{start_marker}{text if model.is_forward_lm else text[::-1]}{end_marker}" for text in strings]
    length = max(map(len, texts))
    ids = np.stack([model.dictionary.encode(text.ljust(length)) for text in texts], axis=1).astype(np.int64)
    with torch.no_grad():
        return model.represent(model.encoder(torch.from_numpy(ids).to(model.device)))[0]
