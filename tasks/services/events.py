"""Send an event to the Prefect server, and wait until it has been accepted.

Prefect's `emit_event` sends in the background, and loses the event in silence where no server is set or none answers.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import uuid4

from charlm.errors import ConfigError
from tasks.services.session import start_prefect

_MAX_RETRIES = 3  # half a minute; a person may be waiting


def send_event(event: str, *, resource: Mapping[str, str], payload: Mapping[str, object]) -> None:
    """Send an event to the server at PREFECT_API_URL; raises ConfigError when the server does not accept it."""
    from httpx import HTTPError
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    start_prefect()
    body = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": event,
        "resource": dict(resource),
        "payload": dict(payload),
    }
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: _MAX_RETRIES}), get_client(sync_client=True) as client:
        try:
            client.request("GET", "/ready")  # without its database it accepts events, and loses them
            client.request("POST", "/events", json=[body])
        except HTTPError as error:
            server, reason = os.environ["PREFECT_API_URL"], str(error).splitlines()[0]
            raise ConfigError(f"{server} did not accept the event {event}: {reason}") from error
