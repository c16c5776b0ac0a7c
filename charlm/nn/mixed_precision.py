"""Training steps in a precision below fp32: autocast, and the scale of the loss that fp16 needs.

On CUDA the precision is fp16, because torch's autocast casts cuDNN's recurrent layers to fp16 whatever type it was
asked for (torch 2.13), and because cuDNN's persistent kernels exist for fp16 alone. The gradient of the mean loss of
400,000 characters lies below what fp16 can hold, so the loss is multiplied by 2^16 first, and the gradients are divided
by it before they are clipped (Micikevicius et al. 2018, "Mixed Precision Training"). A step whose gradients overflow
all the same is left out, and the scale is halved. Numbers: docs/adr/0015-gpus.md.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

LOSS_SCALE = 2.0**16
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class MixedPrecision:
    """Computes a loss, its gradients and a step in `fp32`, `bf16` or `fp16`.

    `loss_scale` is what fp16 begins with; the default fits a mean over hundreds of units or more, 256 a sum.
    """

    def __init__(self, device: torch.device, precision: str, *, loss_scale: float = LOSS_SCALE) -> None:
        self.precision = precision
        self._device_type = device.type
        self._first_scale = loss_scale
        self._scaler = self._new_scaler()

    def autocast(self) -> AbstractContextManager[None]:
        """The block computes in the precision where that is safe."""
        dtype = _DTYPES.get(self.precision)
        return torch.autocast(self._device_type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`, scaled in fp16, to those that are there."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(self, optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], max_norm: float) -> None:
        """Clip the gradients to `max_norm` and take one step.

        With an optimizer that updates all weights in one kernel (`fused=True`) nothing waits for a GPU.
        """
        self._scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(parameters, max_norm)
        self._scaler.step(optimizer)
        self._scaler.update()

    @property
    def loss_scale(self) -> float | None:
        """The present scale of the loss; None where it is not scaled. Waits for the GPU."""
        return self._scaler.get_scale() if self._scaler.is_enabled() else None

    def state(self) -> dict[str, float]:
        """What `restore` takes: the scale, and the steps since it has changed; nothing where there is none."""
        state = self._scaler.state_dict()
        return {name: state[name] for name in ("scale", "_growth_tracker") if name in state}

    def restore(self, state: dict[str, float]) -> None:
        """Go on with the scale of `state()`; where it has none, with that of the beginning."""
        self._scaler = self._new_scaler()
        if self._scaler.is_enabled():
            self._scaler.load_state_dict({**self._scaler.state_dict(), **state})

    def _new_scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(self._device_type, init_scale=self._first_scale, enabled=self.precision == "fp16")
