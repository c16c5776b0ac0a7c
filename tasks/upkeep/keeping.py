"""Which versions of a registered model are kept, decided from what is known about them alone."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class VersionFacts:
    """What decides whether a version is kept."""

    number: int
    is_champion: bool = False
    aliases: Collection[str] = ()
    parent: int | None = None
    """The version of the same model that it continues."""

    replaced: int | None = None
    """The champion that it has replaced: what a rollback returns to."""


def kept_versions(versions: Sequence[VersionFacts], *, newest: int, needed: Collection[int] = ()) -> set[int]:
    """The numbers of the versions to keep.

    Kept are: versions with an alias; the champion, what it replaced, and every version after it, for these hold what
    was decided about challengers of this champion; the `newest` versions before it; those that others name (`needed`);
    and the parents of all of these, with their parents. Without a champion, `newest` counts from the last version.
    """
    by_number = {version.number: version for version in versions}
    champion = next((version for version in versions if version.is_champion), None)
    since = champion.number if champion is not None else max(by_number, default=0) + 1
    older = sorted((number for number in by_number if number < since), reverse=True)
    kept = {number for number in by_number if number >= since} | set(older[:newest])
    kept |= {version.number for version in versions if version.aliases} | (set(needed) & by_number.keys())
    if champion is not None and champion.replaced in by_number:
        kept.add(champion.replaced)
    waiting = list(kept)
    while waiting:
        parent = by_number[waiting.pop()].parent
        if parent in by_number and parent not in kept:
            kept.add(parent)
            waiting.append(parent)
    return kept
