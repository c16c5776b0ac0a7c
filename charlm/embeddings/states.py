"""The states of a language model at chosen places of many texts, with little wasted work.

Texts of similar length are read together, and a batch loses its rows where they end, so that almost nothing is
computed for padding. Only the wanted states are kept, and only those are projected. On a CPU oneDNN runs the LSTM at
the speed of the hardware from about 8 rows on; what remains to save is work.
"""

# T = units read at once, B = texts of a batch, E = embedding size, H = hidden size, W = wanted states, D = their width

import copy
import itertools
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from charlm.errors import CharLMWarning
from charlm.language_models.language_model import LanguageModel
from charlm.native import Kernel
from charlm.nn.bf16_lstm import low_precision_lstm
from charlm.nn.device import upload
from charlm.nn.kernel import kernel_for, kernel_of
from charlm.nn.lstm import LSTM, Reader, State
from charlm.nn.precision import ReadingPrecision, precision_notice, resolve_precision
from charlm.nn.ragged import cuts, first_rows

_CPU_ROWS = 64
_CPU_BYTES = 64 * 2**20
_GPU_ROWS = 1024


@dataclass(frozen=True)
class EncodedBatch:
    """Texts as a language model reads them, and the positions of the states to keep."""

    ids: np.ndarray
    """Ids of all texts, one after the other, each in reading direction."""

    lengths: np.ndarray
    """Number of ids of each text."""

    places: np.ndarray
    """Place within its text of each wanted state, text after text."""

    counts: np.ndarray
    """Number of wanted states of each text."""


@dataclass(frozen=True, eq=False)
class _Kept:
    """A reader, and what it was made of.

    The weights are compared by their values: torch's fused optimizers write to them without counting a new version.
    """

    reader: Reader
    kernel: Kernel | None
    weights: tuple[Tensor, ...]

    @classmethod
    def of(cls, reader: Reader, lm: LanguageModel, kernel: Kernel | None) -> "_Kept":
        return cls(reader, kernel, tuple(weights.detach().clone() for weights in _weights(lm)))

    def reads(self, lm: LanguageModel, kernel: Kernel | None) -> bool:
        """Whether the reader is what would be made of `lm` now."""
        return self.kernel == kernel and all(map(torch.equal, self.weights, _weights(lm)))


def _weights(lm: LanguageModel) -> Iterator[Tensor]:
    """What a reader is made of."""
    return itertools.chain(lm.encoder.parameters(), lm.rnn.parameters())


_KEPT: weakref.WeakKeyDictionary[LanguageModel, _Kept] = weakref.WeakKeyDictionary()
"""The last reader of each model: to pack the weights for it costs as much as some sentences."""


class StateReader:
    """Runs the recurrent part of a language model; an LSTM's in a lower `precision` on a copy of its weights.

    Where that cannot be computed, it warns, and reads in the precision of `used_precision`.
    """

    def __init__(self, lm: LanguageModel, *, precision: ReadingPrecision, chars_per_chunk: int) -> None:
        self._lm = lm
        self._chars_per_chunk = chars_per_chunk
        used = used_precision(lm, precision)
        is_expected = precision == "bf16" and not isinstance(lm.rnn, nn.LSTM)
        notice = None if is_expected else precision_notice(precision, used, lm.device)
        if notice is not None:
            warnings.warn(notice, CharLMWarning, stacklevel=3)
        self._run = _kernel_reader(lm, used) or _torch_reader(lm, used == "bf16")

    def read(self, batch: EncodedBatch) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield the numbers of some texts, and their wanted states (sum of their counts, D), text after text."""
        starts = np.cumsum(batch.lengths) - batch.lengths
        first_places = np.cumsum(batch.counts) - batch.counts
        longest_first = np.argsort(-batch.lengths, kind="stable")
        begin = 0
        while begin < len(longest_first):
            rows = longest_first[begin : begin + self._rows_at_once(int(batch.lengths[longest_first[begin]]))]
            counts = batch.counts[rows]
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            places = batch.places[np.repeat(first_places[rows], counts) + within]
            batch_rows = np.repeat(np.arange(len(rows)), counts)
            yield rows, self._read_batch(batch.ids, starts[rows], batch.lengths[rows], places, batch_rows)
            begin += len(rows)

    def _rows_at_once(self, length: int) -> int:
        """How many texts of this length fit the memory that a batch may take."""
        device = self._lm.device
        width = 4 * (self._lm.hidden_size * (1 + self._lm.nlayers) + self._lm.embedding_size)
        row_bytes = min(length, self._chars_per_chunk) * width
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            return max(1, min(_GPU_ROWS, free // 4 // row_bytes))
        return max(8, min(_CPU_ROWS, _CPU_BYTES // row_bytes))

    def _read_batch(
        self, ids: np.ndarray, starts: np.ndarray, lengths: np.ndarray, places: np.ndarray, rows: np.ndarray
    ) -> Tensor:
        """The states (W, D) at `places` of `rows`, where the texts of the batch are sorted longest first."""
        device = self._lm.device
        steps = cuts(lengths, self._chars_per_chunk)
        parts: list[Tensor] = []
        order: list[np.ndarray] = []
        hidden: Any = None  # of whichever layer reads
        for begin, end in itertools.pairwise(steps):
            active = int(np.searchsorted(-lengths, -begin))  # rows longer than `begin`
            index = np.minimum(starts[:active] + np.arange(begin, end)[:, None], len(ids) - 1)  # (T, B)
            chunk = upload(torch.from_numpy(ids[index].astype(np.int64)), device)
            output, hidden = self._run(chunk, first_rows(hidden, active))  # (T, B, H)
            wanted = np.flatnonzero((places >= begin) & (places < end))
            flat = upload(torch.from_numpy((places[wanted] - begin) * active + rows[wanted]), device)
            parts.append(output.flatten(0, 1)[flat].float())
            order.append(wanted)
        states: Tensor = torch.cat(parts)[upload(torch.from_numpy(np.argsort(np.concatenate(order))), device)]
        if self._lm.proj is not None:
            states = self._lm.proj(states)  # (W, H) -> (W, D)
        dropped: Tensor = self._lm.drop(states)
        return dropped


def used_precision(lm: LanguageModel, precision: ReadingPrecision) -> ReadingPrecision:
    """What a reader of `lm` computes in where `precision` is asked for: int8 that is not possible is bf16 or fp32.

    A GRU stays in fp32: it has nothing but the state that gets rounded.
    """
    if not isinstance(lm.rnn, nn.LSTM):
        return "fp32"
    if precision != "int8":
        return resolve_precision(precision, lm.device)
    reads_int8 = isinstance(lm.rnn, LSTM) and lm.rnn.reads_int8(lm.encoder.weight)
    return "int8" if reads_int8 else resolve_precision("auto", lm.device)


def _kernel_reader(lm: LanguageModel, precision: ReadingPrecision) -> Reader | None:
    """Reads with a compiled kernel; None where there is none, or where something is to be learned."""
    if not isinstance(lm.rnn, LSTM) or lm.training or (torch.is_grad_enabled() and lm.encoder.weight.requires_grad):
        return None
    in_int8 = precision == "int8"
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        kernel = kernel_of(torch.uint8, lm.device) if in_int8 else kernel_for(lm.encoder.weight)
        kept = _KEPT.get(lm)
        if kept is not None and kept.reads(lm, kernel):
            return kept.reader
        reader = lm.rnn.reader(lm.encoder.weight, in_int8=in_int8)
    if reader is not None:
        _KEPT[lm] = _Kept.of(reader, lm, kernel)
    return reader


def _torch_reader(lm: LanguageModel, is_bf16: bool) -> Reader:
    encoder: nn.Embedding = copy.deepcopy(lm.encoder).bfloat16() if is_bf16 else lm.encoder
    rnn: Callable[..., tuple[Tensor, State]]
    rnn = low_precision_lstm(lm.rnn) if is_bf16 and isinstance(lm.rnn, nn.LSTM) else lm.rnn
    return lambda ids, hidden: rnn(lm.drop(encoder(ids)), hidden)
