"""All results of a query of the Prefect server, which answers with one page at a time."""

from collections.abc import Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")
_PAGE = 100  # the server refuses more than 200 by default


class Query(Protocol[T]):
    """A method of Prefect's client that reads a page."""

    def __call__(self, *, limit: int, offset: int) -> "list[T]": ...


def all_pages(query: Query[T]) -> Iterator[T]:
    """Every result of `query`, page after page."""
    offset = 0
    while page := query(limit=_PAGE, offset=offset):
        yield from page
        offset += len(page)
