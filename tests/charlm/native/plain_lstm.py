"""The algorithm of charlm/native/lstm.h in NumPy, as plain as can be: one LSTM layer forward and backward in time.

Here the gates lie as in torch, (4H) = i, f, g, o. The products that do not depend on time, of the input's weights and
for the gradient of the recurrent weights, stand outside the loops, as they do for the kernel.
"""

# T = steps, B = batch, H = hidden size, V = rows of the table

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass
class Gradients:
    table: Array
    recurrent: Array
    state: Array
    cell: Array


@dataclass
class PlainLSTM:
    """One layer at ids (T, B), from the input's part of the gates for each id (V, 4H) and recurrent weights (4H, H)."""

    table: Array
    recurrent: Array
    ids: NDArray[np.int64]

    def forward(self, state: Array, cell: Array) -> tuple[Array, Array]:
        """States (T, B, H) and the last cell (B, H), from the state and cell before the first step."""
        self.states, self.cells, self.gates = [state], [cell], []
        for ids in self.ids:
            i, f, g, o = np.split(self.table[ids] + self.states[-1] @ self.recurrent.T, 4, axis=1)
            i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
            self.gates.append((i, f, g, o))
            self.cells.append(f * self.cells[-1] + i * g)
            self.states.append(o * np.tanh(self.cells[-1]))
        return np.stack(self.states[1:]), self.cells[-1]

    def backward(self, to_states: Array, to_state: Array, to_cell: Array) -> Gradients:
        """From the gradients of the states (T, B, H), and of the last state and cell from elsewhere (B, H)."""
        to_table = np.zeros_like(self.table)
        to_gates: list[Array] = []
        for step in reversed(range(len(self.ids))):
            i, f, g, o = self.gates[step]
            squashed = np.tanh(self.cells[step + 1])
            to_state = to_state + to_states[step]
            to_cell = to_cell + to_state * o * (1 - squashed**2)
            of_step = np.concatenate(
                [
                    to_cell * g * i * (1 - i),
                    to_cell * self.cells[step] * f * (1 - f),
                    to_cell * i * (1 - g**2),
                    to_state * squashed * o * (1 - o),
                ],
                axis=1,
            )
            np.add.at(to_table, self.ids[step], of_step)
            to_gates.insert(0, of_step)
            to_cell = to_cell * f
            to_state = of_step @ self.recurrent
        to_recurrent = np.concatenate(to_gates).T @ np.concatenate(self.states[:-1])
        return Gradients(to_table, to_recurrent, to_state, to_cell)


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * x))
