"""Score texts line by line, with a cache and mixed with an n-gram model where wanted: for filtering and rescoring.

Writes a Parquet file with a row for each line that is not empty, or for each text
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from charlm.artifacts import Workspace
from charlm.config import BaselineConfig, CacheConfig
from charlm.errors import ConfigError, CorpusError, SourceError
from charlm.evaluation.scores import LMScore, ScoreValues
from charlm.storage.atomic import atomic_write
from tasks.registry.download import open_model
from tasks.terminal import counted, terminal

PER = ("line", "text")


class ScoredTextsJson(TypedDict):
    """What `charlm score --json` shows."""

    output: str | None
    rows: int
    scores: dict[str, ScoreValues]
    mixture_weights: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class ScoredTexts:
    """The scores over all texts by direction, and the weight of the n-gram model in each."""

    output: Path | None
    rows: int
    scores: dict[str, LMScore]
    mixture_weights: dict[str, float]

    def to_json(self) -> ScoredTextsJson:
        return {
            "output": None if self.output is None else str(self.output),
            "rows": self.rows,
            "scores": {direction: score.to_json() for direction, score in self.scores.items()},
            "mixture_weights": self.mixture_weights,
        }


def score_texts(
    workspace: Workspace,
    model: str,
    texts: Sequence[str],
    *,
    output: Path | None = None,
    per: str = "line",
    cache: CacheConfig | None = None,
    mix: str | None = None,
    mix_weight: float | None = None,
    baseline: BaselineConfig | None = None,
) -> ScoredTexts:
    """Score `texts` with each direction of `model`, and write what each line or text costs to `output`.

    `mix` names the corpus whose n-gram model has a share in every probability: `mix_weight`, or by default the one
    that predicts the validation text of that corpus best.
    Raises ModelFileError or RegistryError for the model, SourceError or CorpusError for a text or the corpus.
    """
    if per not in PER:
        raise ConfigError(f"--per is {' or '.join(PER)}, got {per!r:.60}")
    if mix_weight is not None and (mix is None or not 0 <= mix_weight <= 1):
        raise ConfigError(f"--mix-weight is a share in [0, 1] of the n-gram model that --mix names, got {mix_weight}")
    paths = [Path(text).expanduser() for text in texts]
    if missing := [path for path in paths if not path.is_file()]:
        raise SourceError(f"there is no text file {str(missing[0])!r} to score")
    corpus = None if mix is None else workspace.prepared_corpus(mix)
    models = open_model(model, workspace).models
    from charlm.evaluation.rows import open_mixture, score_rows

    scores: dict[str, LMScore] = {}
    weights: dict[str, float] = {}
    columns: dict[str, list[np.ndarray]] = {}
    for direction, language_model in models.items():
        with terminal.step(f"score {direction}") as bar:
            mixture = None
            if corpus is not None:
                bar.update(None, f"n-gram model of {corpus.name}")
                mixture = open_mixture(
                    language_model, corpus, baseline or BaselineConfig(), weight=mix_weight, cache=cache
                )
                weights[direction] = mixture.weight
            for number, path in enumerate(paths):
                bar.update(number / len(paths), path.name)
                rows = score_rows(language_model, path, cache=cache, mixture=mixture)
                scores[direction] = rows.score if direction not in scores else scores[direction] + rows.score
                size = len(rows.line) if per == "line" else 1
                values = {
                    "source": np.full(size, str(path)),
                    "line": rows.line[:size],
                    **{name: _by(per, getattr(rows, name)) for name in ("characters", "bytes", "units", "unknown")},
                    f"{direction}_nats": _by(per, rows.nats),
                    f"{direction}_bits": _by(per, rows.bits),
                }
                for name, column in values.items():
                    if direction == next(iter(models)) or name.startswith(direction):
                        columns.setdefault(name, []).append(column)
            part = f", the n-gram model counts {weights[direction]:.2f}" if direction in weights else ""
            bar.finish(f"perplexity {scores[direction].perplexity:.2f}{part}")
    table = _table({name: np.concatenate(parts) for name, parts in columns.items()}, list(models))
    if output is not None:
        with atomic_write(output.expanduser().absolute()) as file:
            pq.write_table(table, file)
    terminal.print_line(f"  {counted(table.num_rows, per)}")
    return ScoredTexts(
        output=None if output is None else output.expanduser().absolute(),
        rows=table.num_rows,
        scores=scores,
        mixture_weights=weights,
    )


def _by(per: str, values: np.ndarray) -> np.ndarray:
    """The values of all lines, or their sum."""
    return values if per == "line" else values.sum(keepdims=True)


def _table(columns: dict[str, np.ndarray], directions: Sequence[str]) -> pa.Table:
    """The columns with bits per byte of each direction and their mean; null where text cannot be rebuilt."""
    if not len(columns["bytes"]):
        raise CorpusError("the texts hold nothing to score")
    per_byte = {}
    for direction in directions:
        per_byte[direction] = columns.pop(f"{direction}_bits") / columns["bytes"]
        columns[f"{direction}_bits_per_byte"] = per_byte[direction]
    columns["bits_per_byte"] = np.mean([*per_byte.values()], axis=0)
    columns["unk_rate"] = columns["unknown"] / columns["units"]
    return pa.table({name: pa.array(column, from_pandas=True) for name, column in columns.items()})
