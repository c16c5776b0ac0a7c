"""Scores as MLflow metrics."""

import re
import time
from collections.abc import Mapping
from typing import Literal, get_args

from charlm.evaluation.scores import ScoreValues
from tasks.terminal import terminal
from tasks.tracking.client import first_line, mlflow_client

ScoreName = Literal["loss", "perplexity", "bits_per_character", "bits_per_byte", "unk_rate"]
SCORE_NAMES: tuple[ScoreName, ...] = get_args(ScoreName)


def log_scores(run_id: str | None, scores: Mapping[str, Mapping[str, ScoreValues]]) -> None:
    """Log `{direction: {split: {score: value}}}` as the metrics `forward.test.bits_per_byte` and so on."""
    _log_metrics(
        run_id,
        {
            f"{direction}.{split}.{name}": values[name]
            for direction, splits in scores.items()
            for split, values in splits.items()
            for name in SCORE_NAMES
        },
    )


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


def _log_metrics(run_id: str | None, values: Mapping[str, float | None]) -> None:
    """Log single values that there are to a run, if there is one; an MLflow that is away is a warning."""
    if run_id is None:
        return
    from mlflow.entities import Metric

    milliseconds = int(time.time() * 1000)
    try:
        mlflow_client().log_batch(
            run_id, [Metric(name, value, milliseconds, 0) for name, value in values.items() if value is not None]
        )
    except Exception as error:  # the run folders have them too
        terminal.print_line(f"! MLflow does not accept the scores: {first_line(error)}")


def _metric_name(text: str) -> str:
    """`text` with only the characters that MLflow allows in the name of a metric."""
    return re.sub(r"[^A-Za-z0-9_./ -]", "-", text)
