"""What many texts cost under a language model, each read by itself, with little wasted work.

A text is cut into streams as for any score (language_model.py), so that its score is that of a file with this text.
The streams of all texts are sorted by length; those of similar length are read together, and a batch loses its rows
where they end. So short texts cost what long ones do per character.
"""

# R = texts, P = streams of all texts, N = units of all texts, T = chunk length, B = streams of a batch

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from charlm.evaluation.encoded_rows import EncodedRows
from charlm.evaluation.language_model import MIN_STREAM_LENGTH, NUM_STREAMS
from charlm.nn.device import upload
from charlm.nn.inference import inference
from charlm.nn.ragged import cuts, first_rows

if TYPE_CHECKING:
    from charlm.language_models.language_model import LanguageModel

_CHUNK = 64
_CPU_ROWS, _GPU_ROWS = 128, 1024


def nats_alone(model: "LanguageModel", rows: EncodedRows) -> np.ndarray:
    """Cross entropy of each text, summed over its units, (R,) float64."""
    ids = rows.ids if model.is_forward_lm else rows.ids[::-1]
    ends = np.cumsum(rows.units)
    row_starts = ends - rows.units if model.is_forward_lm else ends[-1] - ends
    previous = np.empty_like(ids)  # what each unit is predicted from
    previous[1:] = ids[:-1]
    previous[row_starts] = model.dictionary.get_idx_for_item("\n")

    row, starts, lengths = _streams(row_starts, rows.units)
    longest_first = np.argsort(-lengths, kind="stable")
    nats = np.zeros(len(rows.units))
    size = _GPU_ROWS if model.device.type == "cuda" else _CPU_ROWS
    with inference(model):
        for begin in range(0, len(longest_first), size):
            chosen = longest_first[begin : begin + size]
            sums = _batch_nats(model, previous, ids, starts[chosen], lengths[chosen])
            np.add.at(nats, row[chosen], sums.cpu().numpy())
    return nats


def _streams(row_starts: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The text, the start and the length of each stream, (P,) each."""
    counts = np.clip(units // MIN_STREAM_LENGTH, 1, NUM_STREAMS)
    row = np.repeat(np.arange(len(units)), counts)
    number = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    length = -(-units // counts)[row]
    return row, row_starts[row] + number * length, np.minimum(length, units[row] - number * length)


def _batch_nats(
    model: "LanguageModel", inputs: np.ndarray, targets: np.ndarray, starts: np.ndarray, lengths: np.ndarray
) -> Tensor:
    """The nats of each of the streams of a batch, longest first, (B,) float64."""
    sums = torch.zeros(len(starts), dtype=torch.float64, device=model.device)
    hidden = None
    for begin, end in itertools.pairwise(cuts(lengths, _CHUNK)):
        active = int(np.searchsorted(-lengths, -begin))  # streams longer than `begin`
        times = np.arange(begin, end)[:, None]
        index = np.minimum(starts[:active] + times, len(inputs) - 1)  # (T, B)
        x = upload(torch.from_numpy(inputs[index].astype(np.int64)), model.device)
        y = upload(torch.from_numpy(targets[index].astype(np.int64)), model.device)
        is_text = upload(torch.from_numpy(times < lengths[:active]), model.device)
        _, output, hidden = model.read(x, first_rows(hidden, active))  # (T, B, D)
        nats = model.target_nats(output, y)  # (T, B)
        sums[:active] += torch.where(is_text, nats, 0).sum(dim=0, dtype=torch.float64)
    return sums
