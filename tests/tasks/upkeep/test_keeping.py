"""Which versions of a model are kept."""

import pytest

from tasks.upkeep.keeping import VersionFacts, kept_versions


def versions(number: int, **facts: VersionFacts) -> list[VersionFacts]:
    given = {one.number: one for one in facts.values()}
    return [given.get(one, VersionFacts(number=one)) for one in range(1, number + 1)]


CHAMPION = VersionFacts(number=6, is_champion=True, aliases=["champion"], parent=2, replaced=4)


@pytest.mark.parametrize(
    ("known", "newest", "needed", "expected"),
    [
        (versions(8, champion=CHAMPION), 0, (), {2, 4, 6, 7, 8}),  # its parent, what it replaced, its challengers
        (versions(8, champion=CHAMPION), 1, (), {2, 4, 5, 6, 7, 8}),
        (versions(8, champion=CHAMPION), 0, (3, 99), {2, 3, 4, 6, 7, 8}),
        (versions(8, champion=CHAMPION, second=VersionFacts(number=2, parent=1)), 0, (), {1, 2, 4, 6, 7, 8}),
        (versions(8, champion=CHAMPION, first=VersionFacts(number=1, aliases=["paper"])), 0, (), {1, 2, 4, 6, 7, 8}),
        (versions(5), 2, (), {4, 5}),
        (versions(3), 5, (), {1, 2, 3}),
        (versions(2, newest=VersionFacts(number=2, parent=1, aliases=["newest"])), 0, (), {1, 2}),
        ([], 2, (), set()),
    ],
)
def test_versions_that_are_kept(known, newest, needed, expected) -> None:
    assert kept_versions(known, newest=newest, needed=needed) == expected


def test_parents_that_name_each_other_end() -> None:
    circle = [VersionFacts(number=1, parent=2), VersionFacts(number=2, parent=1, is_champion=True)]
    assert kept_versions(circle, newest=0) == {1, 2}
