"""CUDA devices that are not there: tensors that report `cuda:N`, whose numbers lie in the memory of the CPU.

Inside `simulated_cuda()` torch finds GPUs, and whatever is made on or moved to `cuda` is a SimulatedTensor. It computes
on the CPU what a GPU computes, and behaves as CUDA does where that differs:

* tensors of different devices do not mix, and `numpy()` of a GPU tensor is refused, in CUDA's words;
* recurrent layers follow cuDNN: one type for all tensors, and float16 under autocast, whatever type it was asked for;
* random numbers come from a generator of each device;
* memory is counted and limited.

A `Ledger` counts, by the line of ours that caused it, what makes a program wait for a GPU (reading a number, copying
to the CPU) and what is uploaded from memory that is not pinned.

The device is torch's Python backend (PrivateUse1). A mode of torch belongs to one thread: threads that make GPU tensors
have to enter `modes()` themselves.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

from tests.simulated_cuda_runtime import Allocator, leaves_of, mapped, runtime

_NAME = "simulated"  # what torch calls the device; `cuda` itself cannot be given to Python
_aten = torch.ops.aten
_MIXES_DEVICES = {
    _aten._to_copy.default, _aten.copy_.default, _aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default,
    _aten._index_put_impl_.default, _aten._pack_padded_sequence.default, _aten._pack_padded_sequence_backward.default,
}  # fmt: skip
_WAITS = {  # the size of the result depends on numbers, or the result is a number
    _aten._local_scalar_dense.default, _aten.bincount.default, _aten.nonzero.default, _aten.masked_select.default,
    _aten._unique2.default, _aten.equal.default, _aten.repeat_interleave.Tensor, _aten.is_nonzero.default,
}  # fmt: skip
_COPIES = {_aten._to_copy.default: 0, _aten.copy_.default: 1}  # and which argument is copied
_CPU_RESULTS = {_aten._pack_padded_sequence.default: 1}  # the batch sizes stay on the CPU
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell")
_LOW_PRECISION_OPERATIONS = ("linear", "mm", "bmm", "addmm", "baddbmm", "matmul")
_OURS = ("/charlm/", "/tasks/", "/flows/")


@dataclass
class Ledger:
    """What GPUs would have done, by the line of ours that caused it."""

    waits: Counter[str] = field(default_factory=Counter)
    uploads: Counter[str] = field(default_factory=Counter)
    """Copies to a GPU that the CPU waits for."""

    pinned_uploads: Counter[str] = field(default_factory=Counter)
    """Copies to a GPU from pinned memory, which run beside the program."""

    operations: int = 0
    """About as many kernels."""

    def clear(self) -> None:
        self.waits.clear()
        self.uploads.clear()
        self.pinned_uploads.clear()
        self.operations = 0


ledger = Ledger()
allocator = Allocator()


class SimulatedTensor(Tensor):
    """A tensor of a GPU; `inner` has its numbers."""

    inner: Tensor
    index: int

    @staticmethod
    def __new__(cls, inner: Tensor, index: int) -> "SimulatedTensor":
        with torch.inference_mode(False):  # a view of a usual tensor must be one
            tensor = Tensor._make_wrapper_subclass(
                cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
                device=f"{_NAME}:{index}",
            )  # fmt: skip
        tensor.inner, tensor.index = inner, index
        allocator.add(tensor)
        return tensor

    device = property(lambda self: torch.device("cuda", self.index))  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]

    @property  # type: ignore[override]
    def data(self) -> "SimulatedTensor":
        return self.detach()

    @data.setter
    def data(self, value: "SimulatedTensor") -> None:
        Tensor.data.__set__(self, value)
        self.inner = value.inner

    def numpy(self, **_: Any) -> Any:
        raise TypeError(
            f"can't convert cuda:{self.index} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
            "memory first."
        )

    def tolist(self) -> Any:
        ledger.waits[_line()] += 1
        return self.inner.tolist()

    def __repr__(self, **_: Any) -> str:
        return f"SimulatedTensor({self.inner!r}, index={self.index})"

    def __reduce_ex__(self, protocol: Any) -> Any:  # as torch.load(map_location="cpu") gives it back
        ledger.waits[_line()] += 1
        return self.inner.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _line() -> str:
    """The innermost line of ours that is being executed."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        folder = next((folder for folder in _OURS if folder in name and "/tests/" not in name), None)
        if folder is not None:
            return f"{folder[1:]}{name.rpartition(folder)[2]}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"


# ---- operations ----------------------------------------------------------------------------------------------------


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation of torch, on the device of its tensors or on the one it names."""
    tensors = [leaf for leaf in [*leaves_of(args), *leaves_of(kwargs)] if isinstance(leaf, Tensor)]
    on_gpu = [tensor for tensor in tensors if isinstance(tensor, SimulatedTensor)]
    on_cpu = [tensor for tensor in tensors if not isinstance(tensor, SimulatedTensor)]
    target = None if kwargs.get("device") is None else torch.device(kwargs["device"])
    if target is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    _check_devices(func, on_gpu, on_cpu, is_moved=target is not None)
    index = _index_of(target, on_gpu)
    with allocator.random_numbers(index) if torch.Tag.nondeterministic_seeded in func.tags else _nothing():
        result = func(*mapped(_inner, args), **mapped(_inner, kwargs))
    ledger.operations += 1
    _note(func, args, kwargs, on_cpu, on_gpu, index)
    if func is _aten.copy_.default:
        return args[0]
    if index is None:
        return result
    known = {id(tensor.inner): tensor for tensor in on_gpu}
    stays = _CPU_RESULTS.get(func)
    if stays is not None:
        return tuple(part if place == stays else _outer(part, known, index) for place, part in enumerate(result))
    return mapped(lambda part: _outer(part, known, index), result)


def _check_devices(func: Any, on_gpu: list[Any], on_cpu: list[Tensor], *, is_moved: bool) -> None:
    indices = {tensor.index for tensor in on_gpu}
    is_scalar = torch.Tag.pointwise in func.tags and all(tensor.dim() == 0 for tensor in on_cpu)
    mixes = (bool(on_gpu and on_cpu) and not is_scalar) or len(indices) > 1
    if mixes and func not in _MIXES_DEVICES and not is_moved:
        found = [f"cuda:{index}" for index in sorted(indices)] + (["cpu"] if on_cpu else [])
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{' and '.join(found[:2])}! ({func})"
        )


def _index_of(target: torch.device | None, on_gpu: list[Any]) -> int | None:
    """The number of the GPU that has the result; None for the CPU."""
    if target is not None:
        return (target.index or 0) if target.type in ("cuda", _NAME) else None
    return on_gpu[0].index if on_gpu else None


def _note(func: Any, args: Any, kwargs: dict[str, Any], on_cpu: list[Tensor], on_gpu: list[Any], index: Any) -> None:
    """Write into the ledger what the operation makes the program wait for."""
    if func in _COPIES:
        source = args[_COPIES[func]]
        goes_up = isinstance(args[0], SimulatedTensor) if func is _aten.copy_.default else index is not None
        is_free = kwargs.get("non_blocking") or (len(args) > 2 and args[2] is True)
        if isinstance(source, SimulatedTensor) and not goes_up:
            ledger.waits[_line()] += 1
        elif goes_up and not isinstance(source, SimulatedTensor):
            is_pinned = is_free and allocator.is_pinned(source)
            (ledger.pinned_uploads if is_pinned else ledger.uploads)[_line()] += 1
    elif on_gpu and func in _MIXES_DEVICES and on_cpu and func not in _CPU_RESULTS:
        ledger.uploads[_line()] += 1  # places that lie on the CPU
    elif on_gpu and (func in _WAITS or _selects_by_mask(func, args)):
        ledger.waits[_line()] += 1


def _selects_by_mask(func: Any, args: Any) -> bool:
    is_indexed = func in (_aten.index.Tensor, _aten.index_put_.default, _aten._index_put_impl_.default)
    return is_indexed and any(isinstance(leaf, Tensor) and leaf.dtype == torch.bool for leaf in leaves_of(args[1]))


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, SimulatedTensor) else value


def _outer(value: Any, known: dict[int, SimulatedTensor], index: int) -> Any:
    if not isinstance(value, Tensor) or isinstance(value, SimulatedTensor):
        return value
    return known[id(value)] if id(value) in known else SimulatedTensor(value, index)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


class _Factories(TorchDispatchMode):
    """Makes tensors on `cuda` where no tensor of it is an argument."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device")
        names_gpu = device is not None and torch.device(device).type in ("cuda", _NAME)
        if names_gpu or any(isinstance(leaf, SimulatedTensor) for leaf in [*leaves_of(args), *leaves_of(kwargs)]):
            return _run(func, args, kwargs)
        return func(*args, **kwargs)


# ---- recurrent layers ----------------------------------------------------------------------------------------------


class _Recurrence(torch.autograd.Function):
    """A recurrent layer of the CPU whose inputs, results and gradients have the type that cuDNN gives them."""

    @staticmethod
    def forward(ctx: Any, call: Any, *tensors: SimulatedTensor) -> Any:
        ctx.dtype, ctx.index = tensors[0].dtype, tensors[0].index
        ctx.leaves = [tensor.inner.detach().float().requires_grad_() for tensor in tensors]
        with torch.enable_grad(), allocator.random_numbers(ctx.index):
            ctx.results = call(ctx.leaves)
        return tuple(SimulatedTensor(result.detach().to(ctx.dtype), ctx.index) for result in ctx.results)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        pairs = [
            (result, gradient.inner.float())
            for result, gradient in zip(ctx.results, gradients, strict=True)
            if gradient is not None
        ]
        found = torch.autograd.grad(
            [result for result, _ in pairs], ctx.leaves, [gradient for _, gradient in pairs], allow_unused=True
        )
        return None, *(None if part is None else SimulatedTensor(part.to(ctx.dtype), ctx.index) for part in found)


class _CuDNN(TorchFunctionMode):
    """Recurrent layers as cuDNN has them, and the name of the device where torch needs its own."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        args, kwargs = mapped(_torch_name, (args, kwargs or {}))
        if name == "__getitem__" and isinstance(args[1], list):
            args = args[0], torch.tensor(args[1])  # torch would make it on a device that has no memory
        device = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor) and isinstance(device, torch.device) and device.type == _NAME:
            return func(*args, **{**kwargs, "device": "cpu"}).to(device)
        if name in _RECURRENT and any(isinstance(leaf, SimulatedTensor) for leaf in leaves_of(args)):
            return _recurrent(name, func, args)
        return func(*args, **kwargs)


def _recurrent(name: str, func: Any, args: Any) -> Any:
    is_layer = not name.endswith("_cell")
    tensors = [leaf for leaf in leaves_of(args) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if not all(isinstance(tensor, SimulatedTensor) for tensor in tensors):
        raise RuntimeError("Input and hidden tensors are not at the same device, found input tensor at cuda:0 and cpu")
    if torch.is_autocast_enabled(_NAME):
        dtype = torch.float16 if is_layer else torch.get_autocast_dtype(_NAME)
        tensors = [tensor.to(dtype) for tensor in tensors]
    elif len({tensor.dtype for tensor in tensors}) > 1:
        raise RuntimeError(
            "Input and hidden tensors are not the same dtype, found "
            f"{' and '.join(sorted(str(tensor.dtype) for tensor in tensors))}"
        )
    ledger.operations += 2 * len(tensors[0]) if is_layer else 2  # a kernel or two a step

    def call(leaves: list[Tensor]) -> tuple[Tensor, ...]:
        remaining = iter(leaves)
        given = mapped(
            lambda leaf: next(remaining) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf, args
        )
        result = func(*given)
        return result if isinstance(result, tuple) else (result,)

    with torch.autocast(_NAME, enabled=False):
        result = _Recurrence.apply(call, *tensors)
    return result[0] if name == "gru_cell" else result


def _torch_name(value: Any) -> Any:
    """torch's own name of the device that `value` names as a GPU."""
    if isinstance(value, str):
        kind, _, number = value.partition(":")
        return torch.device(_NAME, int(number or 0)) if kind == "cuda" and (number or "0").isdecimal() else value
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device(_NAME, value.index or 0)
    return value


# ---- torch ---------------------------------------------------------------------------------------------------------


class _Backend:
    """What torch looks up in the module of a device."""

    get_amp_supported_dtype = staticmethod(lambda: [torch.float16, torch.bfloat16])
    is_available = staticmethod(lambda: True)
    is_initialized = staticmethod(lambda: True)
    device_count = staticmethod(lambda: allocator.num_devices)
    current_device = staticmethod(lambda: 0)
    _is_in_bad_fork = staticmethod(lambda: False)
    manual_seed_all = staticmethod(allocator.seed)


_libraries: list[torch.library.Library] = []  # kept, or torch forgets what they register


def _set_up_torch() -> None:
    """Once in a process: the device, and autocast for its matrix products."""
    if _libraries:
        return
    backend_registration._setup_privateuseone_for_python_backend(_NAME, backend_module=_Backend())
    others = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
    others.fallback(torch.library.fallthrough_kernel)
    products = torch.library.Library("aten", "IMPL", "AutocastPrivateUse1")
    _libraries.extend([others, products])
    for name in _LOW_PRECISION_OPERATIONS:
        operation = getattr(_aten, name).default

        def cast(*args: Any, _operation: Any = operation, **kwargs: Any) -> Any:
            dtype = torch.get_autocast_dtype(_NAME)
            low = [arg.to(dtype) if isinstance(arg, Tensor) and arg.is_floating_point() else arg for arg in args]
            with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
                return _operation(*low, **kwargs)

        products.impl(operation, cast)


def prepare_autograd() -> None:
    """Let autograd count the simulated GPUs, which it does once in a process: before the first backward pass."""
    with simulated_cuda(devices=8):
        torch.ones(2, device="cuda", requires_grad=True).sum().backward()


@contextmanager
def modes() -> Iterator[None]:
    """For the block, this thread computes on the simulated devices."""
    with _CuDNN(), _Factories():
        yield


@contextmanager
def simulated_cuda(*, devices: int = 1, memory_bytes: int = 2**34) -> Iterator[Ledger]:
    """For the block there are GPUs with so much memory each; yields what a program waited for."""
    _set_up_torch()
    ledger.clear()
    allocator.reset(devices, memory_bytes)
    real_autocast = torch.autocast

    def autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return real_autocast(_NAME if device_type == "cuda" else device_type, *args, **kwargs)

    def wait(device: Any = None) -> None:
        ledger.waits[_line()] += 1

    with ExitStack() as stack:
        for name, value in runtime(allocator, wait).items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        stack.enter_context(mock.patch.object(torch, "autocast", autocast))
        stack.enter_context(
            mock.patch.object(torch.Tensor, "pin_memory", lambda tensor, device=None: allocator.pinned(tensor))
        )
        stack.enter_context(mock.patch.object(torch.backends.cudnn, "is_acceptable", return_value=False))
        stack.enter_context(modes())
        yield ledger
