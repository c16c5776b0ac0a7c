"""What new text asks for: the decision table, and the numbers that it is read with."""

import dataclasses
import math

import numpy as np
import pytest

from charlm.config import DriftConfig
from charlm.errors import ConfigError, GateError
from charlm.evaluation.drift import decide_action, measure_drift
from charlm.evaluation.scores import DocumentScores

CONFIG = DriftConfig(bootstrap_rounds=400)


def documents(bits_per_byte: float, *, count: int = 40, spread: float = 0.0, unknown: int = 0) -> DocumentScores:
    """Documents of 1,000 ASCII characters; every second one costs `spread` bits per byte more, the others less."""
    bits = (bits_per_byte + spread * (-1.0) ** np.arange(count)) * 1_000
    return DocumentScores(
        keys=np.arange(count, dtype=np.uint64),
        nats=bits * math.log(2),
        bits=bits,
        bytes=np.full(count, 1_000),
        units=np.full(count, 1_000),
        unknown=np.full(count, unknown),
    )


def both(scores: DocumentScores) -> dict[str, DocumentScores]:
    return {"forward": scores, "backward": scores}


def new_text(**domains: DocumentScores) -> dict[str, dict[str, DocumentScores]]:
    return {"forward": domains, "backward": domains}


@pytest.mark.parametrize(
    ("num_documents", "change", "interval", "unk_rate", "growth", "action", "reason"),
    [
        (9, 3.0, (2.5, 3.5), 0.5, 9.0, "nothing", "new text has 9 held-out documents, and 10 are needed"),
        (10, 0.0, (-0.1, 0.1), 0.26, 1.1, "train-anew", "<unk> makes up 26.000% of new text, more than 25.000%"),
        (10, 2.4, (2.1, 2.7), 0.0, 1.1, "train-anew", "more than 2"),
        (10, 2.4, (1.9, 2.9), 0.0, 1.1, "finetune", "costs +2.4000 bits per byte (95% interval +1.9000 to +2.9000)"),
        (10, 0.0, (-0.1, 0.1), 0.002, 1.1, "finetune-extended", "<unk> makes up 0.200% of new text, more than 0.100%"),
        (10, 0.5, (0.4, 0.6), 0.002, 1.1, "finetune-extended", "<unk>"),
        (10, 0.5, (0.4, 0.6), 0.001, 1.1, "finetune", "more than 0.02"),
        (10, 0.5, (0.4, 0.6), 0.001, 9.0, "finetune", "more than 0.02"),
        (10, 0.0, (-0.1, 0.1), 0.0, 2.0, "finetune", "there is 2.0 times the train text of the champion, at least 2"),
        (10, 0.0, (-0.1, 0.1), 0.0, 1.9, "nothing", "which is no more than 0.02"),
        (10, 0.03, (-0.01, 0.07), 0.0, 1.1, "nothing", "which may be chance"),
        (10, 0.01, (0.005, 0.015), 0.0, 1.1, "nothing", "which is no more than 0.02"),  # certain, but small
        (10, -0.4, (-0.5, -0.3), 0.0, 1.1, "nothing", "-0.4000"),  # easier text
    ],
)
def test_the_first_row_that_fits_says_what_to_do(
    num_documents: int,
    change: float,
    interval: tuple[float, float],
    unk_rate: float,
    growth: float,
    action: str,
    reason: str,
) -> None:
    decided, why = decide_action(num_documents, change, interval, unk_rate, growth, CONFIG)
    assert decided == action
    assert reason in why


def test_a_report_holds_what_new_text_costs_more_and_how_sure_that_is() -> None:
    new = {
        "forward": {"law": documents(2.5, spread=0.3)},
        "backward": {"law": documents(2.7, spread=0.3)},
    }
    report = measure_drift(new, both(documents(2.0, spread=0.1)), CONFIG, growth=1.5)
    assert (report.action, report.domain, report.growth) == ("finetune", "law", 1.5)
    assert report.reason.startswith("law: new text costs +0.6000 bits per byte")
    law = report.domains["law"]
    assert law.score is not None
    assert (law.documents, law.score.bits_per_byte) == (40, pytest.approx(2.6))
    assert law.change == pytest.approx(0.6)
    # Independent means: variances add. 0.3 and 0.1 are the standard deviations of the documents.
    error = math.sqrt(0.3**2 / 40 + 0.1**2 / 40)
    assert law.interval == pytest.approx((0.6 - 1.96 * error, 0.6 + 1.96 * error), abs=0.3 * error)
    assert measure_drift(new, both(documents(2.0, spread=0.1)), CONFIG, growth=1.5) == report


def test_characters_without_an_id_ask_for_a_larger_dictionary() -> None:
    report = measure_drift(new_text(law=documents(2.0, unknown=5)), both(documents(2.0)), CONFIG, growth=1.1)
    assert report.action == "finetune-extended"
    assert report.domains["law"].score is not None
    assert report.domains["law"].score.unk_rate == 0.005


def test_a_little_text_of_a_new_kind_is_not_lost_in_much_of_a_known_one() -> None:
    new = new_text(news=documents(2.0, count=4_000), law=documents(2.5, count=20), poems=documents(3.0, count=5))
    report = measure_drift(new, both(documents(2.0)), CONFIG, growth=1.1)
    assert {domain: found.action for domain, found in report.domains.items()} == {
        "news": "nothing",
        "law": "finetune",
        "poems": "nothing",
    }
    assert (report.action, report.domain) == ("finetune", "law")


def test_no_held_out_document_of_new_text_is_no_reason_to_train() -> None:
    report = measure_drift({"forward": {}, "backward": {}}, both(documents(2.0)), CONFIG, growth=1.1)
    assert (report.action, report.domain, report.domains) == ("nothing", None, {})
    assert report.reason == "new text has no held-out documents to judge it by"


@pytest.mark.parametrize(
    ("new", "reference", "message"),
    [
        ({"forward": {"law": documents(2.0)}, "backward": {}}, both(documents(2.0)), "not scored on the domain law"),
        (new_text(law=documents(2.0)), {}, "was not scored on the reference"),
        (new_text(law=documents(2.0)), both(documents(2.0, count=0)), "no held-out documents of its own text"),
        (new_text(law=documents(math.nan)), both(documents(2.0)), "on new text of law is not a finite number"),
        (new_text(law=documents(2.0)), both(documents(math.inf)), "on the reference is not a finite number"),
        (
            {"forward": {"law": documents(2.0)}, "backward": {"law": documents(2.0, count=39)}},
            both(documents(2.0)),
            "different documents",
        ),
    ],
)
def test_scores_that_say_nothing_are_an_error(
    new: dict[str, dict[str, DocumentScores]], reference: dict[str, DocumentScores], message: str
) -> None:
    with pytest.raises(GateError, match=message):
        measure_drift(new, reference, CONFIG, growth=1.1)


@pytest.mark.parametrize(
    "setting",
    [{"tolerance": 3.0}, {"max_unk_rate": 0.5, "foreign_unk_rate": 0.4}, {"growth": 1.0}, {"confidence": 0.0}],
)
def test_a_setting_that_makes_no_sense_is_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(setting))} must be"):
        dataclasses.replace(CONFIG, **setting)  # type: ignore[arg-type]
