"""Whether a trained pair takes the place of the one that people use: a pure decision with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass

from charlm.artifacts import DIRECTIONS


@dataclass(frozen=True)
class Decision:
    """The answer of the gate, and one sentence why."""

    promoted: bool
    reason: str


def decide_promotion(challenger: Mapping[str, float], champion: Mapping[str, float] | None) -> Decision:
    """Whether `challenger` becomes champion; both are test bits_per_byte by direction.

    A challenger needs both directions, and a lower mean than the champion, if there is one.
    """
    missing = [direction for direction in DIRECTIONS if direction not in challenger]
    if missing:
        return Decision(False, f"refused: it has no {missing[0]} model, and a champion needs both directions")
    score = _mean(challenger)
    if champion is None:
        return Decision(True, f"promoted: the first version with both directions ({score:.4f} bits per byte)")
    old_score = _mean(champion)
    if score < old_score:
        return Decision(True, f"promoted: {score:.4f} bits per byte, the champion has {old_score:.4f}")
    return Decision(False, f"refused: {score:.4f} bits per byte, the champion has {old_score:.4f}")


def _mean(scores: Mapping[str, float]) -> float:
    return sum(scores[direction] for direction in DIRECTIONS) / len(DIRECTIONS)
