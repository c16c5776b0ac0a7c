"""Counts of words."""

import collections
from collections.abc import Iterable
from typing import Self


class Counter(collections.Counter[str]):
    """How often each word occurs, with a way to drop rare ones."""

    def discard(self, min_freq: int, unknown_token: str | None) -> Self:
        """The counts of words that occur at least `min_freq` times; all others count as `unknown_token`, or not."""
        kept = type(self)({token: count for token, count in self.items() if count >= min_freq})
        if unknown_token is not None and (rare := self.total() - kept.total()):
            kept[unknown_token] += rare
        return kept


def count_tokens(tokens: Iterable[str], to_lower: bool = False, counter: Counter | None = None) -> Counter:
    """The counts of `tokens`, lower-cased with `to_lower`, added to `counter` where one is given."""
    counter = Counter() if counter is None else counter
    counter.update(token.lower() for token in tokens) if to_lower else counter.update(tokens)
    return counter
