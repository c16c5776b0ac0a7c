"""The scores of all versions of a model, as a table and as a plot.

Reads  the report of the promotion gate about each version
Writes scores-over-versions.png    (to the MLflow run that the newest of them was registered by)
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charlm.errors import decoration
from charlm.evaluation.gate_report import GateReport
from charlm.serialization.markdown import escape
from charlm.visual.figures import add_legend
from tasks.promotion.gate import REPORT
from tasks.registry.versions import RegisteredVersion, all_versions
from tasks.tracking.client import mlflow_client

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE = "scores-over-versions.png"


@dataclass(frozen=True, kw_only=True)
class JudgedVersion:
    """A version and the result of the gate."""

    version: int
    promoted: bool
    bits_per_byte: dict[str, float]
    """By domain, mean of the directions, on the test text of that time."""


def judged_versions(name: str) -> list[JudgedVersion]:
    """The versions of the model `name` that the gate has judged, oldest first."""
    judged = []
    for version, tags in all_versions(name):
        if REPORT in tags:
            report = GateReport.from_json(json.loads(tags[REPORT]))
            scores = {domain: numbers.bits_per_byte for domain, numbers in report.domains.items()}
            judged.append(JudgedVersion(version=version.version, promoted=report.promoted, bits_per_byte=scores))
    return judged


def versions_markdown(name: str, judged: Sequence[JudgedVersion], *, picture: str | None) -> str:
    """A row for each version and a column for each domain, and the plot where it has an address."""
    domains = _domains(judged)
    lines = [f"# Versions of {name}", "", "Bits per byte on the test text of each domain; lower is better.", ""]
    lines += [f"| version | gate | {' | '.join(map(escape, domains))} |", f"| --- | --- |{' ---: |' * len(domains)}"]
    for version in reversed(judged):
        scores = [f"{version.bits_per_byte[name]:.4f}" if name in version.bits_per_byte else "–" for name in domains]
        decision = "promoted" if version.promoted else "refused"
        lines.append(f"| {version.version} | {decision} | {' | '.join(scores)} |")
    if picture is not None:
        lines += ["", f"![Scores of every version]({picture})"]
    return "\n".join(lines) + "\n"


def log_picture(version: RegisteredVersion, judged: Sequence[JudgedVersion]) -> str | None:
    """Log a plot of the scores to the MLflow run of `version`; its address where a server shows it."""
    client = mlflow_client()
    with decoration(PICTURE):
        run_id = client.get_model_version(version.name, str(version.version)).run_id
        if run_id is None:  # a version that was registered by hand
            return None
        client.log_figure(run_id, draw_versions(version.name, judged), PICTURE)
        server = os.environ["MLFLOW_TRACKING_URI"].rstrip("/")
        if server.startswith("http"):
            return f"{server}/get-artifact?path={PICTURE}&run_uuid={run_id}"
    return None


def draw_versions(name: str, judged: Sequence[JudgedVersion]) -> "Figure":
    """A line for each domain over the versions; refused versions are hollow."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes = figure.subplots()
    domains = _domains(judged)
    for domain in domains:
        axes.plot(*_points(judged, domain), linewidth=1, marker="o")
    refused = [version for version in judged if not version.promoted]
    for domain, line in zip(domains, list(axes.get_lines()), strict=True):
        axes.plot(*_points(refused, domain), "o", color=line.get_color(), markerfacecolor="white")
    axes.set(xlabel="version (hollow: refused by the gate)", ylabel="bits per byte, lower is better")
    axes.set_title(f"{name}: every version on the test text of each domain", fontsize=10)
    numbers = [version.version for version in judged]
    axes.set_xlim(min(numbers) - 0.5, max(numbers) + 0.5)  # whole numbers with room, also around a single one
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(y=0.15)
    axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    axes.grid(alpha=0.3)
    add_legend(axes, domains)
    return figure


def _points(judged: Sequence[JudgedVersion], domain: str) -> tuple[list[int], list[float]]:
    """Numbers and scores of the versions that were judged on a domain."""
    found = [version for version in judged if domain in version.bits_per_byte]
    return [version.version for version in found], [version.bits_per_byte[domain] for version in found]


def _domains(judged: Sequence[JudgedVersion]) -> list[str]:
    return list(dict.fromkeys(domain for version in judged for domain in version.bits_per_byte))
