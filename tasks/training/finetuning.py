"""Continue a registered or stored pair on another corpus, and score every domain before and after.

model, corpus --> language models --> scores before and after --> registry
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.artifacts import BundleFiles, CorpusFiles, RunFiles, Workspace, check_name
from charlm.config import ARCHITECTURE, ONE_NODE, BaselineConfig, DictionaryChange, NodesConfig, TrainingConfig
from charlm.errors import ConfigError, ModelFileError
from charlm.recipes import find_recipe
from charlm.storage.atomic import read_json
from charlm.text.corpus.manifest import load_manifest
from charlm.trainers.lm.manifest import RunManifest
from tasks.registry.download import OpenedModel, open_model
from tasks.registry.lineage import DomainScores
from tasks.runs import TrainedRun
from tasks.terminal import terminal
from tasks.tracking.scores import log_domain_scores
from tasks.training.baseline import log_baseline
from tasks.training.direction import TrainingRequest, threads_for
from tasks.training.pair import TrainedPair, TrainedPairJson, register_pair
from tasks.training.parent_runs import log_pair, pair_run
from tasks.training.steps import CALLED_HERE, TrainingSteps

if TYPE_CHECKING:
    from charlm.language_models.language_model import LanguageModel


class FinetunedPairJson(TrainedPairJson):
    """What `charlm finetune --json` shows."""

    domains: DomainScores


@dataclass(frozen=True, kw_only=True)
class FinetunedPair:
    """A pair that continues another one, and its test scores on every domain before and after."""

    pair: TrainedPair
    domains: DomainScores

    def to_json(self) -> FinetunedPairJson:
        return {**self.pair.to_json(), "domains": self.domains}


def finetune_pair(
    workspace: Workspace,
    name: str,
    model: str,
    directions: Sequence[str],
    training: TrainingConfig,
    *,
    change: DictionaryChange,
    reuse: bool = False,
    resume: bool,
    register: bool,
    num_processes: int = 1,
    nodes: NodesConfig = ONE_NODE,
    steps: TrainingSteps = CALLED_HERE,
) -> FinetunedPair:
    """Continue `model` on the corpus `name` and register the result as challenger of `name`.

    Directions and dictionary are the model's; without `directions`, all that it has are continued. The corpus that the
    model was trained on is scored too where this workspace holds it. `reuse` and `resume` are those of `train_pair`.
    Raises ConfigError where corpus and model do not fit.
    """
    workspace.prepared_corpus(name)  # or an error, before anything is downloaded
    opened = open_model(model, workspace)  # once: training, scores and lineage are of the same version
    with (
        finetuning_requests(
            workspace,
            name,
            opened,
            directions,
            training,
            change=change,
            reuse=reuse,
            resume=resume,
            num_processes=num_processes,
            nodes=nodes,
        ) as requests,
        pair_run(workspace, name, training, requests) as above,
    ):
        run_id = above.run_id
        runs = steps.train_directions(workspace, requests, parent=run_id)
        log_pair(above, runs)
        compared = BaselineConfig.beside(training.max_minutes)
        baseline = steps.call(log_baseline, workspace, name, None if above.is_known else run_id, compared)
        domains = steps.call(score_before_and_after, workspace, name, opened, runs, None if above.is_known else run_id)
        version = None
        if register:
            version = steps.call(register_pair, workspace, name, runs, run_id, parent=opened.version, domains=domains)
    return FinetunedPair(
        pair=TrainedPair(runs=runs, mlflow_run=run_id, version=version, baseline=baseline), domains=domains
    )


@contextmanager
def finetuning_requests(
    workspace: Workspace,
    name: str,
    opened: OpenedModel,
    directions: Sequence[str],
    training: TrainingConfig,
    *,
    change: DictionaryChange,
    reuse: bool,
    resume: bool,
    num_processes: int,
    nodes: NodesConfig,
) -> Iterator[list[TrainingRequest]]:
    """A training for each direction, which continues `opened` on the corpus `name`; start them inside the block.

    Raises ConfigError where corpus and model do not fit, or `training` has another architecture than the model.
    """
    from charlm.trainers.lm.finetuning import adapted

    corpus = workspace.prepared_corpus(name)
    models = opened.models
    missing = [direction for direction in directions if direction not in models]
    if missing:
        raise ConfigError(f"{opened.name} has no {missing[0]} direction to continue, only {' and '.join(models)}")
    chosen = [direction for direction in models if not directions or direction in directions]
    for direction in chosen:
        _check_architecture(training, adapted(training, models[direction]), opened.name)
    origin = _origin(opened.path)
    with tempfile.TemporaryDirectory(prefix="charlm-initial-") as folder:
        requests = []
        for direction in chosen:
            initial = _initial_model(models[direction], corpus, change)
            initial.save(Path(folder) / f"{direction}.pt")
            requests.append(
                TrainingRequest(
                    corpus=name,
                    direction=direction,
                    training=adapted(training, initial),
                    initial_model=Path(folder) / f"{direction}.pt",
                    known_revision=_known_revision(corpus, origin),
                    reuse=reuse,
                    resume=resume,
                    num_threads=threads_for(1 if nodes.num_nodes > 1 else len(chosen)),
                    num_processes=num_processes,
                    nodes=nodes,
                )
            )
        yield requests


def _initial_model(model: "LanguageModel", corpus: CorpusFiles, change: DictionaryChange) -> "LanguageModel":
    """What the training of one direction starts from; a line reports how its dictionary has changed."""
    from charlm.trainers.lm.finetuning import initial_model

    if change.kind == "keep":
        return initial_model(model, corpus, change).model
    with terminal.step(f"{change.kind} the dictionary of the {model.direction} model") as bar:
        initial = initial_model(model, corpus, change)
        note = f"{len(initial.model.dictionary):,} items, of which {initial.new:,} are new"
        if change.vectors is not None:
            note += f" and {initial.from_vectors:,} of these start at their vectors"
        bar.finish(note)
    return initial.model


def _check_architecture(training: TrainingConfig, kept: TrainingConfig, model: str) -> None:
    recipe = find_recipe(training.recipe)
    for name in ARCHITECTURE:
        given, own = getattr(training, name), getattr(kept, name)
        if given not in (own, getattr(recipe, name)):  # the recipe's own value was not given by the user
            raise ConfigError(f"fine-tuning keeps the architecture of {model}, whose {name} is {own}; got {given}")


def score_before_and_after(
    workspace: Workspace, name: str, opened: OpenedModel, runs: Mapping[str, TrainedRun], run_id: str | None
) -> DomainScores:
    """The test scores of `opened` and of what `runs` made of it, on every domain of both corpora, logged to a run."""
    from charlm.evaluation.domains import score_domains

    corpus = workspace.prepared_corpus(name)
    corpora = [corpus]
    if (origin := _origin(opened.path)) and origin.name != name and workspace.corpus(origin.name).manifest.is_file():
        corpora.append(workspace.corpus(origin.name))
    scores: DomainScores = {}
    with terminal.step("score every domain before and after") as bar:
        for direction, run in runs.items():
            tuned = open_model(str(run.files.best_lm), workspace).models[direction]
            for scored in corpora:
                before, after = score_domains(opened.models[direction], scored), score_domains(tuned, scored)
                for domain in before:
                    label = domain if scored is corpus or domain == scored.name else f"{scored.name}:{domain}"
                    scores.setdefault(direction, {})[label] = {
                        "before": before[domain].to_json(),
                        "after": after[domain].to_json(),
                    }
        bar.finish(f"{sum(len(domains) for domains in scores.values())} scores")
    log_domain_scores(run_id, scores)
    return scores


@dataclass(frozen=True)
class _Origin:
    """The corpus that a model was trained on."""

    name: str
    revision: int


def _origin(path: Path) -> _Origin | None:
    """The corpus that a bundle or a run was trained on; none for a lone file."""
    manifest = BundleFiles(path).manifest
    if manifest.is_file():
        corpus = read_json(manifest, remedy="restore it, or fetch the bundle again", error=ModelFileError).get(
            "corpus", {}
        )
    else:
        run = RunFiles(path if path.is_dir() else path.parent)
        manifest, corpus = run.manifest, RunManifest.load(run).corpus if run.manifest.is_file() else {}
    if not corpus:
        return None
    try:
        return _Origin(check_name(corpus["name"]), int(corpus["revision"]))
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise ModelFileError(f"{manifest} does not say which corpus its models were trained on") from error


def _known_revision(corpus: CorpusFiles, origin: _Origin | None) -> int | None:
    """The revision of `corpus` that the model was trained on, if that is an older one of this corpus."""
    if origin is None or origin.name != corpus.name or origin.revision >= load_manifest(corpus).revision:
        return None
    return origin.revision
