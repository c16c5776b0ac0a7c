"""Score models: any on text files, a champion on the held-out text of its corpus."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from charlm.artifacts import Workspace
from charlm.errors import CorpusError, SourceError
from charlm.evaluation.scores import ScoreValues
from charlm.storage.user_paths import user_path
from charlm.text.corpus.manifest import load_manifest
from tasks.registry.download import open_model
from tasks.registry.versions import CHAMPION, RegisteredVersion, find_version
from tasks.terminal import Bar, counted, terminal
from tasks.tracking.runs import group_run
from tasks.tracking.scores import log_champion_scores


def evaluate_model(workspace: Workspace, model: str, texts: Sequence[str]) -> dict[str, ScoreValues]:
    """The scores of each direction of `model` over all `texts` together.

    Raises ModelFileError or RegistryError for the model, SourceError or CorpusError for a text.
    """
    paths = [_checked(text) for text in texts]
    models = open_model(model, workspace).models
    from charlm.evaluation.language_model import score_file

    scores = {}
    for direction, language_model in models.items():
        with terminal.step(f"evaluate {direction}") as bar:
            total = None
            for number, path in enumerate(paths):
                score = score_file(language_model, path, on_progress=_shown(bar, path, number, len(paths)))
                total = score if total is None else total + score
            assert total is not None
            scores[direction] = total.to_json()
            bar.finish(f"{total.bits_per_character:.3f} bits per character")
    return scores


def _shown(bar: Bar, path: Path, number: int, of: int) -> Callable[[float], None]:
    """Shows how much is scored of all files, while the file with this number is."""

    def show(share: float) -> None:
        bar.update((number + share) / of, path.name)

    show(0.0)
    return show


@dataclass(frozen=True)
class ChampionScores:
    """Test scores of a champion by direction, then domain."""

    version: RegisteredVersion
    domains: dict[str, dict[str, ScoreValues]]


def evaluate_champion(workspace: Workspace, name: str) -> ChampionScores:
    """Score the champion of `name` on the test text of every domain of its corpus, and log that to MLflow.

    Raises RegistryError when there is no champion.
    """
    corpus = workspace.prepared_corpus(name, train_text=False)
    version = find_version(f"models:/{name}@{CHAMPION}")
    from charlm.evaluation.domains import score_domains

    domains = {}
    with terminal.step(f"evaluate {version.address}") as bar:
        for direction, model in open_model(version, workspace).models.items():
            bar.update(None, direction)
            domains[direction] = {domain: score.to_json() for domain, score in score_domains(model, corpus).items()}
        bar.finish(counted(len(next(iter(domains.values()))), "domain"))
    tags = {"model": version.address, "corpus.revision": str(load_manifest(corpus).revision)}
    with group_run(workspace, name, f"evaluation of version {version.version}", tags=tags) as run_id:
        log_champion_scores(run_id, domains)
    return ChampionScores(version, domains)


def _checked(text: str) -> Path:
    """The path of a text; a missing or empty one is an error before any model is loaded."""
    path = user_path(text)
    if not path.is_file():
        raise SourceError(f"there is no text file {text!r} to score")
    if path.stat().st_size == 0:
        raise CorpusError(f"{path} is empty; give a text to score")
    return path
