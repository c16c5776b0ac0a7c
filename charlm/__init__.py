"""Character language models: from raw text to word embeddings. No scheduler or tracker is needed here."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

device: "torch.device | str | None" = None
"""Where models are computed, as `flair.device`; None leaves it to CHARLM_DEVICE and the machine (nn/device.py)."""
