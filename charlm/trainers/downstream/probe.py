"""The probe of the promotion gate: does a small tagger learn more from the challenger's embeddings than the champion's?

Both pairs of language models stay as they are. On each, the same small tagger is trained on the same sentences from the
same seeds, and tags the same test sentences. The difference of the scores gets an interval by a paired bootstrap over
sentences (Koehn 2004), as the gate's other scores do.
"""

# S = test sentences

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from charlm.config import DownstreamConfig, GateConfig
from charlm.data.corpus import Corpus
from charlm.data.sentence import Sentence
from charlm.data.spans import tags_of
from charlm.embeddings.stacked import StackedEmbeddings
from charlm.embeddings.store import EmbeddingStore
from charlm.evaluation.bootstrap import interval_of, resampled_ratios
from charlm.evaluation.gate_report import ProbeScores
from charlm.evaluation.labels import LabelScores, score_labels, score_spans
from charlm.language_models.language_model import LanguageModel
from charlm.models.sequence_tagger import SequenceTagger
from charlm.runtime import Embedder
from charlm.trainers.downstream.build import stack_embeddings, train_downstream_model

PROBE = DownstreamConfig(
    hidden_size=64, optimizer="adamw", learning_rate=3e-3, mini_batch_size=32, max_epochs=10, patience=1, seed=1
)
"""A tagger that learns within a minute on two cores."""
_SEEDS = 2
_TRAIN_SENTENCES = 2_000
_TEST_SENTENCES = 1_000
_PREDICTED = "probe"


def probe_sentences(corpus: Corpus) -> Corpus:
    """As many of the sentences of a corpus as a probe takes minutes for; always the same."""
    return Corpus(
        _sample(corpus.train, _TRAIN_SENTENCES),
        _sample(corpus.dev, _TEST_SENTENCES),
        _sample(corpus.test, _TEST_SENTENCES),
        corpus.name,
        sample_missing_splits=False,
    )


def run_probe(
    corpus: Corpus,
    label_type: str,
    challenger: Sequence[LanguageModel],
    champion: Sequence[LanguageModel],
    gate: GateConfig,
    *,
    config: DownstreamConfig = PROBE,
    on_progress: Callable[[str], None] = lambda note: None,
) -> ProbeScores:
    """Micro F1 on the test sentences of taggers that were trained on each pair of language models, over all seeds.

    Raises DatasetError when nothing has a label of the layer `label_type`.
    """
    counts = {}
    for name, models in (("challenger", challenger), ("champion", champion)):
        counts[name] = np.zeros((len(corpus.test), 2))
        embeddings = stack_embeddings(models)
        with _leaving_no_vectors(embeddings), tempfile.TemporaryDirectory(prefix="charlm-probe-") as folder:
            for number in range(_SEEDS):
                on_progress(f"probe the {name}, tagger {number + 1} of {_SEEDS}")
                seeded = replace(config, seed=config.seed + number)
                tagger, _ = train_downstream_model(
                    "tagger", corpus, label_type, embeddings, seeded, Path(folder), keep_checkpoint=False
                )
                assert isinstance(tagger, SequenceTagger)
                counts[name] += sentence_counts(tagger, corpus.test, label_type)
    return compare_probes(counts["challenger"], counts["champion"], gate)


def probe_export(
    corpus: Corpus,
    label_type: str,
    models: Sequence[LanguageModel],
    embedder: Embedder,
    *,
    config: DownstreamConfig = PROBE,
) -> dict[str, float]:
    """Micro F1 of a tagger that learned from the models' vectors, on the test sentences: with these, with the export's.

    Raises DatasetError when nothing has a label of the layer `label_type`.
    """
    embeddings = stack_embeddings(models)
    with _leaving_no_vectors(embeddings), tempfile.TemporaryDirectory(prefix="charlm-probe-") as folder:
        tagger, _ = train_downstream_model(
            "tagger", corpus, label_type, embeddings, config, Path(folder), keep_checkpoint=False
        )
        assert isinstance(tagger, SequenceTagger)
        own = _f1(sentence_counts(tagger, corpus.test, label_type))
        borders = np.cumsum([part.embedding_length for part in embeddings.parts])[:-1]
        vectors = embedder.embed([sentence.words for sentence in corpus.test])
        for sentence, matrix in zip(corpus.test, vectors, strict=True):
            for part, columns in zip(embeddings.parts, np.split(matrix, borders, axis=1), strict=True):
                sentence.set_token_embeddings(part.name, torch.from_numpy(columns))
        return {"tagger_f1": own, "exported_tagger_f1": _f1(sentence_counts(tagger, corpus.test, label_type))}


def compare_probes(challenger: np.ndarray, champion: np.ndarray, gate: GateConfig) -> ProbeScores:
    """The scores in what `sentence_counts` gives for both, and the interval of their difference."""
    sampled = [
        resampled_ratios(
            2 * counts[:, 0], counts[:, 1], rounds=gate.bootstrap_rounds, generator=np.random.default_rng(gate.seed)
        )
        for counts in (challenger, champion)  # equal seeds draw the same sentences of both
    ]
    return ProbeScores(
        challenger=_f1(challenger),
        champion=_f1(champion),
        interval=interval_of(sampled[0] - sampled[1], gate.confidence),
        sentences=len(challenger),
    )


def sentence_counts(tagger: SequenceTagger, sentences: Sequence[Sentence], label_type: str) -> np.ndarray:
    """For every sentence the labels that were found, and the sum of predicted and true ones, (S, 2)."""
    tagger.predict(sentences, label_name=_PREDICTED)
    counts = np.array([_counts(tagger, sentence, label_type) for sentence in sentences], dtype=np.float64)
    for sentence in sentences:
        sentence.remove_labels(_PREDICTED)
    return counts


def _counts(tagger: SequenceTagger, sentence: Sentence, label_type: str) -> tuple[int, int]:
    true, predicted = tags_of(sentence, label_type), tags_of(sentence, _PREDICTED)
    scores: LabelScores = score_spans([true], [predicted]) if tagger.predict_spans else score_labels(true, predicted)
    return scores.total.correct, scores.total.predicted + scores.total.true


def _f1(counts: np.ndarray) -> float:
    correct, both = counts.sum(axis=0)
    return float(2 * correct / both) if both else 0.0


@contextmanager
def _leaving_no_vectors(embeddings: StackedEmbeddings) -> Iterator[None]:
    """Remove the stored vectors that come in the block: those of every challenger would fill the disk."""
    parts = [form for part in embeddings.frozen_parts() for form in (part, part.in_bf16())]
    folders = [EmbeddingStore(part).folder for part in parts]
    new = [folder for folder in folders if not folder.exists()]
    try:
        yield
    finally:
        for folder in new:
            shutil.rmtree(folder, ignore_errors=True)


def _sample(sentences: list[Sentence], count: int) -> list[Sentence]:
    """About `count` sentences, spread evenly."""
    return sentences[:: max(1, len(sentences) // count)][:count]
