"""Compiled kernels for LSTM layers on a CPU, in C++; what they compute and how it lies in memory is in lstm.h.

They are optional: `make install` builds them where there is a C++ compiler, and everything computes with torch where
they are missing, where no variant fits the processor, or with `CHARLM_NATIVE=off` (docs/adr/0023-native-kernels.md).
`CHARLM_NATIVE=avx2`, `avx512` or `avx512_bf16` takes a variant below the best one. A variant in 8 bits only reads.
"""

# T = steps, B = sequences, P = places: each step of each sequence, step after step, the longest sequence first
# H = hidden size, W = H padded to whole vectors, N = rows of the table

import contextlib
import ctypes
import functools
import hashlib
import os
import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from charlm.errors import ConfigError

VARIANTS = {"avx2": torch.float32, "avx512": torch.float32, "avx512_bf16": torch.bfloat16}
"""The variants of a kernel, lowest instructions first, and the types of their products."""

INT8 = "avx512_vnni"
"""The variant whose products are of 8 bits: it reads with a table, and learns nothing."""

FILE = Path(__file__).with_name(f"_kernels{sysconfig.get_config_var('EXT_SUFFIX')}")
"""The compiled library (see setup.py)."""

_OPENMP = re.compile(r"/lib(?:gomp|iomp5|omp)\b[^/]*\.so")
_NUMBERS = {"float64": 0, "avx2": 1, "avx512": 2, "avx512_bf16": 3, "avx512_vnni": 4}


class _Arguments(ctypes.Structure):
    """The fields of `Arguments` in arguments.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("steps", "batch", "width", "threads", "entries")),
        *(
            (name, ctypes.c_void_p)
            for name in (
                *("places", "table", "rows", "weights", "states", "cells", "gates"),
                *("to_states", "to_state", "to_cell", "to_gates", "to_table", "memory"),
            )
        ),
    )


class _Softmax(ctypes.Structure):
    """The fields of `Softmax` in arguments.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "classes", "stride", "threads")),
        ("scale", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("logits", "bias", "targets", "memory", "nats")),
    )


@dataclass(frozen=True)
class Kernel:
    """The LSTM of one variant."""

    name: str
    """`avx512_bf16`, `avx512`, `avx2`, or `float64` for tests."""

    library: ctypes.CDLL

    @property
    def real(self) -> torch.dtype:
        """The type of cells and sums."""
        return torch.float64 if self.name == "float64" else torch.float32

    @property
    def element(self) -> torch.dtype:
        """The type of the factors of products, and of gates: states, and gradients of gates."""
        return torch.uint8 if self.name == INT8 else VARIANTS.get(self.name, self.real)

    @functools.cached_property
    def vector(self) -> int:
        """Units that are computed at once."""
        return int(self.library.charlm_width(self._number))

    @property
    def _number(self) -> int:
        return _NUMBERS[self.name]

    def _packed_size(self, width: int) -> int:
        """Elements of the first of `pack`."""
        return 4 * width * (width + (8 if self.name == INT8 else 0))

    def encode(self, states: Tensor) -> Tensor:
        """States, from -1 to 1, as elements."""
        return states.float().mul(127).round().add(128).to(torch.uint8) if self.name == INT8 else states

    def decode(self, states: Tensor) -> Tensor:
        """The inverse of `encode`; of 8 bits in bf16, which holds them exactly enough to be encoded again."""
        return states.bfloat16().sub_(128).div_(127) if self.name == INT8 else states

    def width(self, hidden_size: int) -> int:
        """The width W of arrays for `hidden_size` units: whole vectors."""
        return -(-hidden_size // self.vector) * self.vector

    def pack(self, weights: Tensor, *, learns: bool = False) -> tuple[Tensor, Tensor | None]:
        """Recurrent weights (4H, H), in the order i, f, g, o, as the passes forward and backward read them."""
        weights = weights.detach().to(self.real).contiguous()
        hidden = weights.shape[1]
        width = self.width(hidden)
        ahead = torch.empty(self._packed_size(width), dtype=self.element)
        back = torch.empty_like(ahead) if learns else None
        self.library.charlm_pack(self._number, _address(weights), hidden, width, _address(ahead), _address(back))
        return ahead, back

    def forward(
        self,
        places: Tensor,
        table: Tensor,
        rows: Tensor | None,
        weights: Tensor,
        states: Tensor,
        cells: Tensor,
        gates: Tensor | None,
    ) -> None:
        """All steps of a layer; what is computed is written into `states`, `cells` and `gates`.

        Args:
            places: where each step begins, and the end of the last, (T + 1,) int64.
            table: the input's part of the gates in tiles (see `in_tiles`), `real`, tile after tile (tiles, N, 4
                vectors), or, without `rows`, of each place, `element` (P, 4W).
            rows: the row of the table for each place, (P,) int64.
            weights: the first of `pack`.
            states: `element` (B + P, W), of which the first B are given.
            cells: `real` (B + P, W), of which the first B are given; without `gates` (B, W), changed in place.
            gates: `element` (P * 4W,), kept for the pass backward; None where nothing is learned, as with 8 bits.
        """
        size, width = int(places[-1]), states.shape[1]
        batch = len(states) - size
        entries = 0 if rows is None else table.shape[1]
        _check_sizes(
            (table, 4 * width * (entries or size)), (rows, size), (weights, self._packed_size(width)),
            (cells, width * (batch if gates is None else len(states))), (gates, size * 4 * width),
        )  # fmt: skip
        call = self._call(
            places,
            batch,
            width,
            entries,
            table=table,
            rows=rows,
            weights=weights,
            states=states,
            cells=cells,
            gates=gates,
        )
        self._check(self.library.charlm_forward(self._number, ctypes.byref(call)), places, rows, entries)

    def backward(
        self,
        places: Tensor,
        rows: Tensor | None,
        weights: Tensor,
        cells: Tensor,
        gates: Tensor,
        to_states: Tensor,
        to_state: Tensor,
        to_cell: Tensor,
        to_gates: Tensor,
        to_table: Tensor | None,
    ) -> None:
        """All steps back; the gradients are written into the last four.

        Args:
            places: those of the pass forward.
            rows: likewise.
            weights: the second of `pack`.
            cells: those of the pass forward.
            gates: likewise.
            to_states: gradients of the states, `element` (P, W).
            to_state: that of the last states from elsewhere, `real` (B, W); becomes that of the given ones.
            to_cell: likewise of the cells.
            to_gates: `element` (P, 4W), in tiles.
            to_table: `real` like the table, is added to; None without rows.
        """
        size, (batch, width) = int(places[-1]), to_state.shape
        _check_sizes(
            (rows, size), (weights, 4 * width * width), (cells, (batch + size) * width), (gates, size * 4 * width),
            (to_states, size * width), (to_cell, batch * width), (to_gates, size * 4 * width),
            (to_table, None if to_table is None else to_table.shape[1] * 4 * width),
        )  # fmt: skip
        entries = 0 if to_table is None else to_table.shape[1]
        call = self._call(
            places, batch, width, entries, rows=rows, weights=weights, cells=cells, gates=gates, to_states=to_states,
            to_state=to_state, to_cell=to_cell, to_gates=to_gates, to_table=to_table,
        )  # fmt: skip
        self._check(self.library.charlm_backward(self._number, ctypes.byref(call)), places, rows, entries)

    def _check(self, fault: int, places: Tensor, rows: Tensor | None, entries: int) -> None:
        """Raise what a call has found before it computed; the numbers are those of `Fault` in library.cpp."""
        assert fault != 1, places
        if fault:
            _check_ids(rows, entries)

    def softmax(self, logits: Tensor, bias: Tensor, targets: Tensor, *, scale: float) -> tuple[float, Tensor]:
        """The summed cross entropy of rows of logits, nats, and the gradient of `scale` times it for the bias (V,).

        Args:
            logits: `element` (N, V), less the bias, its rows at any distance; becomes the gradient for the logits.
            bias: `real` (V,).
            targets: ids (N,) int64.
            scale: of the gradients, not of the cross entropy.
        """
        rows, classes = logits.shape
        threads = max(1, min(torch.get_num_threads(), rows * classes // _EXPONENTIALS_OF_A_THREAD))
        memory = torch.zeros(threads, 2, self.width(classes), dtype=self.real)
        nats = torch.zeros(threads, dtype=torch.float64)
        targets, bias = targets.contiguous(), bias.detach().contiguous()
        _check_ids(targets, classes)
        _check_sizes((bias, classes), (targets, rows))
        assert logits.stride(1) == 1
        addresses = [logits.data_ptr(), *(_address(tensor) for tensor in (bias, targets, memory, nats))]
        call = _Softmax(rows, classes, logits.stride(0), threads, scale, *addresses)
        self.library.charlm_softmax(self._number, ctypes.byref(call))
        return float(nats.sum()), memory[:, 1, :classes].sum(0)

    def _call(self, places: Tensor, batch: int, width: int, entries: int, **tensors: Tensor | None) -> _Arguments:
        threads = self._threads(batch, width)
        memory = torch.empty(threads * batch * 4 * self.vector, dtype=self.real)
        tensors |= {"places": places, "memory": memory}
        addresses = {name: _address(tensor) for name, tensor in tensors.items()}
        call = _Arguments(len(places) - 1, batch, width, threads, entries, **addresses)
        call.tensors = tensors  # so that they live as long as the addresses
        return call

    def _threads(self, batch: int, width: int) -> int:
        """Threads that share a step: as many as torch has, where each has enough to do to be worth the waiting."""
        most = min(width // (4 * self.vector), batch * 4 * width * width // _PRODUCTS_OF_A_THREAD)
        return max(1, min(torch.get_num_threads(), most))

    def in_tiles(self, gates: Tensor) -> Tensor:
        """Rows of four gates of H units, (4H, …) in the order i, f, g, o, in the order of the kernel, (4W, …)."""
        hidden, rest = len(gates) // 4, gates.shape[1:]
        padded = gates.new_zeros(4, self.width(hidden), *rest)
        padded[:, :hidden] = gates.reshape(4, hidden, *rest)
        return padded.view(4, -1, self.vector, *rest).transpose(0, 1).reshape(-1, *rest)

    def by_tile(self, table: Tensor) -> Tensor:
        """Rows of gates in tiles, (N, 4W), tile after tile: (tiles, N, 4 vectors)."""
        return table.view(len(table), -1, 4 * self.vector).transpose(0, 1).contiguous()

    def from_tiles(self, gates: Tensor, hidden_size: int) -> Tensor:
        """The inverse of `in_tiles`: (4W, …) -> (4H, …)."""
        rest = gates.shape[1:]
        ordered = gates.view(-1, 4, self.vector, *rest).transpose(0, 1).reshape(4, -1, *rest)
        return ordered[:, :hidden_size].reshape(-1, *rest)


_PRODUCTS_OF_A_THREAD = 1 << 20
"""Multiplications of a step that are worth a thread: about ten microseconds."""


_EXPONENTIALS_OF_A_THREAD = 1 << 16


def find_kernel(dtype: torch.dtype, *, at_most: str | None = None) -> Kernel | None:
    """The best kernel here whose products are of `dtype`, up to the variant `at_most`; None where there is none.

    That of torch.uint8 only reads (see INT8). Raises ConfigError when CHARLM_NATIVE names no variant.
    """
    setting = os.environ.get("CHARLM_NATIVE", "").strip().lower()
    if setting == "off":
        return None
    names = list(VARIANTS)
    if setting and setting not in names:
        raise ConfigError(f"CHARLM_NATIVE is off, or {', '.join(names)}, got {setting!r}")
    limits = [names.index(name) for name in (setting, at_most) if name]
    possible = names[: min(limits, default=len(names)) + 1]
    if dtype == torch.uint8:
        return variant(INT8) if "avx512" in possible else None
    return next((kernel for name in reversed(possible) if VARIANTS[name] == dtype and (kernel := variant(name))), None)


@functools.cache
def variant(name: str) -> Kernel | None:
    """The kernel of that variant, where it was built and this processor runs it; `float64` runs on all."""
    library, _ = _load()
    if library is None or not library.charlm_runs(_NUMBERS[name]):
        return None
    return Kernel(name, library)


def why_missing() -> str | None:
    """Why no kernel can be had from the file, in a few words; None where it was loaded."""
    return _load()[1]


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str | None]:
    """The library, or why there is none."""
    if not FILE.is_file():
        return None, "not built: `make install` builds it where there is a C++ compiler"
    try:
        library = ctypes.CDLL(str(FILE))
        library.charlm_sources.restype = ctypes.c_char_p
        found, sources = library.charlm_sources().decode(), _sources()
    except (OSError, AttributeError) as error:  # of another system or processor, damaged, another library
        return None, f"{FILE.name} cannot be loaded here ({error}): build it again with `make install`"
    if sources and found != sources:
        return None, f"{FILE.name} was built from another version of charlm: build it again with `make install`"
    number, pointer = ctypes.c_int64, ctypes.c_void_p
    for function, types in (
        ("runs", [number]),
        ("width", [number]),
        ("pack", [number, pointer, number, number, pointer, pointer]),
        ("forward", [number, pointer]),
        ("backward", [number, pointer]),
        ("softmax", [number, pointer]),
    ):
        getattr(library, f"charlm_{function}").argtypes = types
    openmp = _openmp_of_torch()
    if openmp is not None:
        library.charlm_use_openmp(openmp.GOMP_parallel, openmp.omp_get_num_threads)
    return library, None


def _openmp_of_torch() -> ctypes.CDLL | None:
    """The library of OpenMP that torch has loaded, by whose threads its own products are shared."""
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        return None
    loaded = {line.split()[-1] for line in maps.read_text(errors="replace").splitlines()}
    for path in sorted((path for path in loaded if _OPENMP.search(path)), key=lambda path: "/torch" not in path):
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(path)
            if hasattr(library, "GOMP_parallel") and hasattr(library, "omp_get_num_threads"):
                return library
    return None


def _sources() -> str:
    """The digest of the sources beside this file, as setup.py computes it; empty in an installation without them."""
    paths = [path for pattern in ("*.cpp", "*.h") for path in sorted(Path(__file__).parent.glob(pattern))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest() if paths else ""


def _check_ids(ids: Tensor | None, size: int) -> None:
    """Raise IndexError, as an embedding does, where an id is not below `size`."""
    if ids is None:
        return
    lowest, highest = ids.aminmax()
    if lowest < 0 or highest >= size:
        raise IndexError(f"ids are from 0 to {size - 1}, found {int(lowest)} to {int(highest)}")


def _check_sizes(*tensors: tuple[Tensor | None, int | None]) -> None:
    for tensor, size in tensors:
        assert tensor is None or tensor.numel() == size, f"{tensor.shape} is not of size {size}"


def _address(tensor: Tensor | None) -> int | None:
    if tensor is None:
        return None
    assert tensor.is_contiguous()
    assert tensor.device.type == "cpu"
    return tensor.data_ptr()
