"""An LSTM that computes with a compiled kernel where there is one for its processor and precision, else as torch's.

What a layer's input adds to its gates does not depend on time, so it is one product over all steps; where the inputs
are rows of an embedding, it is a product of the few rows of the embedding, and each step looks its row up.
"""

# T = steps, B = batch, D = width of the input, H = hidden size, V = rows of an embedding
# W = H padded to whole vectors; gates in tiles are in the kernel's order (charlm/native)

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.native import Kernel
from charlm.nn.kernel import kernel_for

_LARGEST_TABLE = 1 << 22
"""Numbers of a table that is worth computing for some texts: 16 MB."""

State = tuple[Tensor, Tensor]
"""States and cells, each (layers, B, H)."""

Reader = Callable[[Tensor, State | None], tuple[Tensor, State]]
"""Ids (T, B) and the state before -> outputs (T, B, H) and the new state."""


class LSTM(nn.LSTM):
    """torch's LSTM, with the same weights and, up to rounding, results.

    With a kernel in bf16 outputs and states are bf16, but cells stay float32.
    """

    def forward(self, input: Tensor, hx: State | None = None) -> tuple[Tensor, State]:  # type: ignore[override]
        """(T, B, D) -> (T, B, H) and the new state."""
        kernel = self._kernel(input)
        if kernel is None:
            output, hx = super().forward(input, hx)
            return output, hx
        return self._run(kernel, self._gates_of(kernel, input, 0), None, input.shape[:2], hx)

    def reads_rows(self, rows: Tensor, ids: Tensor) -> bool:
        """Whether `read_rows` is faster than an embedding and `forward`: a kernel, and no more rows than ids."""
        return len(rows) <= ids.numel() and self._kernel(rows[None]) is not None

    def read_rows(self, rows: Tensor, ids: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """What `forward` makes of rows (V, D) at ids (T, B)."""
        kernel = self._kernel(rows[None])
        assert kernel is not None
        return self._run(kernel, self._table(kernel, rows), ids.contiguous(), ids.shape, hx)

    def reader(self, rows: Tensor) -> Reader | None:
        """`read_rows` for many short texts and weights that stay as they are; None where that would not be faster."""
        kernel = self._kernel(rows[None])
        if kernel is None or len(rows) * 4 * kernel.width(self.hidden_size) > _LARGEST_TABLE:
            return None
        packed = [kernel.pack(getattr(self, f"weight_hh_l{layer}"))[0] for layer in range(self.num_layers)]
        table = self._table(kernel, rows)
        return lambda ids, hx: self._run(kernel, table, ids.contiguous(), ids.shape, hx, packed=packed)

    def _table(self, kernel: Kernel, rows: Tensor) -> Tensor:
        """The input's part of the gates for each row, (V, 4W) in tiles."""
        with torch.autocast("cpu", enabled=False):
            return F.linear(rows, *self._input_weights(kernel, 0))

    def _kernel(self, input: Tensor) -> Kernel | None:
        is_plain = not (self.bidirectional or self.proj_size or self.batch_first) and self.bias
        if not is_plain or not isinstance(input, Tensor) or input.ndim != 3 or not input.numel():
            return None
        return kernel_for(input)

    def _input_weights(self, kernel: Kernel, layer: int) -> tuple[Tensor, Tensor]:
        """Weights (4W, D) and biases (4W,) of the input, in tiles."""
        bias = getattr(self, f"bias_ih_l{layer}") + getattr(self, f"bias_hh_l{layer}")
        return kernel.in_tiles(getattr(self, f"weight_ih_l{layer}")), kernel.in_tiles(bias)

    def _gates_of(self, kernel: Kernel, x: Tensor, layer: int) -> Tensor:
        """The input's part of the gates, (T, B, 4W) in tiles."""
        return F.linear(x, *self._input_weights(kernel, layer)).to(kernel.element)

    def _run(
        self,
        kernel: Kernel,
        table: Tensor,
        ids: Tensor | None,
        shape: torch.Size,
        hx: State | None,
        *,
        packed: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, State]:
        for part in hx or ():
            if part.shape != (self.num_layers, shape[1], self.hidden_size):
                raise RuntimeError(
                    f"a state is of shape ({self.num_layers}, {shape[1]}, {self.hidden_size}), got {tuple(part.shape)}"
                )
        states, cells = [], []
        zeros = torch.zeros(shape[1], self.hidden_size)
        output = zeros
        for layer in range(self.num_layers):
            if layer:
                table, ids = self._gates_of(kernel, F.dropout(output, self.dropout, self.training), layer), None
            recurrent = getattr(self, f"weight_hh_l{layer}")
            given = (zeros, zeros) if hx is None else (hx[0][layer], hx[1][layer])
            if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (table, recurrent, *given)):
                output, state, cell = _Layer.apply(kernel, table, ids, recurrent, *given)  # type: ignore[no-untyped-call]
            else:
                weights = packed[layer] if packed else kernel.pack(recurrent)[0]
                output, state, cell = _read(kernel, table, ids, weights, *given)
            states.append(state)
            cells.append(cell)
        return output, (torch.stack(states), torch.stack(cells))


def _read(
    kernel: Kernel, table: Tensor, ids: Tensor | None, packed: Tensor, state: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs (T, B, H), and the last state and cell (B, H), of one layer, without a gradient."""
    states, cells = _start(kernel, _steps(table, ids), state, cell, learns=False)
    kernel.forward(_given(kernel, table, ids), ids, packed, states, cells, None)
    hidden = state.shape[1]
    return states[1:, :, :hidden], states[-1, :, :hidden], cells[0, :, :hidden]


def _steps(table: Tensor, ids: Tensor | None) -> int:
    return len(table if ids is None else ids)


def _given(kernel: Kernel, table: Tensor, ids: Tensor | None) -> Tensor:
    return table.to(kernel.element if ids is None else kernel.real).contiguous()


def _start(kernel: Kernel, steps: int, state: Tensor, cell: Tensor, *, learns: bool) -> State:
    """Room for states and cells, with those before the first step."""
    batch, hidden = state.shape
    states = torch.empty(steps + 1, batch, kernel.width(hidden), dtype=kernel.element)
    cells = torch.empty(steps + 1 if learns else 1, *states.shape[1:], dtype=kernel.real)
    for room, first in ((states[0], state), (cells[0], cell)):
        room[:, :hidden] = first
        room[:, hidden:] = 0
    return states, cells


class _Layer(torch.autograd.Function):
    """Outputs (T, B, H), and the last state and cell (B, H), of one layer that learns.

    From the input's part of the gates in tiles, (V, 4W), or without ids (T, B, 4W); the row of the table for each step,
    (T, B); recurrent weights (4H, H) in torch's order; and the state and cell before the first step, (B, H).
    """

    @staticmethod
    def forward(
        ctx: Any, kernel: Kernel, table: Tensor, ids: Tensor | None, recurrent: Tensor, state: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        hidden = state.shape[1]
        states, cells = _start(kernel, _steps(table, ids), state, cell, learns=True)
        gates = torch.empty(len(states) - 1, len(state), 4 * states.shape[2], dtype=kernel.real)
        ahead, back = kernel.pack(recurrent, learns=True)
        kernel.forward(_given(kernel, table, ids), ids, ahead, states, cells, gates)
        ctx.kernel, ctx.ids, ctx.back = kernel, ids, back
        ctx.kept = states, cells, gates
        ctx.table, ctx.types = (table.shape, table.dtype), (recurrent.dtype, state.dtype, cell.dtype)
        return states[1:, :, :hidden], states[-1, :, :hidden].clone(), cells[-1, :, :hidden].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, to_output: Tensor, to_state: Tensor, to_cell: Tensor) -> tuple[Tensor | None, ...]:
        kernel: Kernel = ctx.kernel
        states, cells, gates = ctx.kept
        hidden, missing = to_state.shape[1], states.shape[2] - to_state.shape[1]
        to_states = (F.pad(to_output, (0, missing)) if missing else to_output).to(kernel.element).contiguous()
        to_state, to_cell = (
            F.pad(part, (0, missing)).to(kernel.real).contiguous().clone() for part in (to_state, to_cell)
        )
        to_gates = torch.empty(gates.shape, dtype=kernel.element)
        shape, dtype = ctx.table
        to_table = None if ctx.ids is None else torch.zeros(shape, dtype=kernel.real)
        kernel.backward(ctx.back, ctx.ids, cells, gates, to_states, to_state, to_cell, to_gates, to_table)
        to_recurrent = to_gates.flatten(0, 1).t() @ states[:-1].flatten(0, 1)  # (4W, W)
        of_recurrent, of_state, of_cell = ctx.types
        return (
            None,
            (to_gates if to_table is None else to_table).to(dtype),
            None,
            kernel.from_tiles(to_recurrent, hidden)[:, :hidden].to(of_recurrent),
            to_state[:, :hidden].to(of_state),
            to_cell[:, :hidden].to(of_cell),
        )
