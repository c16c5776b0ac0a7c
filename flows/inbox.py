"""The flow that finds new text in an inbox and announces it with an event.

inbox --> files that nobody is writing --> event charlm.corpus.arrived
"""

import time
from pathlib import Path
from typing import Annotated

from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.workspace_flow import flow
from tasks import steps
from tasks.retraining.inbox import inbox_of, stable_files, unseen_files
from tasks.services.session import use_workspace


@flow(name="charlm-scan-inbox", flow_run_name="scan the inbox")
def scan_inbox(
    inbox: str | None = None,
    workspace: Path = Path("workspace"),
    settle_seconds: Annotated[float, Field(ge=0)] = 15.0,
) -> State[int]:
    """Announce text that has been dropped into the inbox: `INBOX/CORPUS/[DOMAIN/]files`.

    Every content is announced once for a corpus; a file that is still being written waits for the next scan.

    Args:
        inbox: Folder or fsspec address; by default `inbox` in the workspace.
        workspace: Folder that holds everything a run leaves, and the memory of what was announced.
        settle_seconds: Seconds between two scans; a file that changes in between is left out.
    """
    space = use_workspace(workspace)
    place = inbox or inbox_of(space)
    first = unseen_files(space, steps.scan_inbox(place))
    if not first:
        return Completed(message="nothing new", data=0)
    time.sleep(settle_seconds)
    files = stable_files(first, steps.scan_inbox(place))
    arrivals = steps.announce_arrivals(space, files)
    counts = ", ".join(f"{len(arrival.addresses)} for {arrival.corpus}" for arrival in arrivals)
    return Completed(message=f"announced files: {counts}" if arrivals else "nothing new", data=len(arrivals))
