"""The event that the Prefect server receives when a model replaces another as champion.

What uses the models listens to `charlm.model.promoted`; deployments/ shows how.
"""

import os

from charlm.errors import ConfigError
from tasks.registry.versions import RegisteredVersion, corpus_revision
from tasks.services.events import send_event
from tasks.terminal import terminal

MODEL_PROMOTED = "charlm.model.promoted"


def send_promotion(version: RegisteredVersion, previous: RegisteredVersion | None, reason: str) -> None:
    """Send the event that `version` is champion now, instead of `previous`, to the server at PREFECT_API_URL.

    Nothing is sent where there is no server, or the two are the same. In a flow run Prefect sends the event and links
    it with the run; outside of one, a server that does not answer is a warning.
    """
    if "PREFECT_API_URL" not in os.environ or (previous is not None and previous.version == version.version):
        return
    from prefect.events import emit_event
    from prefect.runtime import flow_run

    resource = {"prefect.resource.id": f"charlm.model.{version.name}", "prefect.resource.name": version.name}
    payload = {
        "name": version.name,
        "version": version.version,
        "address": version.address,
        "previous_champion": None if previous is None else previous.address,
        "corpus_revision": corpus_revision(version),
        "reason": reason,
        "flow_run_id": flow_run.id,
    }
    if flow_run.id is not None:
        emit_event(MODEL_PROMOTED, resource=resource, payload=payload)
        return
    try:
        send_event(MODEL_PROMOTED, resource=resource, payload=payload)
    except ConfigError as error:
        terminal.print_line(f"{version.address} is champion, but nothing that follows a promotion will start: {error}")
