"""Whether new text needs a new model: a pure decision, with its reason and numbers.

The champion is scored on the held-out documents of the text that has arrived since its training, and on those of its
own text, the reference. The decision rests on the extra bits per byte of the new text, and on its share of `<unk>`; of
words, of which no dictionary has all, on the rate of new words: the share beyond that of the reference.
"""

# D = documents

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from charlm.config import DriftConfig, UnitName
from charlm.errors import GateError
from charlm.evaluation.bootstrap import interval_of, resampled_ratios
from charlm.evaluation.scores import DocumentScores, PairScores
from charlm.units.unit import find_unit
from charlm.units.unk_limits import ALL_KNOWN, UnkLimits

Action = Literal["nothing", "finetune", "finetune-extended", "train-anew"]
"""`finetune-extended` gives new characters an id and continues the champion; `train-anew` leaves its weights."""
_RANK: dict[Action, int] = {"nothing": 0, "finetune": 1, "finetune-extended": 2, "train-anew": 3}


@dataclass(frozen=True, kw_only=True)
class TextScore:
    """The champion's score on a text."""

    documents: int
    bits_per_byte: float
    """Mean of the directions."""

    unk_rate: float


@dataclass(frozen=True, kw_only=True)
class DomainDrift:
    """The action that the new text of one domain needs, and the numbers behind it where there are any."""

    action: Action
    reason: str
    documents: int
    score: TextScore | None = None
    change: float | None = None
    """Extra bits per byte against the reference."""

    interval: tuple[float, float] | None = None
    """Bootstrap interval of the change, over the documents of both."""


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """What to do about new text, one sentence why, and the numbers behind it where there are any."""

    action: Action
    reason: str
    domain: str | None = None
    """The domain that needs the action; none when nothing is to be done, or all text is new."""

    domains: dict[str, DomainDrift] = dataclasses.field(default_factory=dict)
    """The new text by domain."""

    reference: TextScore | None = None
    growth: float | None = None
    """Train text that there is now, as a multiple of the text that the champion was trained on."""

    def to_json(self) -> dict[str, object]:
        return dataclasses.asdict(self)


def measure_drift(
    new: PairScores,
    reference: Mapping[str, DocumentScores],
    config: DriftConfig,
    *,
    growth: float,
    unit: UnitName = "char",
) -> DriftReport:
    """What to do, given the champion's scores on new documents by domain and on reference documents.

    Each domain is compared by itself, so that a little text of a new kind is not lost in much text of a known one; the
    domain that needs the strongest action decides. Raises GateError when there are no reference documents, or a score
    is not a finite number.
    """
    reference_bits, reference_bytes = _mean_bits(reference, "the reference")
    if len(reference_bits) == 0:
        raise GateError("the champion has no held-out documents of its own text to compare new text with")
    reference_score = _score(reference, reference_bits, reference_bytes)
    limits = _limits(config, find_unit(unit).unk_limits, reference_score.unk_rate)
    names = dict.fromkeys(domain for domains in new.values() for domain in domains)
    if not names:
        return DriftReport(action="nothing", reason="new text has no held-out documents to judge it by", growth=growth)
    domains = {}
    for domain in names:
        if any(domain not in scores for scores in new.values()):
            raise GateError(f"a score is missing: a direction of the champion was not scored on the domain {domain}")
        scores = {direction: by_domain[domain] for direction, by_domain in new.items()}
        domains[domain] = _judge(scores, domain, reference_bits, reference_bytes, config, limits, growth)
    decisive = max(domains, key=lambda domain: (_RANK[domains[domain].action], domains[domain].change or 0.0))
    action = domains[decisive].action
    return DriftReport(
        action=action,
        reason=f"{decisive}: {domains[decisive].reason}",
        domain=None if action == "nothing" else decisive,
        domains=domains,
        reference=reference_score,
        growth=growth,
    )


def _limits(config: DriftConfig, limits: UnkLimits, reference: float) -> tuple[float, float]:
    """Shares of `<unk>` in new text from which items get an id, and from which the text is of another kind."""
    usual = reference if limits.exceeds_reference else 0.0
    extended = limits.extended if config.max_unk_rate is None else config.max_unk_rate
    foreign = limits.foreign if config.foreign_unk_rate is None else config.foreign_unk_rate
    return extended + usual, max(extended, foreign) + usual


def _judge(
    scores: Mapping[str, DocumentScores],
    domain: str,
    reference_bits: np.ndarray,
    reference_bytes: np.ndarray,
    config: DriftConfig,
    limits: tuple[float, float],
    growth: float,
) -> DomainDrift:
    """The action that the new text of one domain needs."""
    bits, num_bytes = _mean_bits(scores, f"new text of {domain}")
    if len(bits) < config.min_documents:
        action, reason = decide_action(len(bits), 0.0, (0.0, 0.0), 0.0, growth, config, limits)
        return DomainDrift(action=action, reason=reason, documents=len(bits))
    generator = np.random.default_rng(config.seed)
    changes = resampled_ratios(bits, num_bytes, rounds=config.bootstrap_rounds, generator=generator)
    changes -= resampled_ratios(reference_bits, reference_bytes, rounds=config.bootstrap_rounds, generator=generator)
    interval = interval_of(changes, config.confidence)
    score = _score(scores, bits, num_bytes)
    change = score.bits_per_byte - float(reference_bits.sum() / reference_bytes.sum())
    action, reason = decide_action(len(bits), change, interval, score.unk_rate, growth, config, limits)
    return DomainDrift(action=action, reason=reason, documents=len(bits), score=score, change=change, interval=interval)


def decide_action(
    num_documents: int,
    change: float,
    interval: tuple[float, float],
    unk_rate: float,
    growth: float,
    config: DriftConfig,
    limits: tuple[float, float] | None = None,
) -> tuple[Action, str]:
    """What to do, and why: the first row that fits. `limits` are those of `<unk>`, by default of characters.

    | new text | action |
    | --- | --- |
    | has fewer held-out documents than an interval needs | nothing |
    | is of another kind: too much `<unk>`, or far too many extra bits per byte | train anew |
    | has more `<unk>` than is allowed | fine-tune with an extended dictionary |
    | has significantly more bits per byte than the reference, by more than the tolerance | fine-tune |
    | is like the reference, but the corpus has grown enough for a better model | fine-tune |
    | is like the reference | nothing |
    """
    if num_documents < config.min_documents:
        return "nothing", (
            f"new text has {num_documents} held-out documents, and {config.min_documents} are needed to judge it"
        )
    extended, foreign = limits or _limits(config, ALL_KNOWN, 0.0)
    cost = f"{change:+.4f} bits per byte ({config.confidence:.0%} interval {interval[0]:+.4f} to {interval[1]:+.4f})"
    if unk_rate > foreign:
        return "train-anew", f"<unk> makes up {unk_rate:.3%} of new text, more than {foreign:.3%}"
    if interval[0] > config.foreign_bits:
        return "train-anew", f"new text costs {cost} against the reference, more than {config.foreign_bits:g}"
    if unk_rate > extended:
        return "finetune-extended", f"<unk> makes up {unk_rate:.3%} of new text, more than {extended:.3%}"
    if change > config.tolerance and interval[0] > 0:
        return "finetune", f"new text costs {cost} against the reference, more than {config.tolerance:g}"
    if growth >= config.growth:
        return "finetune", f"there is {growth:.1f} times the train text of the champion, at least {config.growth:g}"
    reason = "may be chance" if change > config.tolerance else f"is no more than {config.tolerance:g}"
    return "nothing", f"new text costs {cost} against the reference, which {reason}"


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
