"""Keep documents out of a corpus that a model finds too foreign, or too easy."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from charlm.artifacts import Workspace
from charlm.config import ReadConfig, ScoreBounds
from charlm.errors import CorpusError
from charlm.storage.fingerprints import fingerprint
from tasks.terminal import terminal

if TYPE_CHECKING:
    from charlm.evaluation.rows import RowScorer


@dataclass(frozen=True, kw_only=True)
class ModelFilter:
    """Keeps the documents whose bits per byte, as the mean of all directions, lie between bounds."""

    model: str
    scorers: Mapping[str, "RowScorer"]
    bounds: ScoreBounds
    identity: str

    def bits_per_byte(self, documents: list[bytes]) -> np.ndarray:
        """The score of each document, (D,); raises CorpusError where the model has none."""
        bits: np.ndarray = np.mean([scorer.score(documents).bits_per_byte for scorer in self.scorers.values()], axis=0)
        if np.isnan(bits).any():
            raise CorpusError(f"{self.model} has no bits per byte, for its tokenizer loses text; it cannot filter")
        return bits

    def are_kept(self, bits_per_byte: np.ndarray) -> np.ndarray:
        from charlm.evaluation.percentiles import are_within

        return are_within(self.bounds, bits_per_byte)


def open_filter(workspace: Workspace, name: str, reading: ReadConfig) -> ModelFilter | None:
    """The filter that `reading` asks for, with the champion of `name` unless it names a model; None without bounds.

    Raises ModelFileError or RegistryError when there is no such model.
    """
    if not reading.has_filter:
        return None
    from charlm.evaluation.rows import AloneScorer
    from charlm.language_models.digest import model_digest
    from tasks.registry.download import open_model
    from tasks.registry.versions import CHAMPION

    opened = open_model(reading.filter_model or f"models:/{name}@{CHAMPION}", workspace)
    return ModelFilter(
        model=opened.name,
        scorers={direction: AloneScorer(lm) for direction, lm in opened.models.items()},
        bounds=ScoreBounds(min_bits_per_byte=reading.min_bits_per_byte, max_bits_per_byte=reading.max_bits_per_byte),
        identity=fingerprint([model_digest(lm) for lm in opened.models.values()]),
    )


def without_missing_champion(name: str, reading: ReadConfig) -> ReadConfig:
    """`reading`; without its filter, and with a line about that, while `name` has no champion to filter with."""
    from tasks.registry.versions import find_champion

    if not reading.has_filter or reading.filter_model is not None or find_champion(name) is not None:
        return reading
    terminal.print_line(f"! {name} has no champion yet, so its text is not filtered by bits per byte")
    return replace(reading, min_bits_per_byte=None, max_bits_per_byte=None)
