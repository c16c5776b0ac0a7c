"""The n-gram model beside a pair: trained and scored on the same corpus, so that every report shows what to beat.

corpus --> n-gram model --> scores
"""

from charlm.artifacts import Workspace
from charlm.config import BaselineConfig
from charlm.errors import decoration
from charlm.evaluation.scores import Baseline
from tasks.terminal import shown_score, terminal
from tasks.tracking.scores import log_scores


def train_baseline(workspace: Workspace, name: str, config: BaselineConfig | None = None) -> Baseline:
    """The scores of the n-gram model of the corpus `name`; a model of the same text and settings is reused."""
    from charlm.evaluation.baseline import score_baseline

    corpus = workspace.prepared_corpus(name, train_text=False)
    with terminal.step("n-gram model") as bar:
        baseline = score_baseline(corpus, config)
        part = "" if baseline.share == 1 else f", of {baseline.share:.1%} of the training text"
        shown = shown_score("bits_per_byte", baseline.test["bits_per_byte"])
        bar.finish(f"{shown} bits per byte on test, perplexity {baseline.test['perplexity']:.2f}{part}")
    return baseline


def log_baseline(workspace: Workspace, name: str, run_id: str | None, config: BaselineConfig) -> Baseline | None:
    """Train and score the n-gram model of a corpus, and log it to the MLflow run of a pair; none where that failed."""
    baseline = None
    with decoration("the n-gram model that the pair is compared with"):
        baseline = train_baseline(workspace, name, config)
        log_scores(run_id, {"baseline": {"valid": baseline.valid, "test": baseline.test}})
    return baseline
