"""Which compiled kernel computes a layer, if any: see charlm/native."""

import torch
from torch import Tensor

from charlm.native import Kernel, find_kernel
from charlm.nn.precision import onednn_level

_AT_MOST = {"AVX2": "avx2", "AVX512_CORE": "avx512", "AVX512_CORE_VNNI": "avx512"}
_WITHOUT_KERNEL = ("SSE41", "AVX")
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def kernel_for(x: Tensor) -> Kernel | None:
    """The kernel that computes at the precision of `x`, or that of autocast; None where torch has to."""
    return kernel_of(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype, x.device)


def kernel_name(device: torch.device, precision: str) -> str:
    """What computes an LSTM in `precision` on `device`: a variant of the kernels, or `torch`."""
    kernel = kernel_of(_TYPES[precision], device)
    return "torch" if kernel is None else kernel.name


def kernel_of(dtype: torch.dtype, device: torch.device) -> Kernel | None:
    """The best kernel whose instructions oneDNN may use too, so that one variable makes both an older processor."""
    if device.type != "cpu":
        return None
    level = onednn_level()
    if dtype == torch.uint8 and level == "AVX512_CORE":  # the one before VNNI
        return None
    return None if level in _WITHOUT_KERNEL else find_kernel(dtype, at_most=_AT_MOST.get(level or ""))
