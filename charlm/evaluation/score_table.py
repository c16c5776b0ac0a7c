"""Score texts of any size, a row for each document, line or record, into one Parquet file.

Writes OUTPUT    source, index, characters, bytes, forward_bits_per_byte, backward_bits_per_byte, bits_per_byte,
                 unk_rate, percentile; on request units, forward_nats, backward_nats

Memory does not grow with the text: a window of about a megabyte is scored at a time and becomes a part of the file
(storage/parts.py). An interrupted call is continued: a part is kept where its models, settings and rows are the same.
"""

# R = rows of a window

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from charlm.arrays.arrow import strings
from charlm.artifacts import DIRECTIONS, OutputFiles
from charlm.errors import CharLMError, CorpusError
from charlm.evaluation.percentiles import percentiles
from charlm.evaluation.rows import RowScorer, RowScores
from charlm.evaluation.scores import LMScore
from charlm.storage.parts import ParquetParts, open_parts
from charlm.text.sources.rows import Window

_ROWS_OF_GROUP = 100_000
Scores = dict[str, LMScore]
"""By direction."""


@dataclass(frozen=True, kw_only=True)
class RowTable:
    """Makes rows of windows.

    Args:
        scorers: by direction; one or both.
        held_out: sorted bits per byte that percentiles refer to; without them there are none.
        with_nats: add the columns for rescoring.
    """

    scorers: Mapping[str, RowScorer]
    held_out: np.ndarray | None
    with_nats: bool = False

    def read(self, window: Window) -> tuple[pa.Table, Scores]:
        """The rows of a window, and the scores over all of them."""
        found = {direction: scorer.score(window.texts) for direction, scorer in self.scorers.items()}
        totals = {direction: scores.total(self.scorers[direction].model) for direction, scores in found.items()}
        return self._table(window, found), totals

    def _table(self, window: Window, found: Mapping[str, RowScores]) -> pa.Table:
        sizes = next(iter(found.values()))
        missing = np.full(len(window.texts), np.nan)
        bits = {name: scores.bits_per_byte for name, scores in found.items()}
        mean = np.mean([*bits.values()], axis=0)
        columns: dict[str, np.ndarray] = {
            "characters": sizes.characters,
            "bytes": sizes.bytes,
            **{f"{name}_bits_per_byte": bits.get(name, missing) for name in DIRECTIONS},
            "bits_per_byte": mean,
            "unk_rate": sizes.unknown / sizes.units,
            "percentile": missing if self.held_out is None else percentiles(mean, self.held_out),
        }
        if self.with_nats:
            columns["units"] = sizes.units
            columns |= {f"{name}_nats": found[name].nats if name in found else missing for name in DIRECTIONS}
        places = {"source": strings(window.sources), "index": np.array(window.indices)}
        # An average of nothing, or of text that cannot be rebuilt, is no number: null.
        return pa.table(places | {name: pa.array(column, from_pandas=True) for name, column in columns.items()})


def score_windows(
    table: RowTable, windows: Iterable[Window], on_window: Callable[[Window], None]
) -> tuple[int, Scores]:
    """The number of rows and the scores over all of them, without a file."""
    return _summed((len(window.texts), table.read(window)[1]) for window in _reported(windows, on_window))


def write_score_table(
    table: RowTable, windows: Iterable[Window], files: OutputFiles, *, work: str, on_window: Callable[[Window], None]
) -> tuple[int, Scores]:
    """Write the rows of all windows; their number and the scores over all of them. Arguments: see `score_parts`."""
    with score_parts(table, windows, files, work=work, on_window=on_window) as (parts, num_rows, scores):
        parts.join(rows_of_group=_ROWS_OF_GROUP)
    return num_rows, scores


@contextmanager
def score_parts(
    table: RowTable, windows: Iterable[Window], files: OutputFiles, *, work: str, on_window: Callable[[Window], None]
) -> Iterator[tuple[ParquetParts, int, Scores]]:
    """The parts of the table of all windows for the block, the number of rows, and the scores over all of them.

    `work` names models and settings: parts that were written for the same work and rows are kept. `on_window` is called
    after each window. Raises CorpusError where there is nothing to score; finished parts stay for another call.
    """
    with open_parts(files, use_dictionary=["source"]) as parts:
        try:
            num_rows, scores = _summed(_write_parts(table, _reported(windows, on_window), parts, work))
            yield parts, num_rows, scores
        except CharLMError:
            if parts.facts(0) is None:
                parts.close()
            raise


def _write_parts(
    table: RowTable, windows: Iterable[Window], parts: ParquetParts, work: str
) -> Iterator[tuple[int, Scores]]:
    number = -1
    for number, window in enumerate(windows):
        identity = {"work": work, "rows": window.digest}
        facts = parts.facts(number) or {}
        if identity.items() <= facts.items():
            scores = {name: LMScore(**values) for name, values in json.loads(facts["scores"]).items()}
        else:
            rows, scores = table.read(window)
            values = {name: dataclasses.asdict(score) for name, score in scores.items()}
            parts.write(number, rows, {**identity, "scores": json.dumps(values)})
        yield len(window.texts), scores
    parts.drop(number + 1)  # of an earlier call with more text


def _reported(windows: Iterable[Window], on_window: Callable[[Window], None]) -> Iterator[Window]:
    for window in windows:
        yield window
        on_window(window)


def _summed(results: Iterable[tuple[int, Scores]]) -> tuple[int, Scores]:
    num_rows, totals = 0, dict[str, LMScore]()
    for rows, scores in results:
        num_rows += rows
        totals = {name: totals[name] + score if name in totals else score for name, score in scores.items()}
    if not num_rows:
        raise CorpusError("the texts hold nothing to score: they are empty, or have empty lines only")
    return num_rows, totals
