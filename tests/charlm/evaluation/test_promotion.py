"""The gate's decision, case by case, on documents whose scores are given."""

import dataclasses
import json
import math
from collections.abc import Mapping

import numpy as np
import pytest

from charlm.config import GateConfig
from charlm.errors import ConfigError, GateError
from charlm.evaluation.promotion import BaselineScore, GateReport, ProbeScores, decide_promotion, paired_interval
from charlm.evaluation.scores import DocumentScores
from tasks.promotion.report import gate_markdown

NUM_DOCUMENTS, BYTES = 50, 100
CONFIG = GateConfig(bootstrap_rounds=400)
Pair = dict[str, dict[str, DocumentScores]]


def documents(
    bits_per_byte: float, *, unk_rate: float = 0.0, first: float = 0.0, count: int = NUM_DOCUMENTS
) -> DocumentScores:
    """`count` documents of 100 ASCII characters that all cost the same; the first one costs `first` bits more."""
    bits = np.full(count, bits_per_byte * BYTES)
    bits[0] += first
    return DocumentScores(
        keys=np.arange(count, dtype=np.uint64),
        nats=bits * math.log(2),
        bits=bits,
        bytes=np.full(count, BYTES),
        units=np.full(count, BYTES),
        unknown=np.full(count, round(unk_rate * BYTES)),
    )


def pair(news: float = 2.0, books: float = 2.0, *, backward: float = 0.0) -> Pair:
    """Models with these bits per byte on two domains; the backward one needs `backward` more."""
    return {
        "forward": {"books": documents(books), "news": documents(news)},
        "backward": {"books": documents(books + backward), "news": documents(news + backward)},
    }


def with_news(pair: Pair, **changes: object) -> Pair:
    """The pair with other documents of the domain news in its backward model."""
    news = dataclasses.replace(pair["backward"]["news"], **changes)  # type: ignore[arg-type]
    return {**pair, "backward": {**pair["backward"], "news": news}}


def only(pair: Pair, direction: str) -> Pair:
    return {direction: pair[direction]}


@pytest.mark.parametrize(
    ("challenger", "champion", "promoted", "reason"),
    [
        # There is no champion yet: health alone counts.
        (pair(), None, True, "promoted: the first version, and both directions are healthy"),
        (only(pair(), "forward"), None, False, "it has no backward model, and a champion needs both directions"),
        (only(pair(1.0), "backward"), pair(), False, "it has no forward model"),
        # Perplexity is 2 ** bits: a difference of 0.32 is a factor of 1.248, one of 0.33 a factor of 1.257.
        (pair(backward=0.32), None, True, "both directions are healthy"),
        (pair(backward=0.33), None, False, "its backward model has perplexity 5.028, more than 1.25 times the 4.000"),
        (pair(backward=-0.33), None, False, "its forward model has perplexity 4.000, more than 1.25 times the 3.182"),
        (pair(math.inf), None, False, "the perplexity of its forward and backward model is not finite"),
        (pair(3000.0), None, False, "the perplexity of its forward and backward model is not finite"),
        # The target domain has to get better by 0.002.
        (pair(1.9), pair(), True, "1.9000 bits per byte on news, 0.1000 better than the champion (95% interval of the"),
        (pair(1.997), pair(), True, "0.0030 better"),
        (pair(1.999), pair(), False, "interval of the improvement 0.0010 to 0.0010), and 0.002 better is needed"),
        (pair(), pair(), False, "0.0000 better"),  # as good is not better
        (pair(2.1), pair(), False, "2.1000 bits per byte on news, 0.1000 worse than the champion"),
        (pair(1.9, backward=0.3), pair(), False, "2.0500 bits per byte on news"),  # the mean of the directions counts
        (pair(1.9, backward=0.1), pair(backward=0.2), True, "1.9500 bits per byte on news, 0.1500 better"),
        # Other domains may lose 0.02.
        (pair(1.9, 2.01), pair(), True, "no other domain lost more than allowed"),
        (pair(1.9, 2.03), pair(), False, "2.0300 bits per byte on books, 0.0300 worse than the champion"),
        (pair(1.9, math.inf), pair(), False, "inf bits per byte on books, which cannot be compared"),
        # What is found wrong is said whole.
        (pair(2.1, 2.03), pair(), False, "and 0.002 better is needed; 2.0300 bits per byte on books"),
    ],
)
def test_a_challenger_is_promoted_only_when_it_is_healthy_and_better(
    challenger: Pair, champion: Pair | None, promoted: bool, reason: str
) -> None:
    report = decide_promotion(challenger, champion, target="news", config=CONFIG)
    assert report.promoted is promoted
    assert report.reason.startswith(f"{report.decision}: ")
    assert reason in report.reason


def test_a_gain_on_one_document_alone_may_be_chance() -> None:
    challenger, champion = pair(), pair()
    for direction in challenger:
        champion[direction]["news"] = documents(2.0, first=50.0)  # 0.01 bits per byte over all 50 documents
    report = decide_promotion(challenger, champion, target="news", config=CONFIG)
    assert report.domains["news"].improvement == pytest.approx(0.01)
    assert report.domains["news"].interval is not None
    assert report.domains["news"].interval[0] == 0.0
    assert not report.promoted
    assert "which may be chance" in report.reason


@pytest.mark.parametrize(("unk_rate", "promoted"), [(0.01, True), (0.02, False)])
def test_a_dictionary_that_lacks_too_much_is_refused(unk_rate: float, promoted: bool) -> None:
    challenger = pair(1.5)
    for direction in challenger:
        challenger[direction]["books"] = documents(2.0, unk_rate=unk_rate)
    report = decide_promotion(challenger, pair(), target="news", config=CONFIG)
    assert report.promoted is promoted
    assert ("<unk> makes up 2.000% of the domain books, more than 1.000%" in report.reason) is not promoted


@pytest.mark.parametrize("count", [0, 9])
def test_a_target_domain_with_hardly_a_document_proves_nothing(count: int) -> None:
    challenger, champion = pair(1.5), pair()
    for scores in (challenger, champion):
        for domains in scores.values():
            del domains["news"]
            if count:
                domains["news"] = documents(1.5 if scores is challenger else 2.0, count=count)
    report = decide_promotion(challenger, champion, target="news", config=CONFIG)
    assert not report.promoted
    assert f"the domain news has {count} held-out documents, and 10 are needed" in report.reason


def test_one_long_document_is_compared_in_parts_and_the_report_says_so() -> None:
    challenger, champion = pair(1.5), pair()
    one = np.zeros(NUM_DOCUMENTS, dtype=np.uint64)  # the parts of a document have its key
    for scores in (challenger, champion):
        for domains in scores.values():
            domains["news"] = dataclasses.replace(domains["news"], keys=one)
    report = decide_promotion(challenger, champion, target="news", config=CONFIG)
    assert report.promoted
    assert (report.domains["news"].parts_of, report.domains["books"].parts_of) == (1, None)
    assert "| 50 parts of 1 |" in gate_markdown(report)
    assert GateReport.from_json(json.loads(json.dumps(report.to_json()))) == report


@pytest.mark.parametrize(
    ("probe", "promoted"), [((0.90, 0.85), True), ((0.845, 0.85), True), ((0.80, 0.85), False), (None, True)]
)
def test_a_downstream_probe_has_a_say_where_there_is_one(probe: tuple[float, float] | None, promoted: bool) -> None:
    scores = probe and ProbeScores(challenger=probe[0], champion=probe[1])
    report = decide_promotion(pair(1.9), pair(), target="news", config=CONFIG, probe=scores)
    assert report.promoted is promoted
    assert ("its probe score is 0.8000, the champion's 0.8500" in report.reason) is not promoted


@pytest.mark.parametrize(("interval", "promoted"), [((-0.02, 0.01), True), ((-0.02, -0.001), False)])
def test_a_probe_score_that_fell_within_the_tolerance_must_not_have_fallen_surely(
    interval: tuple[float, float], promoted: bool
) -> None:
    probe = ProbeScores(challenger=0.845, champion=0.85, interval=interval, sentences=100)
    report = decide_promotion(pair(1.9), pair(), target="news", config=CONFIG, probe=probe)
    assert report.promoted is promoted
    assert ("the champion's 0.8500 (difference -0.0200 to -0.0010)" in report.reason) is not promoted


@pytest.mark.parametrize(
    ("challenger", "champion", "message"),
    [
        (
            with_news(pair(), keys=np.arange(1, 51, dtype=np.uint64)),
            pair(),
            "backward model of the challenger on the domain news was scored on other",
        ),
        (
            pair(),
            with_news(pair(), keys=np.arange(1, 51, dtype=np.uint64)),
            "backward model of the champion on the domain news was scored on other",
        ),
        (pair(), with_news(pair(), bytes=np.full(50, 99)), "scored on other documents"),
        (with_news(pair(), bits=np.full(49, 1.0)), pair(), "fewer scores than documents"),
        (
            with_news(pair(), bits=np.full(50, math.nan)),
            pair(),
            "a score is not a number: the backward model of the challenger",
        ),
        (with_news(pair(), nats=np.full(50, math.nan)), None, "a score is not a number"),
        (
            pair(),
            {**pair(), "backward": {**pair()["backward"], "law": documents(2.0)}},
            "a score is missing: the backward model of the champion on the domain law",
        ),
        (
            pair(),
            {**pair(), "backward": {"books": documents(2.0)}},
            "a score is missing: the backward model of the champion on the domain news",
        ),
        (pair(), only(pair(), "forward"), "the champion needs scores of both directions, it has forward"),
        ({}, pair(), "the challenger has no scores"),
        ({"forward": {}, "backward": {}}, None, "no held-out documents"),
    ],
)
def test_scores_that_cannot_be_compared_are_an_error(challenger: Pair, champion: Pair | None, message: str) -> None:
    with pytest.raises(GateError, match=message):
        decide_promotion(challenger, champion, target="news", config=CONFIG)


def test_a_probe_that_is_no_number_is_an_error() -> None:
    probe = ProbeScores(challenger=math.nan, champion=0.5)
    with pytest.raises(GateError, match="a probe score is not a number: challenger nan"):
        decide_promotion(pair(1.9), pair(), target="news", config=CONFIG, probe=probe)


def test_the_interval_is_that_of_the_theory_and_the_same_every_time() -> None:
    # The mean of n numbers has the standard error s / sqrt(n); 95 % lie within 1.96 of them.
    saved = np.random.default_rng(3).normal(5.0, 20.0, size=2_000)
    low, high = paired_interval(saved, np.full(2_000, 10), GateConfig())
    error = saved.std() / math.sqrt(2_000) / 10
    assert low == pytest.approx(saved.mean() / 10 - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(saved.mean() / 10 + 1.96 * error, abs=0.1 * error)
    assert paired_interval(saved, np.full(2_000, 10), GateConfig()) == (low, high)
    narrow = paired_interval(saved, np.full(2_000, 10), GateConfig(confidence=0.5))
    assert low < narrow[0] < narrow[1] < high


def test_long_documents_weigh_more_than_short_ones() -> None:
    champion, challenger = pair(), pair()
    num_bytes = np.array([100] * 49 + [4_900])
    for scores, bits in ((champion, 2.0), (challenger, 1.9)):
        for domains in scores.values():
            domains["news"] = dataclasses.replace(domains["news"], bytes=num_bytes, bits=num_bytes * bits)
    for domains in challenger.values():  # worse on the long one by as much as it is better on the others
        domains["news"].bits[-1] = 4_900 * 2.1
    report = decide_promotion(challenger, champion, target="news", config=CONFIG)
    assert report.domains["news"].improvement == pytest.approx(0.0)


def test_a_report_survives_json() -> None:
    probe = ProbeScores(challenger=0.9, champion=0.8, interval=(0.05, 0.15), sentences=100)
    report = decide_promotion(pair(1.9), pair(), target="news", config=CONFIG, probe=probe)
    assert GateReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    first = decide_promotion(pair(1.9), None, target="news", config=CONFIG)
    assert GateReport.from_json(json.loads(json.dumps(first.to_json()))) == first


def test_a_report_of_a_diverged_model_is_strict_json() -> None:
    report = decide_promotion(pair(math.inf), pair(), target="news", config=CONFIG)
    assert not report.promoted
    strict = json.dumps(report.to_json(), allow_nan=False)
    assert json.loads(strict)["perplexities"] == {"forward": None, "backward": None}
    assert GateReport.from_json(json.loads(strict)) == report


@pytest.mark.parametrize(
    "setting",
    [
        {"margin": -0.1},
        {"tolerance": math.nan},
        {"confidence": 1.0},
        {"max_direction_ratio": 0.9},
        {"max_unk_rate": 1.5},
        {"min_documents": 0},
        {"bootstrap_rounds": 10},
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(setting: Mapping[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(setting))} must be"):
        GateConfig(**setting)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("challenger", "required", "promoted"),
    [
        (pair(1.0, 2.9), True, True),  # the mean over all domains counts, here 1.95
        (pair(1.1, 2.9), True, False),  # as good is not better
        (pair(3.0, 3.0), True, False),
        (pair(3.0, 3.0), False, True),
    ],
)
def test_a_model_must_beat_the_n_gram_model_where_that_is_required(
    challenger: Pair, required: bool, promoted: bool
) -> None:
    baseline = BaselineScore(order=5, bits_per_byte=2.0, required=required)
    report = decide_promotion(challenger, None, target="news", config=CONFIG, baseline=baseline)
    assert report.promoted is promoted
    if not promoted:
        assert "bits per byte are not below the 2.0000 of an n-gram model of order 5" in report.reason
    assert GateReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_reports_from_before_there_was_a_baseline_are_still_read() -> None:
    report = decide_promotion(pair(), None, target="news", config=CONFIG)
    stored = report.to_json()
    del stored["baseline"]
    assert GateReport.from_json(stored) == report
