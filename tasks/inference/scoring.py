"""Score texts: each document, line or record by itself; or in its context, with a cache and an n-gram model.

Writes a Parquet file with a row for each of them (charlm/evaluation/score_table.py)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from charlm.artifacts import OutputFiles, Workspace
from charlm.config import BaselineConfig, CacheConfig, ReadConfig
from charlm.errors import ConfigError
from charlm.evaluation.scores import LMScore, ScoreValues
from charlm.storage.fingerprints import fingerprint
from charlm.storage.user_paths import user_path
from charlm.text.sources.finding import find_sources
from charlm.text.sources.raw import Source
from charlm.text.sources.rows import Window, check_per, open_rows_of, read_windows
from tasks.inference.own_corpus import own_corpus
from tasks.registry.download import OpenedModel, open_model
from tasks.terminal import counted, terminal

if TYPE_CHECKING:
    from charlm.evaluation.rows import RowScorer


class ScoredTextsJson(TypedDict):
    """What `charlm score --json` shows."""

    output: str | None
    rows: int
    scores: dict[str, ScoreValues]
    mixture_weights: dict[str, float]
    held_out_documents: int | None


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """What helps the model that texts are scored with; then they are read one after the other, not each by itself."""

    cache: CacheConfig | None = None
    corpus: str | None = None
    """The corpus whose n-gram model has a share in every probability."""

    weight: float | None = None
    """Its share; by default what predicts the validation text of that corpus best."""

    baseline: BaselineConfig = field(default_factory=BaselineConfig)

    def __post_init__(self) -> None:
        if self.weight is not None and (self.corpus is None or not 0 <= self.weight <= 1):
            raise ConfigError(
                f"--mix-weight is a share in [0, 1] of the n-gram model that --mix names, got {self.weight}"
            )

    @property
    def needs_context(self) -> bool:
        return self.cache is not None or self.corpus is not None


@dataclass(frozen=True, kw_only=True)
class ScoredTexts:
    """The scores over all texts by direction, and the weight of the n-gram model in each."""

    output: Path | None
    rows: int
    scores: dict[str, LMScore]
    mixture_weights: dict[str, float]
    held_out_documents: int | None
    """Held-out documents that the percentiles refer to; none where the corpus of the model is not here."""

    def to_json(self) -> ScoredTextsJson:
        return {
            "output": None if self.output is None else str(self.output),
            "rows": self.rows,
            "scores": {direction: score.to_json() for direction, score in self.scores.items()},
            "mixture_weights": self.mixture_weights,
            "held_out_documents": self.held_out_documents,
        }


def score_texts(
    workspace: Workspace,
    model: str | OpenedModel,
    texts: Sequence[str],
    *,
    output: Path | None = None,
    per: str = "document",
    reading: ReadConfig = ReadConfig(),  # noqa: B008  # never changed
    mixing: Mixing = Mixing(),
    with_nats: bool = False,
) -> ScoredTexts:
    """Score `texts` with each direction of `model`, and write what each row costs to `output`.

    An interrupted call is continued.
    Raises ModelFileError or RegistryError for the model, SourceError or CorpusError for a text or the corpus.
    """
    rows_are = check_per(per)
    sources = find_sources(texts)
    for source in sources:
        open_rows_of(source, rows_are, reading)
    if output is not None:
        output = user_path(output).absolute()
        check_output(output, sources)
    if mixing.corpus is not None:
        workspace.prepared_corpus(mixing.corpus, train_text=False)
    opened = model if isinstance(model, OpenedModel) else open_model(model, workspace)
    from charlm.evaluation.score_table import RowTable, score_windows, write_score_table

    held_out = read_held_out(opened, workspace)
    scorers, weights = _open_scorers(opened, workspace, mixing)
    table = RowTable(scorers=scorers, held_out=held_out, with_nats=with_nats)
    skipped: dict[str, int] = {}
    windows = read_windows(sources, rows_are, reading, whole_sources=mixing.needs_context, skipped=skipped)
    with terminal.step("score") as bar:
        on_window = progress(sources, bar.update)
        if output is None:
            num_rows, scores = score_windows(table, windows, on_window)
        else:
            settings = [weights, with_nats, mixing.cache and mixing.cache.to_json()]
            settings.append(mixing.corpus and mixing.baseline.to_json())
            work = work_of(opened, held_out, settings)
            num_rows, scores = write_score_table(table, windows, OutputFiles(output), work=work, on_window=on_window)
        bar.finish(", ".join([counted(num_rows, "row"), *_described(scores)]))
    for reason, number in skipped.items():
        terminal.print_line(f"! {reason}: {number:,}")
    return ScoredTexts(
        output=output,
        rows=num_rows,
        scores=scores,
        mixture_weights=weights,
        held_out_documents=None if held_out is None else len(held_out),
    )


def work_of(opened: OpenedModel, held_out: np.ndarray | None, settings: list[object]) -> str:
    """What identifies models and settings that rows are scored with."""
    from charlm.language_models.digest import model_digest

    digests = [model_digest(lm) for lm in opened.models.values()]
    return fingerprint([digests, None if held_out is None else held_out.tolist(), settings])


def check_output(output: Path, sources: Sequence[Source]) -> None:
    """Raise ConfigError where `output` is one of the texts."""
    if any(source.remote is None and Path(source.address).resolve() == output.resolve() for source in sources):
        raise ConfigError(f"{output} is one of the texts; name another file to write to")


def read_held_out(opened: OpenedModel, workspace: Workspace) -> np.ndarray | None:
    """The sorted bits per byte of held-out documents of a model's own corpus; none, with a line, without them."""
    from charlm.evaluation.percentiles import held_out_bits

    corpus = own_corpus(opened.path, workspace, train_text=False)
    if corpus is None:
        terminal.print_line(
            f"! no percentiles: the corpus that {opened.name} was trained on is not in {workspace.root}"
        )
        return None
    with terminal.step(f"held-out documents of {corpus.name}") as bar:
        bits = held_out_bits(opened.models, corpus)
        if not len(bits) or np.isnan(bits).any():
            terminal.print_line(f"! no percentiles: {corpus.name} has no held-out documents with bits per byte")
            return None
        bar.finish(f"{len(bits):,}, median {np.median(bits):.3f} bits per byte")
    return bits


def _open_scorers(
    opened: OpenedModel, workspace: Workspace, mixing: Mixing
) -> tuple[dict[str, "RowScorer"], dict[str, float]]:
    """What scores texts in each direction, and the weight of the n-gram model in each."""
    from charlm.evaluation.rows import AloneScorer, ContextScorer, open_mixture

    if not mixing.needs_context:
        return {direction: AloneScorer(lm) for direction, lm in opened.models.items()}, {}
    scorers: dict[str, RowScorer] = {}
    weights = {}
    for direction, lm in opened.models.items():
        mixture = None
        if mixing.corpus is not None:
            corpus = workspace.prepared_corpus(mixing.corpus, train_text=False)
            with terminal.step(f"n-gram model of {corpus.name}, {direction}") as bar:
                mixture = open_mixture(lm, corpus, mixing.baseline, weight=mixing.weight, cache=mixing.cache)
                bar.finish(f"it counts {mixture.weight:.2f}")
            weights[direction] = mixture.weight
        scorers[direction] = ContextScorer(lm, cache=mixing.cache, mixture=mixture)
    return scorers, weights


def progress(sources: Sequence[Source], update: Callable[..., None]) -> Callable[[Window], None]:
    """A function that shows how much of the sources has been read up to a window."""
    total = sum(source.size or 0 for source in sources)
    return lambda window: update(window.num_stored / max(total, window.num_stored, 1), window.sources[-1])


def _described(scores: Mapping[str, LMScore]) -> list[str]:
    return [f"{direction} perplexity {score.perplexity:.2f}" for direction, score in scores.items()]
