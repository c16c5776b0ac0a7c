"""Filter texts by how well a model knows them: text in, text out, in the same format.

Writes OUTPUT      the rows whose scores lie between bounds, and on request what was left out
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypedDict

import numpy as np
import pyarrow as pa

from charlm.artifacts import OutputFiles, Workspace
from charlm.config import ReadConfig, ScoreBounds
from charlm.errors import ConfigError, CorpusError
from charlm.storage.parts import ParquetParts
from charlm.storage.user_paths import user_path
from charlm.text.sources.copying import copy_rows
from charlm.text.sources.finding import find_sources
from charlm.text.sources.raw import Source
from charlm.text.sources.rows import check_per, open_rows_of, read_windows
from tasks.inference.scoring import check_output, progress, read_held_out, work_of
from tasks.registry.download import OpenedModel, open_model
from tasks.terminal import counted, terminal

_COLUMNS = ["source", "index", "bytes", "bits_per_byte", "percentile"]
_BAR = 36  # characters of the longest bar


class FilteredTextsJson(TypedDict):
    """What `charlm filter --json` shows."""

    output: str
    left_out: str | None
    kept: int
    rows: int
    kept_bytes: int
    bytes: int
    histogram: dict[str, list[int]]


@dataclass(frozen=True, kw_only=True)
class FilteredTexts:
    """What a filter kept."""

    output: Path
    left_out: Path | None
    kept: int
    rows: int
    kept_bytes: int
    bytes: int
    histogram: dict[str, list[int]]
    """Rows that were kept, and rows that were left out, by range of percentiles, or of bits per byte."""

    def to_json(self) -> FilteredTextsJson:
        paths = {"output": str(self.output), "left_out": None if self.left_out is None else str(self.left_out)}
        return {**vars(self), **paths}  # type: ignore[typeddict-item]  # the same fields

    def lines(self) -> list[str]:
        """Counts and the histogram, in 80 columns; kept rows are `█`, others `░`."""
        scale = _BAR / max(sum(counts) for counts in self.histogram.values())
        lines = []
        for name, counts in self.histogram.items():
            bar = "█" * round(scale * counts[0]) + "░" * round(scale * counts[1])
            lines.append(f"{name:>22} {sum(counts):>14,}  {bar}")
        share = self.kept / self.rows
        lines.append(f"kept {self.kept:,} of {counted(self.rows, 'row')} ({share:.1%}), {self.kept_bytes:,} of")
        lines.append(f"{self.bytes:,} bytes; left out {self.rows - self.kept:,}")
        return lines


def filter_texts(
    workspace: Workspace,
    model: str | OpenedModel,
    texts: Sequence[str],
    output: Path,
    *,
    bounds: ScoreBounds,
    left_out: Path | None = None,
    per: str = "document",
    reading: ReadConfig = ReadConfig(),  # noqa: B008  # never changed
) -> FilteredTexts:
    """Write the rows of `texts` between `bounds` to `output`, and the others to `left_out`.

    Of a single file both are files, else folders with a file for each source. Raises ConfigError for bounds that cannot
    be used, ModelFileError or RegistryError for the model, SourceError or CorpusError for a text. An interrupted call
    is continued.
    """
    if not bounds.has_any:
        raise ConfigError(
            "a filter needs a bound: --min-percentile, --max-percentile, --min-bits-per-byte or --max-bits-per-byte"
        )
    rows_are = check_per(per)
    sources = find_sources(texts)
    for source in sources:
        open_rows_of(source, rows_are, reading)
        if rows_are == "line" and source.kind != "text":
            raise ConfigError(f"{source.address} holds records, which are kept whole; use --per record")
    targets = _Targets.of(sources, texts, output, left_out)
    opened = model if isinstance(model, OpenedModel) else open_model(model, workspace)
    from charlm.evaluation.percentiles import are_within
    from charlm.evaluation.rows import AloneScorer
    from charlm.evaluation.score_table import RowTable, score_parts

    held_out = read_held_out(opened, workspace)
    if held_out is None and bounds.needs_percentiles:
        raise ConfigError(f"{opened.name} has no percentiles here; give bounds in bits per byte, or its workspace")
    table = RowTable(scorers={name: AloneScorer(lm) for name, lm in opened.models.items()}, held_out=held_out)
    scores_file = OutputFiles(user_path(output).absolute().with_name(f"{Path(output).name}.scores"))
    counts = _Counts(in_percentiles=held_out is not None)
    skipped: dict[str, int] = {}
    windows = read_windows(sources, rows_are, reading, whole_sources=False, skipped=skipped)
    with terminal.step("filter") as bar:
        on_window = progress(sources, bar.update)
        work = work_of(opened, held_out, [])
        with score_parts(table, windows, scores_file, work=work, on_window=on_window) as (parts, num_rows, _):

            def decided() -> Iterator[tuple[str, int, bool]]:
                for columns in map(_columns, parts.tables(_COLUMNS)):
                    is_kept = are_within(bounds, columns["bits_per_byte"], columns["percentile"])
                    counts.add(columns, is_kept)
                    yield from zip(columns["source"], columns["index"].tolist(), is_kept.tolist(), strict=True)

            _refuse_no_scores(parts, opened)
            decisions = _BySource(decided())
            for source, chosen, others in zip(sources, targets.kept, targets.left_out, strict=True):
                copy_rows(source, rows_are, reading, decisions.of(source.address), chosen, others)
            parts.close()
        bar.finish(f"kept {counts.kept:,} of {counted(num_rows, 'row')}")
    for reason, number in skipped.items():
        terminal.print_line(f"! {reason}: {number:,}")
    return FilteredTexts(
        output=user_path(output).absolute(),
        left_out=None if left_out is None else user_path(left_out).absolute(),
        kept=counts.kept,
        rows=num_rows,
        kept_bytes=counts.kept_bytes,
        bytes=counts.bytes,
        histogram=counts.histogram(),
    )


@dataclass(frozen=True)
class _Targets:
    """The files for the rows of each source: what is kept, and what is left out, where that is wanted."""

    kept: list[Path]
    left_out: Sequence[Path | None]

    @classmethod
    def of(cls, sources: Sequence[Source], texts: Sequence[str], output: Path, left_out: Path | None) -> "_Targets":
        is_single = len(sources) == 1 and not user_path(texts[0]).is_dir()
        kept = _places(user_path(output).absolute(), sources, is_single)
        others = [] if left_out is None else _places(user_path(left_out).absolute(), sources, is_single)
        for path in kept + others:
            check_output(path, sources)
        if set(kept) & set(others):
            raise ConfigError(f"what is kept and what is left out would both go to {output}; name another file")
        return cls(kept, others or [None] * len(sources))


def _places(path: Path, sources: Sequence[Source], is_single: bool) -> list[Path]:
    """The file for the rows of each source; raises ConfigError where a file cannot have the format of its source."""
    if is_single:
        if path.is_dir():
            raise ConfigError(f"{path} is a folder; name a file to write to")
        kinds = [Source(name=one, address=one, size=None).kind for one in (path.name, _file_name(sources[0]))]
        if kinds[0] != kinds[1]:
            raise ConfigError(
                f"{path.name} is a name for {kinds[0]}, and {sources[0].address} holds {kinds[1]}; the format stays"
            )
        return [path]
    if path.is_file():
        raise ConfigError(f"{path} is a file; name a folder for the {len(sources)} texts")
    places = [path / _file_name(source) for source in sources]
    if double := [place for place, number in Counter(places).items() if number > 1]:
        raise ConfigError(f"two texts would both be written to {double[0]}; rename one, or give their folder")
    return places


def _file_name(source: Source) -> str:
    """The name of a source below its folder; a dataset of the hub becomes JSON lines."""
    if source.kind == "hub":
        return f"{source.name.replace('/', '-').replace(':', '-')}.jsonl"
    return str(PurePosixPath(source.name))


def _columns(table: pa.Table) -> dict[str, np.ndarray]:
    """The columns as arrays; what is null is no number."""
    return {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}


def _refuse_no_scores(parts: ParquetParts, opened: OpenedModel) -> None:
    """Raise CorpusError where the model has no bits per byte."""
    first = next(parts.tables(["bits_per_byte"])).column(0)
    if first.null_count == len(first):
        raise CorpusError(f"{opened.name} has no bits per byte, for its tokenizer loses text; it cannot filter")


class _BySource:
    """Decisions about the rows of one source after the other, from those about all rows."""

    def __init__(self, decided: Iterable[tuple[str, int, bool]]) -> None:
        self._decided = iter(decided)
        self._next = next(self._decided, None)

    def of(self, source: str) -> Iterator[tuple[int, bool]]:
        while self._next is not None and self._next[0] == source:
            yield self._next[1:]
            self._next = next(self._decided, None)


class _Counts:
    """Rows and bytes that are kept and left out, and the rows by range of their scores."""

    def __init__(self, *, in_percentiles: bool) -> None:
        self._column = "percentile" if in_percentiles else "bits_per_byte"
        self._edges = np.linspace(0, 100, 11) if in_percentiles else np.arange(0, 8.5, 0.5)
        self._bins = np.zeros((2, len(self._edges)), dtype=np.int64)  # kept and left out; the last one is open
        self.kept_bytes = self.bytes = 0

    def add(self, columns: dict[str, np.ndarray], is_kept: np.ndarray) -> None:
        places = np.clip(np.digitize(columns[self._column], self._edges) - 1, 0, len(self._edges) - 1)
        for side, chosen in enumerate((is_kept, ~is_kept)):
            self._bins[side] += np.bincount(places[chosen], minlength=len(self._edges))
        self.bytes += int(columns["bytes"].sum())
        self.kept_bytes += int(columns["bytes"][is_kept].sum())

    @property
    def kept(self) -> int:
        return int(self._bins[0].sum())

    def histogram(self) -> dict[str, list[int]]:
        """Kept and left out by the name of the range; without empty ranges at either end."""
        full = np.flatnonzero(self._bins.sum(axis=0))
        shown = self._column.replace("bits_per_byte", "bits/byte")
        names = [f"{shown} {low:g} to {high:g}" for low, high in zip(self._edges, self._edges[1:], strict=False)]
        names.append(f"{shown} {self._edges[-1]:g} or more")
        return {names[place]: self._bins[:, place].tolist() for place in range(full[0], full[-1] + 1)}
