"""How much `<unk>` is too much, which differs from unit to unit."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class UnkLimits:
    """Shares of `<unk>` in held-out text, in [0, 1]."""

    reported: float
    """The share from which a preparation warns that the dictionary is small."""

    promoted: float
    """The largest share with which a model becomes champion."""

    extended: float
    """The share in new text from which its items get an id."""

    foreign: float
    """The share in new text from which nothing of the champion is worth keeping."""

    exceeds_reference: bool = False
    """True where the last two are what new text has more than the text that the champion was trained on."""


ALL_KNOWN = UnkLimits(reported=0.001, promoted=0.01, extended=0.001, foreign=0.25)
"""Of units of which a dictionary holds nearly all."""

MANY_UNKNOWN = UnkLimits(reported=0.1, promoted=0.1, extended=0.02, foreign=0.2, exceeds_reference=True)
"""Of words: WikiText-2 has 5 to 6 % outside a dictionary of 33,278, and new text is judged by its rate of new words."""
