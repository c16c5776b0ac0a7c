"""Whether a trained pair replaces the champion: a pure decision, with its reason and numbers.

Challenger and champion are scored on the same held-out documents. The difference of their bits per byte is given an
interval by a paired bootstrap over documents (Koehn, Statistical Significance Tests for Machine Translation Evaluation,
2004): each document is drawn together with the bits of both models, so that easy and hard text cancels out.
"""

# D = documents of one domain

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from charlm.artifacts import DIRECTIONS
from charlm.config import GateConfig, UnitName
from charlm.errors import GateError
from charlm.evaluation.bootstrap import interval_of, resampled_ratios
from charlm.evaluation.gate_report import (
    BaselineScore,
    DirectionComparison,
    DomainComparison,
    GateReport,
    ProbeScores,
)
from charlm.evaluation.scores import DocumentScores, PairScores
from charlm.text.corpus.held_out import PART_BYTES
from charlm.units.unit import find_unit

__all__ = ["BaselineScore", "DomainComparison", "GateReport", "ProbeScores", "decide_promotion", "paired_interval"]


def decide_promotion(
    challenger: PairScores,
    champion: PairScores | None,
    *,
    target: str,
    config: GateConfig,
    probe: ProbeScores | None = None,
    baseline: BaselineScore | None = None,
    unit: UnitName = "char",
    directions: Sequence[str] = DIRECTIONS,
    keeps_text: bool = True,
) -> GateReport:
    """Whether `challenger` becomes champion.

    It must be healthy: all of `directions`, finite perplexities close to each other, and little `<unk>`; and better
    than the baseline over all domains together, where that is required. With a champion, it must also be significantly
    better on the domain `target`, by at least the margin, and on no other domain worse by more than the tolerance.

    Args:
        target: the domain that has to improve.
        unit: what the models predict, which decides how much `<unk>` is too much.
        directions: those that a champion needs.
        keeps_text: false where text cannot be rebuilt from what the challenger predicts: then it has no bits of it.

    Raises:
        GateError: a score is missing or not a number, or was taken on other documents.
    """
    if not keeps_text:
        return _refused_for_lost_text(challenger, target, config)
    _check_scores(challenger, champion, probe, directions)
    is_whole = challenger.keys() >= set(directions)
    if champion is not None and is_whole:
        both = [direction for direction in challenger if direction in champion]
        comparable = {direction: challenger[direction] for direction in both}
        domains = _compare_domains(comparable, {direction: champion[direction] for direction in both}, config)
    else:
        domains = _compare_domains(challenger, None, config)
    perplexities = {
        direction: _perplexity(challenger[direction]) for direction in DIRECTIONS if direction in challenger
    }
    if config.max_unk_rate is None:
        config = dataclasses.replace(config, max_unk_rate=find_unit(unit).unk_limits.promoted)
    faults = _faults_of_health(challenger, domains, perplexities, config, directions)
    if baseline is not None and (fault := baseline.fault(_bits_per_byte(challenger))) is not None:
        faults.append(fault)
    if champion is not None and is_whole:
        faults += _faults_of_target(domains.get(target), target, config)
        faults += _faults_of_other_domains(domains, target, config)
        if probe is not None and (fault := probe.fault(config.probe_tolerance)) is not None:
            faults.append(fault)
    if faults:
        reason = f"refused: {'; '.join(faults)}"
    elif champion is None:
        healthy = "both directions are" if len(challenger) > 1 else f"its {next(iter(challenger))} model is"
        reason = f"promoted: the first version, and {healthy} healthy"
    else:
        reason = f"promoted: {_shown(domains[target], target, config)}, and no other domain lost more than allowed"
    return GateReport(
        decision="refused" if faults else "promoted",
        reason=reason,
        target=target,
        domains=domains,
        perplexities=perplexities,
        directions=_compare_directions(challenger, champion, config),
        probe=probe,
        baseline=baseline,
        config=config,
    )


def _refused_for_lost_text(challenger: PairScores, target: str, config: GateConfig) -> GateReport:
    return GateReport(
        decision="refused",
        reason="refused: its tokenizer loses text, so it has no bits per byte, by which models are compared",
        target=target,
        perplexities={direction: _perplexity(domains) for direction, domains in challenger.items()},
        config=config,
    )


def paired_interval(saved_bits: np.ndarray, num_bytes: np.ndarray, config: GateConfig) -> tuple[float, float]:
    """The interval of sum(saved_bits) / sum(num_bytes) over documents, at the level of `config`.

    Args:
        saved_bits: bits that the challenger saves on each document, (D,).
        num_bytes: its length, (D,).
    """
    generator = np.random.default_rng(config.seed)
    values = resampled_ratios(saved_bits, num_bytes, rounds=config.bootstrap_rounds, generator=generator)
    return interval_of(values, config.confidence)


# ---- the scores ----------------------------------------------------------------------------------------------------


def _check_scores(
    challenger: PairScores, champion: PairScores | None, probe: ProbeScores | None, directions: Sequence[str]
) -> None:
    """Raise GateError unless all scores are numbers and were taken on the same documents."""
    if not challenger:
        raise GateError("the challenger has no scores; score it on the held-out text first")
    if champion is not None and not champion.keys() >= set(directions):
        needed = "both directions" if len(directions) > 1 else f"the {directions[0]} direction"
        raise GateError(f"the champion needs scores of {needed}, it has {', '.join(champion) or 'none'}")
    if probe is not None and not (math.isfinite(probe.challenger) and math.isfinite(probe.champion)):
        raise GateError(f"a probe score is not a number: challenger {probe.challenger}, champion {probe.champion}")
    reference = next(iter(challenger.values()))
    if not reference:
        raise GateError("there are no held-out documents to compare models on")
    for name, pair in (("challenger", challenger), ("champion", champion or {})):
        for direction, domains in pair.items():
            for domain in sorted(domains.keys() | reference.keys()):
                where = f"the {direction} model of the {name} on the domain {domain}"
                if domain not in domains or domain not in reference:
                    raise GateError(f"a score is missing: {where} and the others were not scored on the same domains")
                _check_documents(domains[domain], reference[domain], where)


def _check_documents(scores: DocumentScores, reference: DocumentScores, where: str) -> None:
    if not (np.array_equal(scores.keys, reference.keys) and np.array_equal(scores.bytes, reference.bytes)):
        raise GateError(f"{where} was scored on other documents; score all models on the same held-out text")
    if len(scores.keys) == 0 or not scores.bytes.sum() > 0:
        raise GateError(f"{where} was scored on no text")
    if any(len(values) != len(scores.keys) for values in (scores.nats, scores.bits, scores.units, scores.unknown)):
        raise GateError(f"a score is missing: {where} has fewer scores than documents")
    if np.isnan(scores.bits).any() or np.isnan(scores.nats).any():
        raise GateError(f"a score is not a number: {where}; the model is damaged or its training diverged")


def _compare_domains(
    challenger: PairScores, champion: PairScores | None, config: GateConfig
) -> dict[str, DomainComparison]:
    compared = {}
    for domain, first in next(iter(challenger.values())).items():
        scores = [domains[domain] for domains in challenger.values()]
        bits = _mean_bits(challenger, domain)
        num_documents = len(np.unique(first.keys))
        has_parts = num_documents < min(config.min_documents, len(first.keys))
        comparison = DomainComparison(
            documents=len(first.keys),
            parts_of=num_documents if has_parts else None,
            bits_per_byte=float(bits.sum() / first.bytes.sum()),
            unk_rate=max(score.unk_rate for score in scores),
        )
        if champion is not None:
            champion_bits = _mean_bits(champion, domain)
            if np.isfinite(bits).all() and np.isfinite(champion_bits).all():
                saved = champion_bits - bits
                comparison = dataclasses.replace(
                    comparison,
                    champion_bits_per_byte=float(champion_bits.sum() / first.bytes.sum()),
                    improvement=float(saved.sum() / first.bytes.sum()),
                    interval=paired_interval(saved, first.bytes, config),
                )
        compared[domain] = comparison
    return compared


def _compare_directions(
    challenger: PairScores, champion: PairScores | None, config: GateConfig
) -> dict[str, DirectionComparison]:
    compared = {}
    for direction in (name for name in DIRECTIONS if name in challenger):
        scores = DocumentScores.join(list(challenger[direction].values()))
        comparison = DirectionComparison(bits_per_byte=scores.bits_per_byte)
        if champion is not None and direction in champion:
            old = DocumentScores.join([champion[direction][domain] for domain in challenger[direction]])
            if np.isfinite(scores.bits).all() and np.isfinite(old.bits).all():
                saved = old.bits - scores.bits
                comparison = DirectionComparison(
                    bits_per_byte=scores.bits_per_byte,
                    champion_bits_per_byte=old.bits_per_byte,
                    improvement=float(saved.sum() / scores.bytes.sum()),
                    interval=paired_interval(saved, scores.bytes, config),
                )
        compared[direction] = comparison
    return compared


def _mean_bits(pair: PairScores, domain: str) -> np.ndarray:
    """Bits of each document, mean of the directions, (D,)."""
    return np.mean([domains[domain].bits for domains in pair.values()], axis=0)  # type: ignore[no-any-return]


def _bits_per_byte(pair: PairScores) -> float:
    """Mean of the directions over all domains together."""
    first = next(iter(pair.values()))
    bits = sum(float(_mean_bits(pair, domain).sum()) for domain in first)
    return bits / sum(int(scores.bytes.sum()) for scores in first.values())


def _perplexity(domains: Mapping[str, DocumentScores]) -> float:
    nats = sum(float(scores.nats.sum()) for scores in domains.values())
    units = sum(int(scores.units.sum()) for scores in domains.values())
    loss = nats / units
    return math.exp(loss) if loss < 700 else math.inf  # exp overflows a float above 709


# ---- reasons to refuse a challenger --------------------------------------------------------------------------------


def _faults_of_health(
    challenger: PairScores,
    domains: Mapping[str, DomainComparison],
    perplexities: Mapping[str, float],
    config: GateConfig,
    directions: Sequence[str],
) -> list[str]:
    needed = "both directions" if len(directions) > 1 else "it"
    faults = [
        f"it has no {direction} model, and a champion needs {needed}"
        for direction in directions
        if direction not in challenger
    ]
    infinite = [direction for direction, value in perplexities.items() if not math.isfinite(value)]
    if infinite:
        faults.append(f"the perplexity of its {' and '.join(infinite)} model is not finite")
    elif len(perplexities) > 1:
        (better, low), (worse, high) = sorted(perplexities.items(), key=lambda item: item[1])
        if high > config.max_direction_ratio * low:
            faults.append(
                f"its {worse} model has perplexity {high:.3f}, more than {config.max_direction_ratio:g} times the"
                f" {low:.3f} of its {better} model"
            )
    domain, comparison = max(domains.items(), key=lambda item: item[1].unk_rate)
    if config.max_unk_rate is not None and comparison.unk_rate > config.max_unk_rate:
        faults.append(
            f"<unk> makes up {comparison.unk_rate:.3%} of the domain {domain}, more than {config.max_unk_rate:.3%}"
        )
    return faults


def _faults_of_target(comparison: DomainComparison | None, target: str, config: GateConfig) -> list[str]:
    num_documents = comparison.documents if comparison else 0
    if comparison is None or num_documents < config.min_documents:
        return [
            f"the domain {target} has {num_documents} held-out documents, and {config.min_documents} are needed,"
            f" or parts of {PART_BYTES:,} bytes of them (add text of that domain: the corpus holds a share of its"
            " documents out, or takes a longer --test-text)"
        ]
    if comparison.improvement is None or comparison.interval is None:
        return [f"the scores on the domain {target} are not finite"]
    if comparison.improvement < config.margin:
        return [f"{_shown(comparison, target, config)}, and {config.margin:g} better is needed"]
    if comparison.interval[0] <= 0:
        return [f"{_shown(comparison, target, config)}, which may be chance"]
    return []


def _faults_of_other_domains(domains: Mapping[str, DomainComparison], target: str, config: GateConfig) -> list[str]:
    return [
        f"{_shown(comparison, domain, config)}, and {config.tolerance:g} worse is allowed"
        for domain, comparison in domains.items()
        if domain != target and (comparison.improvement is None or comparison.improvement < -config.tolerance)
    ]


def _shown(comparison: DomainComparison, domain: str, config: GateConfig) -> str:
    """`"1.8012 bits per byte on news, 0.0213 better than the champion (95 % interval 0.0150 to 0.0281)"`."""
    start = f"{comparison.bits_per_byte:.4f} bits per byte on {domain}"
    if comparison.improvement is None or comparison.interval is None:
        return f"{start}, which cannot be compared"
    low, high = comparison.interval
    change = "better" if comparison.improvement >= 0 else "worse"
    return (
        f"{start}, {abs(comparison.improvement):.4f} {change} than the champion"
        f" ({config.confidence:.0%} interval of the improvement {low:.4f} to {high:.4f})"
    )
