"""Whether new text asks for a new model: a pure decision, with its reason and numbers.

The champion is scored on the held-out documents of text that came after it, and on those of the text it was made for,
its reference. How much more new text costs it, and how much of it the dictionary lacks, says what to do.
"""

# D = documents

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from charlm.bootstrap import interval_of, resampled_ratios
from charlm.config import DriftConfig
from charlm.errors import GateError
from charlm.promotion import DocumentScores

Action = Literal["nothing", "finetune", "finetune-extended", "train-anew"]
"""`finetune-extended` gives new characters an id and continues the champion; `train-anew` leaves its weights."""


@dataclass(frozen=True, kw_only=True)
class TextScore:
    """What a text costs the champion."""

    documents: int
    bits_per_byte: float
    """Mean of the directions."""

    unk_rate: float


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """What to do about new text, one sentence why, and the numbers it rests on, where there are any."""

    action: Action
    reason: str
    new: TextScore | None = None
    reference: TextScore | None = None
    change: float | None = None
    """What new text costs more than the reference, in bits per byte."""

    interval: tuple[float, float] | None = None
    """Bootstrap interval of the change, over the documents of both."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def measure_drift(
    new: Mapping[str, DocumentScores], reference: Mapping[str, DocumentScores], config: DriftConfig
) -> DriftReport:
    """What the champion's scores on new and on reference documents, by direction, ask for.

    Raises GateError when there are no reference documents, or a score is not a finite number.
    """
    new_bits, new_bytes = _mean_bits(new, "new text")
    reference_bits, reference_bytes = _mean_bits(reference, "the reference")
    if len(reference_bits) == 0:
        raise GateError("the champion has no held-out documents of its own text to compare new text with")
    if len(new_bits) < config.min_documents:
        action, reason = decide_action(len(new_bits), 0.0, (0.0, 0.0), 0.0, config)
        return DriftReport(action=action, reason=reason, reference=_score(reference, reference_bits, reference_bytes))
    generator = np.random.default_rng(config.seed)
    changes = resampled_ratios(new_bits, new_bytes, rounds=config.bootstrap_rounds, generator=generator)
    changes -= resampled_ratios(reference_bits, reference_bytes, rounds=config.bootstrap_rounds, generator=generator)
    interval = interval_of(changes, config.confidence)
    new_score = _score(new, new_bits, new_bytes)
    reference_score = _score(reference, reference_bits, reference_bytes)
    change = new_score.bits_per_byte - reference_score.bits_per_byte
    action, reason = decide_action(len(new_bits), change, interval, new_score.unk_rate, config)
    return DriftReport(
        action=action, reason=reason, new=new_score, reference=reference_score, change=change, interval=interval
    )


def decide_action(
    num_documents: int, change: float, interval: tuple[float, float], unk_rate: float, config: DriftConfig
) -> tuple[Action, str]:
    """What to do, and why: the first row that fits.

    | new text | action |
    | --- | --- |
    | has fewer held-out documents than an interval needs | nothing |
    | is mostly foreign: too many characters without an id, or far too expensive | train anew |
    | has characters without an id | fine-tune with an extended dictionary |
    | costs more than the reference, beyond the tolerance and beyond chance | fine-tune |
    | is like the reference | nothing |
    """
    if num_documents < config.min_documents:
        return "nothing", (
            f"new text has {num_documents} held-out documents, and {config.min_documents} are needed to judge it"
        )
    cost = f"{change:+.4f} bits per byte ({config.confidence:.0%} interval {interval[0]:+.4f} to {interval[1]:+.4f})"
    if unk_rate > config.foreign_unk_rate:
        return "train-anew", f"<unk> makes up {unk_rate:.3%} of new text, more than {config.foreign_unk_rate:.3%}"
    if interval[0] > config.foreign_bits:
        return "train-anew", f"new text costs {cost} against the reference, more than {config.foreign_bits:g}"
    if unk_rate > config.max_unk_rate:
        return "finetune-extended", f"<unk> makes up {unk_rate:.3%} of new text, more than {config.max_unk_rate:.3%}"
    if change > config.tolerance and interval[0] > 0:
        return "finetune", f"new text costs {cost} against the reference, more than {config.tolerance:g}"
    return (
        "nothing",
        f"new text costs {cost} against the reference, which is no more than {config.tolerance:g} or chance",
    )


def _mean_bits(scores: Mapping[str, DocumentScores], what: str) -> tuple[np.ndarray, np.ndarray]:
    """Bits of each document, mean of the directions, and its bytes; (D,) each."""
    if not scores:
        raise GateError(f"a score is missing: the champion was not scored on {what}")
    first, *others = scores.values()
    if any(not np.array_equal(first.keys, other.keys) for other in others):
        raise GateError(f"the directions of the champion were scored on different documents of {what}")
    bits = np.mean([score.bits for score in scores.values()], axis=0)
    if not np.isfinite(bits).all():
        raise GateError(f"a score of the champion on {what} is not a finite number; the model is damaged")
    return bits, first.bytes


def _score(scores: Mapping[str, DocumentScores], bits: np.ndarray, num_bytes: np.ndarray) -> TextScore:
    return TextScore(
        documents=len(bits),
        bits_per_byte=float(bits.sum() / num_bytes.sum()),
        unk_rate=max(score.unk_rate for score in scores.values()),
    )
