"""What a flow run leaves in Prefect for people to read: one markdown artifact with scores and links."""

import os
import re
from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact

from tasks.display import SHOWN_SCORES, shown_score
from tasks.pairs import TrainedPair
from tasks.promotion import Decision
from tasks.registry import RegisteredVersion
from tasks.tracking import mlflow_client


def artifact_key(*words: str) -> str:
    """A key that Prefect takes: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")


def publish_report(name: str, pairs: Sequence[TrainedPair], best: TrainedPair, decision: Decision | None) -> None:
    """Publish the report of a pipeline run as the artifact `report-NAME`."""
    create_markdown_artifact(
        pipeline_report(name, pairs, best, decision),
        key=artifact_key("report", name),
        description=f"Scores of the language models of {name}",
    )


def pipeline_report(name: str, pairs: Sequence[TrainedPair], best: TrainedPair, decision: Decision | None) -> str:
    """The report as markdown: the outcome, the scores of every recipe, and where to look further."""
    lines = [f"# Language models of {name}", ""]
    if best.version is None:
        lines.append("Nothing was registered.")
    else:
        lines.append(f"Registered as **{best.version.address}** from the recipe `{best.recipe}`.")
    if decision is not None:
        lines.append(f"Gate: {decision.reason}.")
    names = " | ".join(SHOWN_SCORES.values()).replace("<unk>", "&lt;unk&gt;")
    lines += ["", "## Scores on test text", "", f"| recipe | direction | {names} | run |"]
    lines.append("| --- | --- |" + " ---: |" * len(SHOWN_SCORES) + " --- |")
    for pair in pairs:
        for direction, run in pair.runs.items():
            scores = " | ".join(shown_score(score, run.test[score]) for score in SHOWN_SCORES)
            origin = "reused" if run.reused else "trained"
            lines.append(f"| {run.recipe} | {direction} | {scores} | {origin}: `{run.run_dir.name}` |")
    return "\n".join([*lines, "", "## Where to look", "", *_links(name, best.version)]) + "\n"


def _links(name: str, version: RegisteredVersion | None) -> list[str]:
    server = os.environ["MLFLOW_TRACKING_URI"].rstrip("/")
    lines = []
    if not server.startswith("http"):
        lines.append(f"* Open MLflow with `mlflow ui --backend-store-uri {server}`; the links below lead there.")
        server = "http://127.0.0.1:5000"
    experiment = mlflow_client().get_experiment_by_name(name)
    if experiment is not None:
        lines.append(f"* [MLflow runs of {name}]({server}/#/experiments/{experiment.experiment_id}/runs)")
    if version is not None:
        lines.append(f"* [Model version {version.version}]({server}/#/models/{name}/versions/{version.version})")
    return lines
