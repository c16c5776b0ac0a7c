"""Compare challenger and champion by the taggers that learn from them: the optional probe of the promotion gate.

Reads  a folder of labelled sentences
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from charlm.config import GateConfig
from charlm.data.corpus import Corpus
from charlm.datasets.opening import open_data
from charlm.datasets.summary import check_corpus, summarize
from charlm.errors import DatasetError
from charlm.evaluation.gate_report import ProbeScores
from tasks.registry.download import OpenedModel
from tasks.terminal import Bar

if TYPE_CHECKING:
    from charlm.language_models.language_model import LanguageModel
    from charlm.runtime import Embedder
    from charlm.storage.atomic import JsonObject


@dataclass(frozen=True)
class Probe:
    """Labelled sentences to train small taggers on."""

    corpus: Corpus
    label_type: str

    @classmethod
    def open(cls, data: str) -> Self:
        """The probe on a folder or prepared corpus; raises DatasetError where it lacks train or test sentences."""
        opened = open_data([data])
        corpus, label_type = opened.corpus, opened.label_type
        if not corpus.train or not corpus.test:
            raise DatasetError(f"a probe needs train and test sentences, and {data} has {corpus}")
        check_corpus(corpus, label_type, "tagger", summarize(corpus, label_type), opened.sampled)
        return cls(corpus, label_type)

    def of_export(self, models: "Iterable[LanguageModel]") -> "Callable[[Embedder], JsonObject]":
        """A function that gives the scores of a tagger on the models' vectors, and on those of an export of theirs."""
        from charlm.trainers.downstream.probe import probe_export, probe_sentences

        corpus, given = probe_sentences(self.corpus), list(models)
        return lambda embedder: dict(probe_export(corpus, self.label_type, given, embedder))

    def run(self, challenger: OpenedModel, champion: OpenedModel, config: GateConfig, bar: Bar) -> ProbeScores:
        """The scores of taggers on the models of both versions; takes a few minutes."""
        from charlm.trainers.downstream.probe import probe_sentences, run_probe

        return run_probe(
            probe_sentences(self.corpus),
            self.label_type,
            list(challenger.models.values()),
            list(champion.models.values()),
            config,
            on_progress=lambda note: bar.update(None, note),
        )
