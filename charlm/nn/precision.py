"""The precision that a device can compute in, and its instruction set.

Not every processor multiplies bf16, and oneDNN refuses an LSTM in bf16 where it has no instructions for it, or where
ONEDNN_MAX_CPU_ISA keeps it from using them. Trying it is the only test: what torch reports for a processor does not
depend on that variable. Where bf16 is not possible, fp32 takes its place.
"""

import functools
import os
import platform
from typing import Literal

import torch

from charlm.nn.compat import onednn_lstm_layer

Precision = Literal["fp32", "bf16"]
ReadingPrecision = Literal["fp32", "bf16", "int8"]
TrainingPrecision = Literal["fp32", "bf16", "fp16"]

_FIRST_TENSOR_CORES = (7, 0)  # compute capability; before it fp16 is no faster

# Levels of oneDNN on x86-64, lowest first, and the capability of the processor that each of them needs.
_LEVELS = {
    "SSE41": "sse4_1",
    "AVX": "avx",
    "AVX2": "avx2",
    "AVX512_CORE": "avx512_dq",
    "AVX512_CORE_VNNI": "avx512_vnni",
    "AVX512_CORE_BF16": "avx512_bf16",
    "AVX512_CORE_FP16": "avx512_fp16",
    "AVX512_CORE_AMX": "amx_bf16",
}
_NATIVE_BF16 = ("AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX")


def resolve_precision(precision: str, device: torch.device) -> Precision:
    """The precision that `device` computes in: `auto` is bf16 where the hardware multiplies it natively, else fp32.

    `bf16` is fp32 where the device cannot compute it; `precision_notice` reports it.
    """
    if precision == "fp32" or not can_compute_bf16(device):
        return "fp32"
    return "bf16" if precision == "bf16" or _multiplies_bf16(device) else "fp32"


def resolve_training_precision(precision: str, device: torch.device) -> TrainingPrecision:
    """The precision that a training on `device` computes in; see nn/mixed_precision.py.

    On a CPU it is that of `resolve_precision`. On a GPU with tensor cores `auto` and `bf16` are fp16.
    """
    if device.type != "cuda" or precision == "fp32":
        return resolve_precision(precision, device)
    return "fp16" if torch.cuda.get_device_capability(device) >= _FIRST_TENSOR_CORES else "fp32"


def can_compute_bf16(device: torch.device) -> bool:
    """Whether `device` computes in bf16 at all, natively or not."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return _cpu_computes_bf16()


def precision_notice(asked: str, used: str, device: torch.device, *, before: str | None = None) -> str | None:
    """What a user should know of the precision that is used, in one line; none where it is no surprise.

    `before` is the precision of a training that is resumed here.
    """
    here = f"this {device.type} ({instruction_set(device)})"
    if before not in (None, used):
        return (
            f"the training was in {before} so far and goes on in {used} on {here}: its weights will not be those of an "
            "undisturbed one"
        )
    if asked == "bf16" and used == "fp16":
        return f"precision=bf16 is fp16 with a scaled loss on {here}: cuDNN trains recurrent layers in no other"
    if asked == "int8" != used:
        return f"precision=int8 is not possible for this model on {here}, so {used} is used"
    if asked == "bf16" != used:
        return f"precision=bf16 is not possible on {here}, so fp32 is used: exact, and slower than bf16 elsewhere"
    return None


def instruction_set(device: torch.device) -> str:
    """The instructions that are used, not only those that the hardware has: `torch AVX2, oneDNN AVX2`, or `sm_90`."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"sm_{major}{minor}"
    used_by_torch = f"torch {torch.backends.cpu.get_cpu_capability()}"
    level = onednn_level()
    return f"{used_by_torch}, {f'oneDNN {level}' if level else platform.machine()}"


def onednn_level() -> str | None:
    """The highest level that oneDNN uses here, as ONEDNN_MAX_CPU_ISA calls it; none where it is not on x86-64."""
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not has_onednn or platform.machine() not in ("x86_64", "AMD64"):
        return None
    has = torch.cpu.get_capabilities()
    limit = (os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "").upper()
    # A value between two levels, such as AVX2_VNNI, counts as the lower one; an unknown value is no limit.
    limits = [number for number, level in enumerate(_LEVELS, 1) if f"{limit}_".startswith(f"{level}_")]
    allowed = list(_LEVELS.items())[: max(limits, default=None)]
    return next((level for level, capability in reversed(allowed) if has.get(capability)), None)


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return onednn_level() in _NATIVE_BF16


@functools.cache
def _cpu_computes_bf16() -> bool:
    """Whether the operations that this program has in bf16 work."""
    try:
        _try_operations(torch.bfloat16)
    except RuntimeError:  # of oneDNN, which has no such primitive here
        return False
    return True


def _try_operations(dtype: torch.dtype) -> None:
    """Compute on a CPU in `dtype` what can be computed in bf16: products, an LSTM that learns, one that only reads."""
    size = 16
    shapes = [(4 * size, size), (4 * size, size), (4 * size,), (4 * size,)]
    weights = [torch.zeros(shape, requires_grad=True) for shape in shapes]
    state, cell = torch.zeros(1, 2, size), torch.zeros(1, 2, size)
    with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        output, *_ = torch.lstm(torch.zeros(3, 2, size), (state, cell), weights, True, 1, 0.0, True, False, False)
        torch.nn.functional.linear(output, weights[0]).float().sum().backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        low = [weight.to(dtype) for weight in weights]
        onednn_lstm_layer(torch.zeros(3, 2, size, dtype=dtype), low, state[0].to(dtype), cell[0])
