"""The flow that looks for new text in an inbox and tells the server of it.

inbox --> files that nobody is writing --> event charlm.corpus.arrived
"""

import time
from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from tasks import steps
from tasks.retraining.inbox import settled, untold
from tasks.services.workspace import use_workspace


@flow(name="charlm-scan-inbox", flow_run_name="look into the inbox")
def scan_inbox(
    inbox: str | None = None,
    workspace: Path = Path("workspace"),
    settle_seconds: Annotated[float, Field(ge=0)] = 15.0,
) -> State[int]:
    """Tell the server of text that has been dropped into the inbox: `INBOX/CORPUS/[DOMAIN/]files`.

    Every content is told of once for a corpus; a file that is still being written waits for the next look.

    Args:
        inbox: Folder or fsspec address; by default `inbox` in the workspace.
        workspace: Folder that holds everything a run leaves, and the memory of what was told.
        settle_seconds: Seconds between two looks; a file that changes in between is left alone.
    """
    space = use_workspace(workspace)
    place = inbox or str(space.inbox_dir)
    first = untold(space, steps.look_into_inbox(place))
    if not first:
        return Completed(message="nothing new", data=0)
    time.sleep(settle_seconds)
    files = settled(first, steps.look_into_inbox(place))
    arrivals = steps.tell_arrivals(space, files)
    told = ", ".join(f"{len(arrival.addresses)} for {arrival.corpus}" for arrival in arrivals)
    return Completed(message=f"told of files: {told}" if arrivals else "nothing new", data=len(arrivals))
