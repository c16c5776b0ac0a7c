"""One seed for everything that draws at random."""

import random

import numpy as np
import torch


def set_seed(seed: int) -> None:
    """Seed Python's `random`, NumPy and torch, on the CPU and on every GPU."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
