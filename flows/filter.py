"""The flow that filters texts with one version of a model.

texts --> scores --> what lies between bounds, and what was left out
"""

from pathlib import Path

from prefect.client.schemas.objects import State
from prefect.states import Completed

from charlm.config import ReadConfig, ScoreBounds
from flows.parameters import Granularity
from flows.workspace_flow import flow
from tasks import steps
from tasks.inference.filtering import FilteredTexts
from tasks.inference.texts import pinned_model
from tasks.reporting import publish_filtered
from tasks.services.session import use_workspace


@flow(name="charlm-filter", flow_run_name="filter with {model}")
def filter_texts(
    model: str,
    texts: list[str],
    output: Path,
    left_out: Path | None = None,
    bounds: ScoreBounds = ScoreBounds(max_percentile=95.0),  # noqa: B008  # never changed; the form in the UI shows it
    per: Granularity = "document",
    workspace: Path = Path("workspace"),
    reading: ReadConfig = ReadConfig(),  # noqa: B008
) -> State[FilteredTexts]:
    """Keep the documents, lines or records of texts whose scores lie between two bounds, in the format of the text.

    Args:
        model: best-lm.pt, a run folder, a bundle folder, or `models:/NAME@champion`.
        texts: Files, folders, globs, fsspec addresses, or `hf:NAME[:SPLIT[:COLUMN]]`.
        output: File for what is kept; of several texts a folder.
        left_out: The same for what is left out.
        bounds: Percentiles among the held-out documents of the model, or bits per byte, both included.
        per: `document`, `line`, `record` or `text`.
        workspace: Folder that holds the registry where no server does, and the corpus that percentiles refer to.
        reading: How the texts are read.
    """
    space = use_workspace(workspace)
    pinned = pinned_model(model)
    filtered = steps.filter_texts(space, pinned, texts, output, left_out, bounds, per, reading)
    publish_filtered(pinned, filtered)
    return Completed(message=f"kept {filtered.kept:,} of {filtered.rows:,} rows with {pinned}", data=filtered)
