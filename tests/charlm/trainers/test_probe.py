"""The probe of the gate: small taggers tell language models that know something from those that do not."""

import numpy as np
import pytest
import torch

from charlm.config import DownstreamConfig, GateConfig
from charlm.data import Corpus, Dictionary, Sentence
from charlm.evaluation.promotion import ProbeScores
from charlm.models import LanguageModel
from charlm.trainers.downstream.probe import compare_probes, probe_sentences, run_probe

GATE = GateConfig(bootstrap_rounds=500)
QUICK = DownstreamConfig(hidden_size=8, optimizer="adamw", learning_rate=0.03, max_epochs=3, mini_batch_size=4)


def sentences(count: int, seed: int) -> list[Sentence]:
    """Words of kind A and B in any order, which only who sees their characters can tell apart."""
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        kinds = draw.choice(["A", "B"], 5)
        sentence = Sentence([{"A": "aaaa", "B": "bbbb"}[kind] for kind in kinds])
        for token, kind in zip(sentence, kinds, strict=True):
            token.add_label("kind", str(kind))
        made.append(sentence)
    return made


def model(*, dead: bool = False) -> LanguageModel:
    """A language model with large weights, whose states differ by what it reads; a dead one reads nothing."""
    torch.manual_seed(1)
    made = LanguageModel(Dictionary.from_items("ab \n"), True, hidden_size=16, nlayers=1)
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(3)
        if dead:
            made.encoder.weight.zero_()
    return made.eval()


@pytest.fixture
def corpus() -> Corpus:
    return Corpus(sentences(40, 1), sentences(10, 2), sentences(30, 3))


def test_a_challenger_that_sees_less_scores_surely_lower_and_is_faulted(corpus):
    scores = run_probe(corpus, "kind", [model(dead=True)], [model()], GATE, config=QUICK)
    assert scores.champion > 0.9 > scores.challenger
    assert scores.sentences == 30
    assert scores.interval is not None
    assert scores.interval[1] < 0
    assert scores.fault(GATE.probe_tolerance) is not None
    assert all(token.get_labels() == token.get_labels("kind") for token in corpus.test[0])


def test_equal_models_score_equally(corpus):
    scores = run_probe(corpus, "kind", [model()], [model()], GATE, config=QUICK)
    assert scores.challenger == scores.champion
    assert scores.interval == (0, 0)
    assert scores.fault(0.0) is None


def test_scores_and_interval_are_those_of_the_counts():
    challenger, champion = np.array([[2, 6.0], [1, 2], [0, 4]]), np.array([[3, 6.0], [1, 2], [0, 4]])
    scores = compare_probes(challenger, champion, GATE)
    assert (scores.challenger, scores.champion) == (2 * 3 / 12, 2 * 4 / 12)
    # Every sample is worse or equal, by at most what sampling the first sentence alone gives.
    assert scores.interval is not None
    assert -2 / 6 <= scores.interval[0] < scores.interval[1] <= 0
    assert compare_probes(challenger, champion, GATE) == scores


def test_a_probe_takes_a_spread_sample_of_a_large_corpus():
    large = Corpus([Sentence(f"w{number}") for number in range(5_000)], [], sentences(3, 1))
    small = probe_sentences(large)
    assert [len(small.train), len(small.dev), len(small.test)] == [2_000, 0, 3]
    assert [sentence.text for sentence in small.train[:3]] == ["w0", "w2", "w4"]


def test_no_interval_means_that_the_tolerance_alone_decides():
    assert ProbeScores(challenger=0.845, champion=0.85).fault(0.01) is None
    assert ProbeScores(challenger=0.83, champion=0.85).fault(0.01) == "its probe score is 0.8300, the champion's 0.8500"
