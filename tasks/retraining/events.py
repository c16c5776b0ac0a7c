"""Announce new text to the Prefect server, and read what was announced."""

import os
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from charlm.errors import ConfigError
from tasks.retraining.arrivals import CORPUS_ARRIVED, Arrival
from tasks.services.events import send_event

if TYPE_CHECKING:
    from prefect.client.schemas.events import EventPage

_PAGE = 50  # the server gives no more at a time


def send_arrival(arrival: Arrival) -> None:
    """Announce new text to the server; raises ConfigError when there is no server."""
    if "PREFECT_API_URL" not in os.environ:
        raise ConfigError(
            "PREFECT_API_URL is not set, so no server would receive this; `make up` starts one and prints its address"
        )
    resource = {"prefect.resource.id": _resource(arrival.corpus), "prefect.resource.name": arrival.corpus}
    send_event(CORPUS_ARRIVED, resource=resource, payload=arrival.to_payload())


def arrivals_since(name: str, moment: datetime) -> list[Arrival]:
    """The text for the corpus `name` that was announced to the server since `moment`, oldest first."""
    from prefect.client.orchestration import get_client
    from prefect.events.filters import (
        EventFilter,
        EventNameFilter,
        EventOccurredFilter,
        EventOrder,
        EventResourceFilter,
    )

    query = EventFilter(
        occurred=EventOccurredFilter.model_validate({"since": moment}),
        event=EventNameFilter(name=[CORPUS_ARRIVED]),
        resource=EventResourceFilter(id=[_resource(name)]),
        order=EventOrder.ASC,
    )
    arrivals: list[Arrival] = []
    with get_client(sync_client=True) as client:
        page: EventPage | None = client.read_events(query, limit=_PAGE)
        while page is not None:
            arrivals += _well_formed(page)
            page = client.read_events_page(str(page.next_page)) if page.next_page else None
    return arrivals


def _well_formed(page: "EventPage") -> Iterator[Arrival]:
    """The arrivals of a page; anybody may send an event, and a malformed one fails in the run that it starts."""
    for event in page.events:
        try:
            yield Arrival.from_payload(event.payload)
        except ConfigError:
            continue


def _resource(corpus: str) -> str:
    return f"charlm.corpus.{corpus}"
