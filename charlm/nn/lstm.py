"""An LSTM that computes with a compiled kernel where there is one for its processor and precision, else as torch's.

What a layer's input adds to its gates does not depend on time, so it is one product over all steps; where the inputs
are rows of an embedding, it is a product of the few rows of the embedding, and each step looks its row up.
"""

# T = steps, B = batch, D = width of the input, H = hidden size, V = rows of an embedding
# W = H padded to whole vectors; gates in tiles are in the kernel's order (charlm/native)

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.native import Kernel
from charlm.nn.kernel import kernel_for, kernel_of

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

    def forward(  # type: ignore[override]
        self, input: Tensor, hx: State | None = None, *, recurrent: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """(T, B, D) -> (T, B, H) and the new state; with other recurrent weights of a single layer where given."""
        kernel = self._kernel(input)
        if kernel is not None:
            return self._run(kernel, self._gates_of(kernel, input, 0), None, input.shape[:2], hx, recurrent=recurrent)
        if recurrent is None:
            output, hx = super().forward(input, hx)
            return output, hx
        assert hx is not None
        # The layer's own call would use the copy of the weights that cuDNN has packed.
        weights = [recurrent if name == "weight_hh_l0" else weight for name, weight in self.named_parameters()]
        output, *state = torch.lstm(input, hx, weights, True, 1, 0.0, self.training, False, False)
        return output, (state[0], state[1])

    def reads_rows(self, rows: Tensor, ids: Tensor) -> bool:
        """Whether `read_rows` is faster than an embedding and `forward`: a kernel, and no more rows than ids."""
        return len(rows) <= ids.numel() and self._kernel(rows[None]) is not None

    def read_rows(self, rows: Tensor, ids: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """What `forward` makes of rows (V, D) at ids (T, B)."""
        kernel = self._kernel(rows[None])
        assert kernel is not None
        return self._run(kernel, self._table(kernel, rows), ids, ids.shape, hx)

    def reader(self, rows: Tensor, *, in_int8: bool = False) -> Reader | None:
        """`read_rows` for many short texts and weights that stay as they are; None without a kernel.

        With `in_int8` the recurrent weights and states have 8 bits, for a single layer of few rows; else None.
        """
        kernel = self._int8_kernel(rows) if in_int8 else self._kernel(rows[None])
        if kernel is None:
            return None
        packed = [kernel.pack(self.recurrent_weights(layer))[0] for layer in range(self.num_layers)]
        if self._table_is_small(kernel, rows):
            table = kernel.by_tile(self._table(kernel, rows))
            return lambda ids, hx: self._run(kernel, table, ids, ids.shape, hx, packed=packed)
        low, *weights = (tensor.to(kernel.element) for tensor in (rows, *self.input_weights(kernel, 0)))

        def read(ids: Tensor, hx: State | None) -> tuple[Tensor, State]:
            gates = F.linear(F.embedding(ids, low), *weights)
            return self._run(kernel, gates, None, ids.shape, hx, packed=packed)

        return read

    def reads_int8(self, rows: Tensor) -> bool:
        """Whether `reader` can read `rows` in 8 bits here."""
        return self._int8_kernel(rows) is not None

    def _int8_kernel(self, rows: Tensor) -> Kernel | None:
        if self._kernel(rows[None]) is None or self.num_layers > 1:
            return None
        kernel = kernel_of(torch.uint8, rows.device)
        return kernel if kernel is not None and self._table_is_small(kernel, rows) else None

    def _table_is_small(self, kernel: Kernel, rows: Tensor) -> bool:
        return len(rows) * 4 * kernel.width(self.hidden_size) <= _LARGEST_TABLE

    def _table(self, kernel: Kernel, rows: Tensor) -> Tensor:
        """The input's part of the gates for each row, (V, 4W) in tiles."""
        with torch.autocast("cpu", enabled=False):
            return F.linear(rows, *self.input_weights(kernel, 0))

    def _kernel(self, input: Tensor) -> Kernel | None:
        is_plain = not (self.bidirectional or self.proj_size or self.batch_first) and self.bias
        if not is_plain or not isinstance(input, Tensor) or input.ndim != 3 or not input.numel():
            return None
        return kernel_for(input)

    def recurrent_weights(self, layer: int) -> Tensor:
        """(4H, H), in the order i, f, g, o."""
        weights = getattr(self, f"weight_hh_l{layer}")
        assert isinstance(weights, Tensor)
        return weights

    def input_weights(self, kernel: Kernel, layer: int) -> tuple[Tensor, Tensor]:
        """Weights (4W, D) and biases (4W,) of the input, in tiles."""
        bias = getattr(self, f"bias_ih_l{layer}") + getattr(self, f"bias_hh_l{layer}")
        return kernel.in_tiles(getattr(self, f"weight_ih_l{layer}")), kernel.in_tiles(bias)

    def _gates_of(self, kernel: Kernel, x: Tensor, layer: int) -> Tensor:
        """The input's part of the gates, (T, B, 4W) in tiles."""
        weights = (tensor.to(kernel.element) for tensor in self.input_weights(kernel, layer))
        return F.linear(x.to(kernel.element), *weights)

    def _run(
        self,
        kernel: Kernel,
        table: Tensor,
        ids: Tensor | None,
        shape: torch.Size,
        hx: State | None,
        *,
        packed: Sequence[Tensor] | None = None,
        recurrent: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        for part in hx or ():
            if part.shape != (self.num_layers, shape[1], self.hidden_size):
                raise RuntimeError(
                    f"a state is of shape ({self.num_layers}, {shape[1]}, {self.hidden_size}), got {tuple(part.shape)}"
                )
        steps, batch = shape
        places = torch.arange(steps + 1) * batch
        states, cells = [], []
        zeros = torch.zeros(batch, self.hidden_size)
        output = zeros
        for layer in range(self.num_layers):
            if layer:
                table, ids = self._gates_of(kernel, F.dropout(output, self.dropout, self.training), layer), None
            weights = self.recurrent_weights(layer) if recurrent is None else recurrent
            given = (zeros, zeros) if hx is None else (hx[0][layer], hx[1][layer])
            flat, state, cell = run_layer(
                kernel,
                places,
                table.flatten(0, -2) if ids is None else table,
                None if ids is None else ids.flatten(),
                weights,
                *given,
                packed=packed[layer] if packed else None,
            )
            output = flat.view(steps, batch, -1)
            states.append(state)
            cells.append(cell)
        return output, (torch.stack(states), torch.stack(cells))


def run_layer(
    kernel: Kernel,
    places: Tensor,
    table: Tensor,
    ids: Tensor | None,
    recurrent: Tensor,
    state: Tensor,
    cell: Tensor,
    *,
    packed: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs (P, H), and the last state and cell of each sequence (B, H), of one layer.

    Args:
        kernel: what computes.
        places: where each step begins, and the end of the last, (T + 1,); sequences that end are the last of a step.
        table: the input's part of the gates in tiles, (V, 4W), or without `ids` of each place, (P, 4W). Where nothing
            is learned, also as the kernel reads it (`Kernel.by_tile`).
        ids: the row of the table for each place, (P,).
        recurrent: weights (4H, H) in torch's order.
        state: before the first step, (B, H).
        cell: likewise.
        packed: the weights as the kernel reads them, where they are at hand and nothing is learned.
    """
    table = table.to(kernel.element if ids is None else kernel.real).contiguous()
    ids = None if ids is None else ids.contiguous()
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (table, recurrent, state, cell)):
        result: tuple[Tensor, Tensor, Tensor] = _Layer.apply(  # type: ignore[no-untyped-call]
            kernel, places, table, ids, recurrent, state, cell
        )
        return result
    batch, hidden = state.shape
    table = table if ids is None or table.ndim == 3 else kernel.by_tile(table)
    states, cells = _start(kernel, places, state), _padded(cell, kernel)
    kernel.forward(places, table, ids, kernel.pack(recurrent)[0] if packed is None else packed, states, cells, None)
    last = _last(states, places)[:, :hidden]
    return kernel.decode(states[batch:, :hidden]), kernel.decode(last), cells[:, :hidden]


def _padded(x: Tensor, kernel: Kernel) -> Tensor:
    """A copy of (B, H) in whole vectors, (B, W)."""
    return F.pad(x.detach(), (0, kernel.width(x.shape[1]) - x.shape[1])).to(kernel.real, copy=True)


def _start(kernel: Kernel, places: Tensor, given: Tensor, *, real: bool = False) -> Tensor:
    """Room for the states or cells of all places, (B + P, W), after those that are given, (B, H)."""
    batch, hidden = given.shape
    room = torch.empty(batch + int(places[-1]), kernel.width(hidden), dtype=kernel.real if real else kernel.element)
    room[:batch, :hidden] = given if real else kernel.encode(given)
    room[:batch, hidden:] = 0
    return room


def _is_even(places: Tensor) -> bool:
    """Whether all sequences end at the last step."""
    return int(places[-1]) == (len(places) - 1) * int(places[1])


def _last(states: Tensor, places: Tensor) -> Tensor:
    """The last state or cell of each sequence, (B, W), from the given ones and those of all places, (B + P, W)."""
    batch = int(places[1])
    if _is_even(places):
        return states[-batch:]
    steps = (places.diff()[:, None] > torch.arange(batch)).sum(0)
    return states[batch + places[steps - 1] + torch.arange(batch)]


def _before(states: Tensor, places: Tensor) -> Tensor:
    """For each place the state that it begins with, (P, W), from the given ones and those of all places, (B + P, W)."""
    counts, batch = places.diff(), int(places[1])
    if _is_even(places):
        return states[:-batch]
    step = torch.arange(len(counts)).repeat_interleave(counts)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), batch + places[:-2]])  # of the states before each step
    return states[starts[step] + torch.arange(len(step)) - places[step]]


class _Context(torch.autograd.function.FunctionCtx):
    kernel: Kernel
    places: Tensor
    ids: Tensor | None
    weights: Tensor
    """As the pass backward reads them."""

    kept: tuple[Tensor, Tensor, Tensor]
    """States, cells and gates."""

    table_shape: torch.Size
    types: list[torch.dtype]
    """Of the recurrent weights, the given state and the given cell."""


class _Layer(torch.autograd.Function):
    """`run_layer` with gradients."""

    @staticmethod
    def forward(
        ctx: _Context,
        kernel: Kernel,
        places: Tensor,
        table: Tensor,
        ids: Tensor | None,
        recurrent: Tensor,
        state: Tensor,
        cell: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch, hidden = state.shape
        states, cells = _start(kernel, places, state), _start(kernel, places, cell, real=True)
        gates = torch.empty(len(states) - batch, 4 * states.shape[1], dtype=kernel.element)
        ahead, back = kernel.pack(recurrent, learns=True)
        kernel.forward(places, table if ids is None else kernel.by_tile(table), ids, ahead, states, cells, gates)
        assert back is not None
        ctx.kernel, ctx.places, ctx.ids, ctx.weights = kernel, places, ids, back
        ctx.kept = states, cells, gates
        ctx.table_shape, ctx.types = table.shape, [recurrent.dtype, state.dtype, cell.dtype]
        return states[batch:, :hidden], _last(states, places)[:, :hidden], _last(cells, places)[:, :hidden]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: _Context, to_output: Tensor, to_state: Tensor, to_cell: Tensor) -> tuple[Tensor | None, ...]:
        kernel = ctx.kernel
        states, cells, gates = ctx.kept
        hidden, missing = to_state.shape[1], states.shape[1] - to_state.shape[1]
        to_states = (F.pad(to_output, (0, missing)) if missing else to_output).to(kernel.element).contiguous()
        to_state, to_cell = _padded(to_state, kernel), _padded(to_cell, kernel)
        to_gates = torch.empty(gates.shape, dtype=kernel.element)
        to_table = None if ctx.ids is None else kernel.by_tile(torch.zeros(ctx.table_shape, dtype=kernel.real))
        kernel.backward(
            ctx.places, ctx.ids, ctx.weights, cells, gates, to_states, to_state, to_cell, to_gates, to_table
        )
        to_recurrent = kernel.from_tiles(to_gates.t() @ _before(states, ctx.places), hidden)  # (4H, W)
        of_recurrent, of_state, of_cell = ctx.types
        return (
            None,
            None,
            to_gates if to_table is None else to_table.transpose(0, 1).reshape(ctx.table_shape),
            None,
            to_recurrent[:, :hidden].to(of_recurrent),
            to_state[:, :hidden].to(of_state),
            to_cell[:, :hidden].to(of_cell),
        )
