"""Scores as MLflow metrics."""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from charlm.evaluation.scores import ScoreValues
from tasks.terminal import terminal
from tasks.tracking.client import first_line, mlflow_client

ScoreName = Literal["loss", "perplexity", "bits_per_character", "bits_per_byte", "unk_rate"]
_MAX_BATCH = 1000  # values that MLflow takes in one call
SCORE_NAMES: tuple[ScoreName, ...] = get_args(ScoreName)


Curve = Sequence[tuple[float, int, float]]
"""Time in seconds, step and value of the points of a metric."""


def log_scores(
    run_id: str | None,
    scores: Mapping[str, Mapping[str, ScoreValues]],
    curves: Mapping[str, Curve] | None = None,
) -> None:
    """Log `{direction: {split: {score: value}}}` as the metrics `forward.test.bits_per_byte` and so on.

    `curves` are the bits per byte at the validations of each direction; the score on validation text follows them.
    """
    _log_metrics(
        run_id,
        {
            f"{direction}.{split}.{name}": values[name]
            for direction, splits in scores.items()
            for split, values in splits.items()
            for name in SCORE_NAMES
        },
        {f"{direction}.valid.bits_per_byte": curve for direction, curve in (curves or {}).items()},
    )


def log_means(run_id: str, values: Mapping[str, float]) -> None:
    """Log single values to a run, under the names that the runs below it have."""
    _log_metrics(run_id, values)


def log_domain_scores(run_id: str | None, scores: Mapping[str, Mapping[str, Mapping[str, ScoreValues]]]) -> None:
    """Log test scores by direction, domain, and `before` or `after` a fine-tuning."""
    _log_metrics(
        run_id,
        {
            f"{direction}.domain.{_metric_name(domain)}.{moment}.{name}": values[name]
            for direction, domains in scores.items()
            for domain, moments in domains.items()
            for moment, values in moments.items()
            for name in SCORE_NAMES
        },
    )


def log_champion_scores(run_id: str | None, scores: Mapping[str, Mapping[str, ScoreValues]]) -> None:
    """Log test scores by direction and domain, as the metrics `forward.domain.NAME.bits_per_byte` and so on."""
    _log_metrics(
        run_id,
        {
            f"{direction}.domain.{_metric_name(domain)}.{name}": values[name]
            for direction, domains in scores.items()
            for domain, values in domains.items()
            for name in SCORE_NAMES
        },
    )


def _log_metrics(
    run_id: str | None, values: Mapping[str, float | None], curves: Mapping[str, Curve] | None = None
) -> None:
    """Log the values that there are to a run, if there is one, each after its curve; a missing MLflow is a warning."""
    if run_id is None:
        return
    from mlflow.entities import Metric

    milliseconds = int(time.time() * 1000)
    curves = curves or {}
    points = [
        Metric(name, value, int(1000 * time), step) for name, curve in curves.items() for time, step, value in curve
    ]
    last_steps = {name: curve[-1][1] + 1 for name, curve in curves.items() if curve}
    points += [
        Metric(name, value, milliseconds, last_steps.get(name, 0))
        for name, value in values.items()
        if value is not None
    ]
    try:
        for start in range(0, len(points), _MAX_BATCH):
            mlflow_client().log_batch(run_id, points[start : start + _MAX_BATCH])
    except Exception as error:  # the run folders have them too
        terminal.print_line(f"! MLflow does not accept the scores: {first_line(error)}")


def _metric_name(text: str) -> str:
    """`text` with only the characters that MLflow allows in the name of a metric."""
    return re.sub(r"[^A-Za-z0-9_./ -]", "-", text)
