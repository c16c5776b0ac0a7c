"""Reading in 8 bits, against the same algorithm in NumPy with rounded weights and states."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from charlm.native import INT8, variant
from charlm.nn import kernel as kernel_module
from charlm.nn import lstm as lstm_module
from charlm.nn.lstm import LSTM, run_layer
from tests.charlm.native.plain_lstm import PlainLSTM
from tests.charlm.native.test_kernels import Case, kernel_of, sizes

pytestmark = [
    pytest.mark.numeric,
    pytest.mark.skipif(variant(INT8) is None, reason="no kernel, or a processor that multiplies no 8 bits"),
]


@settings(max_examples=25)
@given(case=sizes)
def test_states_of_8_bits_are_those_of_rounded_weights_and_states(case: Case) -> None:
    kernel = kernel_of(INT8)
    case.recurrent[0] = 0  # no scale can be taken from it
    case.given[0] = np.clip(case.given[0], -1, 1)
    scales = np.abs(case.recurrent).max(axis=1, keepdims=True) / 127
    weights = np.round(case.recurrent / np.where(scales, scales, 1)) * scales
    state, cell, expected = np.round(case.given[0] * 127) / 127, case.given[1], []
    for ids in case.ids:
        states, cell = PlainLSTM(case.table, weights, ids[None]).forward(state, cell)
        state = np.round(states[0] * 127) / 127
        expected.append(state)
    table, recurrent, *given = (torch.tensor(part).float() for part in (case.table, case.recurrent, *case.given))
    tiled = kernel.in_tiles(table.t()).t()
    places = torch.arange(case.steps + 1) * case.batch
    states, last, _ = run_layer(kernel, places, tiled, torch.tensor(case.ids).flatten(), recurrent, *given)
    # What lies between two numbers may be rounded to either of them.
    difference = np.abs(states.double().numpy() - np.concatenate(expected))
    assert difference.max() < 3 / 127
    assert difference.mean() < 2e-3
    assert torch.equal(last, states[-case.batch :])


is_allowed = pytest.mark.skipif(
    kernel_module.kernel_of(torch.uint8, torch.device("cpu")) is None, reason="another limit keeps it from being used"
)


@is_allowed
@torch.no_grad()
def test_a_reader_in_8_bits_goes_on_from_its_states_and_is_near_to_fp32() -> None:
    torch.manual_seed(1)
    ours, rows, ids = LSTM(8, 40), torch.randn(5, 8), torch.randint(5, (30, 3))
    reader = ours.reader(rows, in_int8=True)
    assert reader is not None
    whole, _ = reader(ids, None)
    first, state = reader(ids[:11], None)
    second, _ = reader(ids[11:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    expected, _ = nn.LSTM.forward(ours, rows[ids])
    torch.testing.assert_close(whole.float(), expected, atol=1e-2, rtol=0)


@is_allowed
def test_8_bits_are_for_a_layer_that_is_read_by_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(5, 8)
    assert LSTM(8, 20).reads_int8(rows)
    assert not LSTM(8, 20, num_layers=2).reads_int8(rows)
    assert LSTM(8, 20, num_layers=2).reader(rows, in_int8=True) is None
    for setting in ("off", "avx2"):
        monkeypatch.setenv("CHARLM_NATIVE", setting)
        assert not LSTM(8, 20).reads_int8(rows)
    monkeypatch.delenv("CHARLM_NATIVE")
    monkeypatch.setattr(kernel_module, "onednn_level", lambda: "AVX512_CORE")
    assert not LSTM(8, 20).reads_int8(rows)
    monkeypatch.undo()
    monkeypatch.setattr(lstm_module, "_LARGEST_TABLE", 0)
    assert not LSTM(8, 20).reads_int8(rows)
