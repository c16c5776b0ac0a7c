"""Which tests of bf16 the processor can run."""

import pytest
import torch

CPU = torch.device("cpu")


def _has_bf16_products() -> bool:
    matrix = torch.zeros(32, 32, dtype=torch.bfloat16)
    try:
        torch.baddbmm(matrix[None], (matrix @ matrix)[None], matrix[None])
    except RuntimeError:  # oneDNN is kept from the instructions that it would need
        return False
    return True


needs_bf16_products = pytest.mark.skipif(not _has_bf16_products(), reason="no products in bf16 here")
