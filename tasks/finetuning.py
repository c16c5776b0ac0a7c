"""Continue a registered or stored pair on another corpus, and say what that did to each domain."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.artifacts import BundleFiles, CorpusFiles, RunFiles, Workspace, read_json
from charlm.config import TrainingConfig
from charlm.errors import ConfigError, ModelFileError
from charlm.trainers.manifest import RunManifest
from tasks.display import terminal
from tasks.pairs import TrainedPair, pair_tags, register_pair
from tasks.registry import find_version, resolve_model
from tasks.tracking import group_run, log_domain_scores, log_scores
from tasks.training import TrainedRun, TrainingRequest, scores_of, threads_for, train_directions

DomainScores = dict[str, dict[str, dict[str, dict[str, float]]]]
"""Scores by direction, domain, and `before` or `after`."""


@dataclass(frozen=True, kw_only=True)
class FinetunedPair:
    """A pair that continues another one, and its test scores on every domain before and after."""

    pair: TrainedPair
    domains: DomainScores

    def to_json(self) -> dict[str, Any]:
        return {**self.pair.to_json(), "domains": self.domains}


def finetune_pair(
    workspace: Workspace,
    name: str,
    model: str,
    directions: Sequence[str],
    training: TrainingConfig,
    *,
    extend_dictionary: bool,
    resume: bool,
    register: bool,
) -> FinetunedPair:
    """Continue `model` on the corpus `name` and register the result as challenger of `name`.

    Directions and dictionary are the model's; no `directions` stand for all that it has. The corpus that the model came
    from is scored too where this workspace holds it. Raises ConfigError where corpus and model do not fit.
    """
    from charlm.models.language_model import load_language_models
    from charlm.trainers.finetuning import adapted, initial_model

    corpus = workspace.prepared_corpus(name)
    path = resolve_model(model, workspace)
    models = load_language_models(path)
    missing = [direction for direction in directions if direction not in models]
    if missing:
        raise ConfigError(f"{model} has no {missing[0]} direction to continue, only {' and '.join(models)}")
    origin = _origin(workspace, path)
    chosen = [direction for direction in models if not directions or direction in directions]
    with tempfile.TemporaryDirectory(prefix="charlm-initial-") as folder:
        requests = []
        for direction in chosen:
            initial = initial_model(models[direction], corpus, extend_dictionary=extend_dictionary)
            initial.save(Path(folder) / f"{direction}.pt")
            requests.append(
                TrainingRequest(
                    corpus=name,
                    direction=direction,
                    training=adapted(training, initial),
                    initial_model=Path(folder) / f"{direction}.pt",
                    resume=resume,
                    num_threads=threads_for(len(chosen)),
                )
            )
        with group_run(workspace, name, training.recipe, tags=pair_tags(workspace, name, training)) as run_id:
            runs = train_directions(workspace, requests, parent=run_id)
            log_scores(run_id, scores_of(runs))
            domains = _score_before_and_after(corpus, origin, models, runs)
            log_domain_scores(run_id, domains)
            version = None
            if register:
                parent = _parent_version(model, name)
                version = register_pair(workspace, name, runs, run_id, parent_version=parent)
    return FinetunedPair(pair=TrainedPair(runs=runs, mlflow_run=run_id, version=version), domains=domains)


def _score_before_and_after(
    corpus: CorpusFiles, origin: CorpusFiles | None, models: Mapping[str, Any], runs: Mapping[str, TrainedRun]
) -> DomainScores:
    from charlm.models.language_model import LanguageModel
    from charlm.trainers.finetuning import score_domains

    corpora = [corpus] if origin is None or origin == corpus else [corpus, origin]
    scores: DomainScores = {}
    with terminal.step("score every domain before and after") as bar:
        for direction, run in runs.items():
            tuned = LanguageModel.load_language_model(run.files.best_lm)
            for scored in corpora:
                before, after = score_domains(models[direction], scored), score_domains(tuned, scored)
                for domain in before:
                    label = domain if scored is corpus or domain == scored.name else f"{scored.name}:{domain}"
                    scores.setdefault(direction, {})[label] = {
                        "before": before[domain].to_json(),
                        "after": after[domain].to_json(),
                    }
        bar.finish(f"{sum(len(domains) for domains in scores.values())} scores")
    return scores


def _origin(workspace: Workspace, path: Path) -> CorpusFiles | None:
    """The corpus that a bundle or a run was trained on; none for a lone file, or where this workspace lacks it."""
    manifest = BundleFiles(path).manifest
    if manifest.is_file():
        corpus = read_json(manifest).get("corpus", {})
    else:
        run = RunFiles(path if path.is_dir() else path.parent)
        manifest, corpus = run.manifest, RunManifest.load(run).corpus if run.manifest.is_file() else {}
    if not corpus:
        return None
    try:
        origin = workspace.corpus(corpus["name"])
    except (KeyError, TypeError, ConfigError) as error:
        raise ModelFileError(f"{manifest} does not say which corpus its models were trained on") from error
    return origin if origin.manifest.is_file() else None


def _parent_version(model: str, name: str) -> str | None:
    """The version that is continued: `3`, or `general/3` where it is another registered model's."""
    if not model.startswith("models:"):
        return None
    parent = find_version(model)
    return str(parent.version) if parent.name == name else f"{parent.name}/{parent.version}"
