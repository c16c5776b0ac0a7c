"""The gate and the drift of word models: limits by unit, one direction, and text that is lost."""

import dataclasses

import numpy as np
import pytest

from charlm.config import DriftConfig, GateConfig
from charlm.errors import GateError
from charlm.evaluation.drift import measure_drift
from charlm.evaluation.promotion import decide_promotion
from charlm.evaluation.scores import DocumentScores
from tests.charlm.evaluation.test_promotion import CONFIG, documents, only, pair

UNK_RATES = {"forward": {"books": documents(2.0, unk_rate=0.06), "news": documents(2.0, unk_rate=0.06)}}


def test_how_much_unk_is_too_much_depends_on_the_unit_unless_it_is_set() -> None:
    def decide(config: GateConfig, unit: str) -> bool:
        return decide_promotion(
            UNK_RATES,
            None,
            target="news",
            config=config,
            unit=unit,
            directions=("forward",),  # type: ignore[arg-type]
        ).promoted

    assert decide(CONFIG, "word")
    assert not decide(CONFIG, "char")
    assert not decide(dataclasses.replace(CONFIG, max_unk_rate=0.05), "word")


def test_one_direction_becomes_champion_where_the_corpus_needs_one() -> None:
    report = decide_promotion(only(pair(), "forward"), None, target="news", config=CONFIG, directions=("forward",))
    assert report.reason == "promoted: the first version, and its forward model is healthy"
    report = decide_promotion(only(pair(), "backward"), None, target="news", config=CONFIG, directions=("forward",))
    assert "it has no forward model, and a champion needs it" in report.reason
    better = decide_promotion(
        only(pair(1.9), "forward"), only(pair(), "forward"), target="news", config=CONFIG, directions=("forward",)
    )
    assert better.promoted


def test_a_pair_and_a_single_direction_are_compared_by_what_both_have() -> None:
    challenger = pair(1.9, backward=0.3)
    report = decide_promotion(
        challenger, only(pair(), "forward"), target="news", config=CONFIG, directions=("forward",)
    )
    assert "1.9000 bits per byte on news, 0.1000 better than the champion" in report.reason
    with pytest.raises(GateError, match="the champion needs scores of the forward direction, it has backward"):
        decide_promotion(challenger, only(pair(), "backward"), target="news", config=CONFIG, directions=("forward",))


def test_a_model_that_loses_text_is_refused_in_one_sentence() -> None:
    lost = dataclasses.replace(documents(2.0), bits=np.full(50, np.nan))
    report = decide_promotion({"forward": {"news": lost}}, None, target="news", config=CONFIG, keeps_text=False)
    assert (
        report.reason == "refused: its tokenizer loses text, so it has no bits per byte, by which models are compared"
    )
    assert report.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    ("unk_rate", "action"), [(0.05, "nothing"), (0.06, "nothing"), (0.08, "finetune-extended"), (0.3, "train-anew")]
)
def test_new_text_drifts_by_its_rate_of_new_words(unk_rate: float, action: str) -> None:
    reference = {"forward": documents(2.0, unk_rate=0.05)}
    new: dict[str, dict[str, DocumentScores]] = {"forward": {"news": documents(2.0, unk_rate=unk_rate)}}
    report = measure_drift(new, reference, DriftConfig(bootstrap_rounds=200), growth=1.0, unit="word")
    assert report.action == action
    if unk_rate > 0.001:
        assert measure_drift(new, reference, DriftConfig(bootstrap_rounds=200), growth=1.0).action != "nothing"
