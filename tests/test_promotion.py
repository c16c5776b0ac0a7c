"""The gate's decision, case by case."""

import pytest

from tasks.promotion import decide_promotion

PAIR = {"forward": 2.0, "backward": 2.2}


@pytest.mark.parametrize(
    ("challenger", "champion", "promoted", "reason"),
    [
        (PAIR, None, True, "first version with both directions (2.1000 bits per byte)"),
        ({"forward": 2.0}, None, False, "no backward model"),
        ({"backward": 1.0}, PAIR, False, "no forward model"),
        ({"forward": 1.9, "backward": 2.2}, PAIR, True, "2.0500 bits per byte, the champion has 2.1000"),
        ({"forward": 2.4, "backward": 1.7}, PAIR, True, "2.0500 bits per byte"),  # the mean counts
        ({"forward": 2.0, "backward": 2.3}, PAIR, False, "2.1500 bits per byte, the champion has 2.1000"),
        (PAIR, PAIR, False, "refused: 2.1000"),  # as good is not better
    ],
)
def test_a_challenger_is_promoted_only_when_both_directions_exist_and_their_mean_is_lower(
    challenger: dict[str, float], champion: dict[str, float] | None, promoted: bool, reason: str
) -> None:
    decision = decide_promotion(challenger, champion)
    assert decision.promoted is promoted
    assert reason in decision.reason
