"""The event that the Prefect server receives when a model replaces another as champion.

What uses the models listens to `charlm.model.promoted`; deployments/ shows how.
"""

import os
from datetime import UTC, datetime
from typing import TypedDict
from uuid import uuid4

from charlm.errors import ConfigError, decoration
from tasks.registry.versions import RegisteredVersion, corpus_revision
from tasks.services.events import send_event
from tasks.services.session import has_lasting_prefect
from tasks.terminal import terminal
from tasks.tracking.client import mlflow_client

MODEL_PROMOTED, MODEL_REFUSED = "charlm.model.promoted", "charlm.model.refused"
MODEL_WAITS = "charlm.model.waits-for-approval"
ANNOUNCED = "champion.announced"
"""The tag of a registered model with the number of the champion that a service has heard of."""


class ModelEvent(TypedDict):
    """An event about a model, as the server takes it."""

    id: str
    occurred: str
    event: str
    resource: dict[str, str]
    payload: dict[str, object]


def model_event(event: str, version: RegisteredVersion, reason: str, **payload: object) -> ModelEvent:
    """The event that something was decided about `version`."""
    about = {"name": version.name, "version": version.version, "address": version.address, "reason": reason}
    return {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": event,
        "resource": {"prefect.resource.id": f"charlm.model.{version.name}", "prefect.resource.name": version.name},
        "payload": about | payload,
    }


def promotion_event(
    version: RegisteredVersion,
    previous: RegisteredVersion | None,
    reason: str,
    *,
    revision: int | None,
    flow_run: str | None,
) -> ModelEvent:
    """The event that `version`, of this revision of its corpus, is champion now instead of `previous`."""
    champion_before = None if previous is None else previous.address
    return model_event(
        MODEL_PROMOTED,
        version,
        reason,
        previous_champion=champion_before,
        corpus_revision=revision,
        flow_run_id=flow_run,
    )


def send_from_flow(event: str, version: RegisteredVersion, reason: str) -> None:
    """Send what was decided about `version` from the present flow run, which Prefect links with it."""
    from prefect.events import emit_event
    from prefect.runtime import flow_run

    sent = model_event(event, version, reason, flow_run_id=flow_run.id)
    emit_event(event, resource=sent["resource"], payload=sent["payload"])


def send_promotion(version: RegisteredVersion, previous: RegisteredVersion | None, reason: str) -> None:
    """Send the event that `version` is champion now, instead of `previous`, to the server at PREFECT_API_URL.

    Nothing is sent where there is no server, or the two are the same. In a flow run Prefect sends the event and links
    it with the run; outside of one, a server that does not answer is a warning, and the watcher of a service sends the
    event later.
    """
    if "PREFECT_API_URL" not in os.environ or (previous is not None and previous.version == version.version):
        return
    from prefect.events import emit_event
    from prefect.runtime import flow_run

    event = promotion_event(version, previous, reason, revision=corpus_revision(version), flow_run=flow_run.id)
    if flow_run.id is not None:
        emit_event(MODEL_PROMOTED, resource=event["resource"], payload=event["payload"])
    else:
        try:
            send_event(MODEL_PROMOTED, resource=event["resource"], payload=event["payload"])
        except ConfigError as error:
            terminal.print_line(
                f"{version.address} is champion, but nothing that follows a promotion will start: {error}"
            )
            return
    if has_lasting_prefect():
        with decoration(f"the tag {ANNOUNCED} of {version.name}"):
            mlflow_client().set_registered_model_tag(version.name, ANNOUNCED, str(version.version))
