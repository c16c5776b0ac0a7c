"""The flow that scores the champion of a corpus on its held-out text, domain by domain."""

from pathlib import Path

from flows.parameters import CorpusName
from flows.workspace_flow import flow
from tasks import steps
from tasks.inference.evaluation import ChampionScores
from tasks.services.session import use_workspace


def _closing(scores: ChampionScores) -> str:
    domains = dict.fromkeys(domain for found in scores.domains.values() for domain in found)
    return f"{scores.version.address} is scored on {', '.join(domains)}"


@flow(name="charlm-evaluate", flow_run_name="evaluate the champion of {name}", closing=_closing)
def evaluate_champion(name: CorpusName, workspace: Path = Path("workspace")) -> ChampionScores:
    """Score the champion on the test text of every domain, and log the scores to MLflow.

    Args:
        name: Name of the corpus, and of the registered model.
        workspace: Folder that holds everything a run leaves.
    """
    return steps.evaluate_champion(use_workspace(workspace), name)
