"""What is told to the Prefect server when a model takes the place of another.

Whatever uses the models listens to `charlm.model.promoted`; deployments/ shows how.
"""

from prefect.events import emit_event
from prefect.runtime import flow_run

from tasks.registry import RegisteredVersion, corpus_revision

MODEL_PROMOTED = "charlm.model.promoted"


def announce_promotion(version: RegisteredVersion, previous: RegisteredVersion | None, reason: str) -> None:
    """Emit that `version` is champion now, in the place of `previous`."""
    emit_event(
        MODEL_PROMOTED,
        resource={"prefect.resource.id": f"charlm.model.{version.name}", "prefect.resource.name": version.name},
        payload={
            "name": version.name,
            "version": version.version,
            "address": version.address,
            "previous_champion": None if previous is None else previous.address,
            "corpus_revision": corpus_revision(version),
            "reason": reason,
            "flow_run_id": flow_run.id,
        },
    )
