"""What is told to the Prefect server when a model takes the place of another.

Whatever uses the models listens to `charlm.model.promoted`; deployments/ shows how.
"""

import os
from typing import Any

from charlm.errors import ConfigError
from tasks.display import terminal
from tasks.registry import RegisteredVersion, corpus_revision

MODEL_PROMOTED = "charlm.model.promoted"


def announce_promotion(version: RegisteredVersion, previous: RegisteredVersion | None, reason: str) -> None:
    """Emit, from a flow run, that `version` is champion now in the place of `previous`; nothing where they are the
    same."""
    from prefect.events import emit_event
    from prefect.runtime import flow_run

    if previous is None or previous.version != version.version:
        payload = _payload(version, previous, reason)
        emit_event(MODEL_PROMOTED, resource=_resource(version), payload={**payload, "flow_run_id": flow_run.id})


def tell_promotion(version: RegisteredVersion, previous: RegisteredVersion | None, reason: str) -> None:
    """The same by hand, where PREFECT_API_URL names a server; one that does not answer is a warning."""
    from tasks.server_events import send_event

    if "PREFECT_API_URL" not in os.environ or (previous is not None and previous.version == version.version):
        return
    payload = _payload(version, previous, reason)
    try:
        send_event(MODEL_PROMOTED, resource=_resource(version), payload={**payload, "flow_run_id": None})
    except ConfigError as error:
        terminal.say(f"{version.address} is champion, but what follows promotions has not heard of it: {error}")


def _resource(version: RegisteredVersion) -> dict[str, str]:
    return {"prefect.resource.id": f"charlm.model.{version.name}", "prefect.resource.name": version.name}


def _payload(version: RegisteredVersion, previous: RegisteredVersion | None, reason: str) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "address": version.address,
        "previous_champion": None if previous is None else previous.address,
        "corpus_revision": corpus_revision(version),
        "reason": reason,
    }
