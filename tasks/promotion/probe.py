"""Try out challenger and champion on a labelled corpus: what the promotion gate asks a small tagger.

Reads  a folder of labelled sentences, the bundles of both versions
"""

from dataclasses import dataclass
from typing import Self

from charlm.artifacts import Workspace
from charlm.config import GateConfig
from charlm.data.corpus import Corpus
from charlm.datasets.opening import open_data
from charlm.datasets.summary import check_corpus, summarize
from charlm.errors import DatasetError
from charlm.evaluation.promotion import ProbeScores
from tasks.registry.download import load_models
from tasks.registry.versions import RegisteredVersion
from tasks.terminal import Bar


@dataclass(frozen=True)
class Probe:
    """Labelled sentences to try out language models on."""

    corpus: Corpus
    label_type: str

    @classmethod
    def open(cls, data: str) -> Self:
        """The probe on a folder or prepared corpus; raises DatasetError when it is none, or has no test sentences."""
        opened = open_data([data])
        corpus, label_type = opened.corpus, opened.label_type
        if not corpus.train or not corpus.test:
            raise DatasetError(f"a probe needs train and test sentences, and {data} has {corpus}")
        check_corpus(corpus, label_type, "tagger", summarize(corpus, label_type), opened.sampled)
        return cls(corpus, label_type)

    def run(
        self,
        workspace: Workspace,
        challenger: RegisteredVersion,
        champion: RegisteredVersion,
        config: GateConfig,
        bar: Bar,
    ) -> ProbeScores:
        """What taggers on the models of both versions score; takes a minute or a few."""
        from charlm.trainers.downstream.probe import probe_sentences, run_probe

        return run_probe(
            probe_sentences(self.corpus),
            self.label_type,
            list(load_models(workspace, challenger).values()),
            list(load_models(workspace, champion).values()),
            config,
            on_progress=lambda note: bar.update(note=note),
        )
