"""What a flow run publishes in Prefect for people: markdown artifacts with numbers, decisions and links."""

import os
import re
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact

from charlm.errors import decoration
from charlm.evaluation.gate_report import GateReport
from charlm.serialization.markdown import code, escape
from tasks.inference.embedding import EmbeddedText
from tasks.inference.evaluation import ChampionScores
from tasks.inference.filtering import FilteredTexts
from tasks.promotion.history import JudgedVersion, versions_markdown
from tasks.promotion.report import as_sentence, gate_markdown
from tasks.registry.versions import RegisteredVersion, find_version, run_of_version
from tasks.retraining.plan import RetrainingPlan
from tasks.retraining.report import plan_markdown
from tasks.runs import TrainedRun
from tasks.services.own_service import mlflow_page
from tasks.terminal import SHOWN_SCORES, shown_score
from tasks.tracking.client import mlflow_client
from tasks.tracking.sync import mlflow_run_of
from tasks.training.pair import TrainedPair

_PROGRESS_SECONDS = 5.0


def artifact_key(*words: str) -> str:
    """A key that Prefect accepts: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")


def progress_artifact(key: str, description: str, *, run_id: str | None) -> Callable[[float], None]:
    """A function that shows a share of the work on the page of the flow run, every few seconds and at the end.

    Its description ends with a link to the MLflow run `run_id`. While the server is away nothing is shown, and the work
    continues.
    """
    description += run_link(run_id)
    artifact: UUID | None = None
    last = -_PROGRESS_SECONDS

    def show(share: float) -> None:
        nonlocal artifact, last
        if share < 1.0 and time.monotonic() - last < _PROGRESS_SECONDS:
            return
        last = time.monotonic()
        with decoration("the progress on the page of the flow run"):
            if artifact is None:
                artifact = create_progress_artifact(100 * share, key=key, description=description)  # type: ignore[assignment]
            else:
                update_progress_artifact(artifact, progress=100 * share)

    show(0.0)
    return show


def publish_report(name: str, pairs: Sequence[TrainedPair], best: TrainedPair, decision: GateReport | None) -> None:
    """Publish the report of a pipeline run as the artifact `report-NAME`."""
    _publish(
        lambda: pipeline_report(name, pairs, best, decision),
        key=artifact_key("report", name),
        description=f"Scores of the language models of {name}",
    )


def publish_embeddings(model: str, folder: Path, embedded: Sequence[EmbeddedText]) -> None:
    """Publish what was embedded as the artifact `embeddings-FOLDER`."""
    _publish(
        lambda: embedding_report(model, folder, embedded),
        key=artifact_key("embeddings", folder.name),
        description=f"Embeddings with {escape(model)}",
        model=model,
    )


def embedding_report(model: str, folder: Path, embedded: Sequence[EmbeddedText]) -> str:
    """A table of the files that were written, as markdown."""
    lines = [f"# Embeddings with {escape(model)}", "", f"Written to {code(folder)}:", ""]
    lines += ["| file | tokens | dimensions | seconds | tokens/s |", "| --- | ---: | ---: | ---: | ---: |"]
    for text in embedded:
        numbers = f"{text.num_tokens:,} | {text.num_dimensions:,} | {text.seconds:,.1f}"
        lines.append(f"| {code(text.output.name, in_table=True)} | {numbers} | {text.num_tokens / text.seconds:,.0f} |")
    return "\n".join(lines) + "\n"


def publish_filtered(model: str, filtered: FilteredTexts) -> None:
    """Publish what a filter kept as the artifact `filtered-OUTPUT`."""
    shown = "\n".join(["```", *filtered.lines(), "```"])
    places = f"Kept in {code(filtered.output)}" + (
        "." if filtered.left_out is None else f", left out in {code(filtered.left_out)}."
    )
    _publish(
        lambda: f"# Texts filtered with {escape(model)}\n\n{places}\n\n{shown}\n",
        key=artifact_key("filtered", filtered.output.name),
        description=f"Texts filtered with {escape(model)}",
        model=model,
    )


def publish_plan(name: str, plan: RetrainingPlan) -> None:
    """Publish the decision about new text, and its reason, as the artifact `retrain-NAME`."""
    _publish(
        lambda: plan_markdown(name, plan),
        key=artifact_key("retrain", name),
        description=f"Whether {name} needs new language models",
        model=None if plan.champion is None else plan.champion.address,
    )


def publish_versions(name: str, judged: Sequence[JudgedVersion], picture: str | None) -> None:
    """Publish the scores of every version as the artifact `versions-NAME`."""
    _publish(
        lambda: versions_markdown(name, judged, picture=picture),
        key=artifact_key("versions", name),
        description=f"Every version of {name} that the promotion gate has judged",
        model=f"models:/{name}/{judged[-1].version}",
    )


def publish_champion_scores(scores: ChampionScores) -> None:
    """Publish the scores of a champion as the artifact `evaluation-NAME`."""
    _publish(
        lambda: evaluation_report(scores),
        key=artifact_key("evaluation", scores.version.name),
        description=f"Scores of {scores.version.address}",
        model=scores.version.address,
    )


def evaluation_report(scores: ChampionScores) -> str:
    """A table of the scores of a champion by domain and direction, as markdown."""
    lines = [f"# Scores of {scores.version.address}", "", "Test text of every domain of its corpus.", ""]
    names = " | ".join(SHOWN_SCORES.values()).replace("<unk>", "&lt;unk&gt;")
    lines += [f"| domain | direction | {names} |", "| --- | --- |" + " ---: |" * len(SHOWN_SCORES)]
    for direction, domains in scores.domains.items():
        for domain, values in domains.items():
            shown = " | ".join(shown_score(score, values[score]) for score in SHOWN_SCORES)
            lines.append(f"| {escape(domain)} | {direction} | {shown} |")
    return "\n".join(lines) + "\n"


def publish_gate_report(version: RegisteredVersion, report: GateReport) -> None:
    """Publish the decision about a version, with its numbers and intervals, as the artifact `gate-NAME`."""
    _publish(
        lambda: f"# {version.name} version {version.version} at the promotion gate\n\n{gate_markdown(report)}",
        key=artifact_key("gate", version.name),
        description=f"Whether the newest language models of {version.name} are promoted",
        model=f"models:/{version.name}/{version.version}",
    )


def pipeline_report(name: str, pairs: Sequence[TrainedPair], best: TrainedPair, decision: GateReport | None) -> str:
    """The report as markdown: the outcome, the scores of every recipe, and links."""
    experiment = None  # its path in MLflow; none where MLflow did not answer
    if best.mlflow_run is not None:
        experiment = f"experiments/{mlflow_client().get_run(best.mlflow_run).info.experiment_id}"
    lines = [f"# Language models of {name}", ""]
    if best.version is None:
        lines.append("Nothing was registered.")
    else:
        lines.append(f"Registered as **{best.version.address}** from the recipe {code(best.recipe)}.")
    if decision is not None:
        lines.append(f"Gate: {as_sentence(decision.reason)}")
    names = " | ".join(SHOWN_SCORES.values()).replace("<unk>", "&lt;unk&gt;")
    lines += ["", "## Scores on test text", "", f"| recipe | direction | {names} | run |"]
    lines.append("| --- | --- |" + " ---: |" * len(SHOWN_SCORES) + " --- |")
    for pair in pairs:
        for direction, run in pair.runs.items():
            scores = " | ".join(shown_score(score, run.test[score]) for score in SHOWN_SCORES)
            lines.append(f"| {escape(run.recipe)} | {direction} | {scores} | {_linked_run(run, experiment)} |")
    if best.baseline is not None:
        scores = " | ".join(shown_score(score, best.baseline.test[score]) for score in SHOWN_SCORES)
        lines.append(f"| n-gram model of order {best.baseline.order} | – | {scores} | – |")
    return "\n".join([*lines, "", "## Links", "", *_links(name, best, experiment)]) + "\n"


def _links(name: str, best: TrainedPair, experiment: str | None) -> list[str]:
    """Links to MLflow, whose page of a run shows the training curve, samples and metrics."""
    lines = []
    if not _has_server():
        command = shlex.join(["mlflow", "ui", "--backend-store-uri", os.environ["MLFLOW_TRACKING_URI"]])
        lines.append(f"* Open MLflow with {code(command)}; the links lead there.")
    if experiment is not None:
        lines.append(f"* [All runs of {name}]({_page(f'{experiment}/runs')})")
        lines.append(f"* [Run of the recipe {escape(best.recipe)}]({_page(f'{experiment}/runs/{best.mlflow_run}')})")
    if best.version is not None:
        lines.append(f"* [Model version {best.version.version}]({_page(_version_page(best.version))})")
    return lines


def _linked_run(run: TrainedRun, experiment: str | None) -> str:
    """`trained` or `reused`, with a link to the run in MLflow where it has one."""
    origin = "reused" if run.reused else "trained"
    run_id = mlflow_run_of(run.files)
    return origin if None in (experiment, run_id) else f"[{origin}]({_page(f'{experiment}/runs/{run_id}')})"


def _page(path: str) -> str:
    """The address of a page of MLflow; where no server runs, where `mlflow ui` will show it."""
    return mlflow_page(os.environ["MLFLOW_TRACKING_URI"] if _has_server() else "http://127.0.0.1:5000", path)


def _has_server() -> bool:
    return os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http")


def _publish(report: Callable[[], str], *, key: str, description: str, model: str | None = None) -> None:
    """Publish markdown for people to read; a report that fails does not undo the work that it reports.

    Where it is about a registered `model`, by its address, it ends with links to MLflow's pages of it.
    """
    with decoration(f"the report {key}"):
        create_markdown_artifact(report() + model_links(model), key=key, description=description)


def model_links(model: str | None) -> str:
    """Links to the version of an address, and to the MLflow run that made it, as markdown; none of a path."""
    if model is None or not model.startswith("models:/") or not _has_server():
        return ""
    with decoration(f"the links to {model}"):
        version = find_version(model)
        links = [f"[version {version.version} of {version.name}]({_page(_version_page(version))})"]
        if (run := run_of_version(version)) is not None:
            links.append(f"[the run that made it]({_page(f'experiments/{run.experiment_id}/runs/{run.run_id}')})")
        return f"\nIn MLflow: {', '.join(links)}.\n"
    return ""


def run_link(run_id: str | None) -> str:
    """A link to an MLflow run, as markdown; none where no server shows it."""
    if run_id is None or not _has_server():
        return ""
    with decoration(f"the link to the run {run_id}"):
        page = f"experiments/{mlflow_client().get_run(run_id).info.experiment_id}/runs/{run_id}"
        return f" ([run in MLflow]({_page(page)}))"
    return ""


def _version_page(version: RegisteredVersion) -> str:
    return f"models/{version.name}/versions/{version.version}"
