"""The steps of the flows as Prefect tasks: each unpacks, calls one function of this floor, and returns its result.

Only network work that is safe to repeat is retried; training resumes from its checkpoint instead. Prefect's cache is
off: the manifests record what is done.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import task, unmapped
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.sync import concurrency
from prefect.runtime import flow_run
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from charlm.artifacts import CorpusFiles, Workspace
from charlm.config import (
    BaselineConfig,
    CorpusMetadata,
    DictionaryConfig,
    DriftConfig,
    GateConfig,
    ReadConfig,
    ScoreBounds,
    SplitConfig,
)
from charlm.errors import decoration
from charlm.evaluation.gate_report import GateReport
from charlm.evaluation.scores import Baseline
from charlm.storage.atomic import JsonObject
from charlm.text.corpus.groups import Workers, in_groups, read_group
from charlm.text.corpus.measuring import measure_files
from charlm.text.corpus.text_files import FileBatch, TextFile, in_batches
from charlm.text.sources.raw import Source
from tasks.corpus import prepare as corpora
from tasks.corpus.prepare import PreparedCorpus
from tasks.corpus.steps import FileStep, ForEach, new_and_reused
from tasks.corpus.task_workers import TaskWorkers
from tasks.downstream import training as downstream
from tasks.downstream.training import DownstreamRequest, TrainedDownstreamModel
from tasks.inference import embedding, evaluation, filtering
from tasks.inference.embedding import EmbeddedText, EmbeddedWord
from tasks.inference.evaluation import ChampionScores
from tasks.inference.filtering import FilteredTexts
from tasks.promotion import gate
from tasks.promotion.approval import Answer, note_question, question_of
from tasks.promotion.events import MODEL_REFUSED, MODEL_WAITS, send_from_flow, send_promotion
from tasks.promotion.history import judged_versions, log_picture
from tasks.registry.download import OpenedModel
from tasks.registry.lineage import DomainScores
from tasks.registry.versions import RegisteredVersion
from tasks.reporting import (
    artifact_key,
    progress_artifact,
    publish_champion_scores,
    publish_gate_report,
    publish_plan,
    publish_versions,
)
from tasks.retraining import inbox
from tasks.retraining import plan as retraining
from tasks.retraining.arrivals import Arrival, arrivals_to_take
from tasks.retraining.events import arrivals_since, send_arrival
from tasks.retraining.inbox import InboxFile
from tasks.retraining.plan import RetrainingPlan
from tasks.runs import TrainedRun
from tasks.services.session import Session, has_lasting_prefect
from tasks.terminal import terminal
from tasks.training import baseline as baselines
from tasks.training import direction as training
from tasks.training import finetuning
from tasks.training import pair as pairs
from tasks.training.direction import TrainingRequest

GPU_LIMIT = "gpu"
"""The global concurrency limit of the trainings."""
# A retraining is scheduled a minute after its event. Text that the corpus holds is left out, so a longer time is safe.
_ARRIVALS_BEFORE_START = timedelta(minutes=5)
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


@task(task_run_name="split {name}", cache_policy=NO_CACHE)
def split_text(
    workspace: Workspace,
    raw: Sequence[str],
    name: str,
    config: SplitConfig | None,
    reading: ReadConfig,
    *,
    dictionary: DictionaryConfig | None,
    domain: str | None,
    metadata: CorpusMetadata,
    workers: Workers | None,
) -> CorpusFiles:
    """Cut raw text into train shards and held-out text."""
    return corpora.split_text(
        workspace, raw, name, config, reading, dictionary=dictionary, domain=domain, metadata=metadata, workers=workers
    )


@task(task_run_name="count {batch.title}", cache_policy=NO_CACHE)
def count_shards(corpus: CorpusFiles, batch: FileBatch, split: SplitConfig) -> list[bool]:
    """Count the units of some shards; false for each that was counted before."""
    return corpora.count_shards(corpus, batch, split)


@task(task_run_name="build dictionary", cache_policy=NO_CACHE)
def build_dictionary(corpus: CorpusFiles, config: DictionaryConfig | None, *, with_new_units: bool) -> int:
    """Merge the counts and choose the units that get an id; the number of ids."""
    return corpora.build_dictionary(corpus, config, with_new_units=with_new_units)


@task(task_run_name="encode {batch.title}", cache_policy=NO_CACHE)
def encode_texts(corpus: CorpusFiles, batch: FileBatch, dictionary_fingerprint: str) -> list[bool]:
    """Turn some text files of the corpus into ids; false for each that was encoded before."""
    return corpora.encode_texts(corpus, batch, dictionary_fingerprint)


@task(task_run_name="score dictionary", cache_policy=NO_CACHE)
def finish_corpus(corpus: CorpusFiles) -> PreparedCorpus:
    """Record the share of held-out text that the dictionary lacks."""
    return corpora.finish_corpus(corpus)


@task(task_run_name="train {request.training.recipe} {request.direction}", cache_policy=NO_CACHE)
def train_direction(workspace: Workspace, request: TrainingRequest, *, parent: str | None) -> TrainedRun:
    """Train one direction of one recipe, with a progress artifact."""
    show = progress_artifact(
        artifact_key("training", request.corpus, request.training.recipe, request.direction),
        f"Training of the {request.direction} model of {request.corpus}",
        run_id=parent,
    )
    trained = training.train_direction(workspace, request, parent=parent, on_progress=show, gpu_slot=_gpu_slot())
    show(1.0)
    return trained


@task(task_run_name="train {request.task} {request.name}", cache_policy=NO_CACHE)
def train_downstream(workspace: Workspace, request: DownstreamRequest) -> TrainedDownstreamModel:
    """Train a tagger or classifier on language models and register it."""
    return downstream.train_downstream(workspace, request, resume=True, gpu_slot=_gpu_slot())


def _gpu_slot() -> AbstractContextManager[None] | None:
    """One of the slots of the limit `gpu`, where a server counts them.

    The limit counts; CUDA_VISIBLE_DEVICES chooses the device of a worker. A server without such a limit is an error,
    as trainings would share a GPU unknowingly; one that is away for a while does not end a training.
    """
    if not has_lasting_prefect():
        return None
    return concurrency(GPU_LIMIT, occupy=1, strict=True, raise_on_lease_renewal_failure=False)


@task(task_run_name="score every domain before and after", cache_policy=NO_CACHE)
def score_before_and_after(
    workspace: Workspace, name: str, opened: OpenedModel, runs: Mapping[str, TrainedRun], run_id: str | None
) -> DomainScores:
    """Score a model and its continuation on every domain."""
    return finetuning.score_before_and_after(workspace, name, opened, runs, run_id)


@task(task_run_name="register {name}", cache_policy=NO_CACHE)
def register_pair(
    workspace: Workspace,
    name: str,
    runs: Mapping[str, TrainedRun],
    run_id: str | None,
    *,
    parent: RegisteredVersion | None = None,
    domains: DomainScores | None = None,
) -> RegisteredVersion:
    """Register the bundle of `runs` as challenger."""
    return pairs.register_pair(workspace, name, runs, run_id, parent=parent, domains=domains)


@task(task_run_name="n-gram model of {name}", cache_policy=NO_CACHE)
def log_baseline(workspace: Workspace, name: str, run_id: str | None, config: BaselineConfig) -> Baseline | None:
    """Train and score the n-gram model that a pair is compared with."""
    return baselines.log_baseline(workspace, name, run_id, config)


@task(task_run_name="gate {version.name} version {version.version}", cache_policy=NO_CACHE)
def pass_gate(
    workspace: Workspace,
    version: RegisteredVersion,
    config: GateConfig | None = None,
    target: str | None = None,
    *,
    anew: bool = False,
    answer: Answer | None = None,
) -> GateReport:
    """Make the version champion if the gate promotes it, publish the report, and send the event of the decision."""
    verdict = gate.pass_gate(workspace, version, config=config, target=target, anew=anew, answer=answer)
    report = verdict.report
    if report.promoted:
        send_promotion(version, verdict.champion, report.reason)
    elif report.decision == "refused" and verdict.is_new:
        send_from_flow(MODEL_REFUSED, version, report.reason)
    publish_gate_report(version, report)
    with decoration("the scores of all versions"):
        if judged := judged_versions(version.name):
            publish_versions(version.name, judged, log_picture(version, judged))
    return report


@task(task_run_name="ask about {version.name} version {version.version}", cache_policy=NO_CACHE)
def ask_for_approval(version: RegisteredVersion, report: GateReport) -> None:
    """Note that this flow run asks about the version, and send the event of that, once."""
    if note_question(version, str(flow_run.id)):
        send_from_flow(MODEL_WAITS, version, report.reason)


@task(task_run_name="what was asked about {name}", cache_policy=NO_CACHE)
def version_in_question(name: str) -> RegisteredVersion | None:
    """The version that this flow run has asked about before it was suspended."""
    return question_of(name, str(flow_run.id))


@task(task_run_name="roll back {name}", cache_policy=NO_CACHE)
def roll_back(workspace: Workspace, name: str) -> gate.Rollback:
    """Make the version champion again that the champion has replaced, and send the event of a promotion."""
    done = gate.roll_back(workspace, name)
    send_promotion(done.champion, done.replaced, "rolled back")
    return done


@task(task_run_name="gather new text of {own.corpus}", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=5)
def gather_arrivals(workspace: Workspace, own: Arrival) -> list[Arrival]:
    """The text that this run takes in: its own, and what has arrived at the server since the run was scheduled."""
    others: list[Arrival] = []
    if has_lasting_prefect():
        others = arrivals_since(own.corpus, flow_run.scheduled_start_time - _ARRIVALS_BEFORE_START)
    return arrivals_to_take(workspace.corpus(own.corpus), own, others)


@task(task_run_name="decide about {name}", cache_policy=NO_CACHE)
def plan_retraining(
    workspace: Workspace, name: str, settings: JsonObject, drift: DriftConfig, digests: list[str]
) -> RetrainingPlan:
    """Measure drift, decide what to do about the text of a corpus, and publish the reason."""
    plan = retraining.plan_retraining(workspace, name, settings, drift, digests=digests)
    publish_plan(name, plan)
    return plan


@task(task_run_name="sign {version.name} version {version.version}", cache_policy=NO_CACHE)
def sign_version(version: RegisteredVersion, plan: RetrainingPlan) -> None:
    """Record in the tags of the version why it was trained, and by which flow run."""
    retraining.sign_version(version, plan, flow_run=flow_run.id)


@task(task_run_name="evaluate the champion of {name}", cache_policy=NO_CACHE)
def evaluate_champion(workspace: Workspace, name: str) -> ChampionScores:
    """Score the champion on every domain of its corpus, and publish the scores."""
    scores = evaluation.evaluate_champion(workspace, name)
    publish_champion_scores(scores)
    return scores


@task(task_run_name="embed sentences with {address}", cache_policy=NO_CACHE)
def embed_sentences(workspace: Workspace, address: str, sentences: list[list[str]]) -> list[EmbeddedWord]:
    """Embed a few sentences with the models as downloaded from the registry."""
    return embedding.embed_words(workspace, address, sentences)


@task(task_run_name="embed {text}", cache_policy=NO_CACHE)
def embed_text(
    workspace: Workspace,
    opened: OpenedModel,
    text: str,
    output: Path,
    text_format: str | None,
    pooling: str,
    dtype: str,
    precision: str,
    encoding: str,
    header: bool | None,
    tokenizer: str | None,
) -> EmbeddedText:
    """Write the embeddings of one text to a Parquet file."""
    return embedding.embed_text(
        workspace,
        opened,
        text,
        output,
        text_format=text_format,
        pooling=pooling,
        dtype=dtype,
        precision=precision,
        encoding=encoding,
        header=header,
        tokenizer=tokenizer,
    )


@task(task_run_name="filter with {model}", cache_policy=NO_CACHE)
def filter_texts(
    workspace: Workspace,
    model: str,
    texts: list[str],
    output: Path,
    left_out: Path | None,
    bounds: ScoreBounds,
    per: str,
    reading: ReadConfig,
) -> FilteredTexts:
    """Write what is kept of texts, and what is left out."""
    return filtering.filter_texts(
        workspace, model, texts, output, bounds=bounds, left_out=left_out, per=per, reading=reading
    )


@task(task_run_name="scan {folder}", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=5)
def scan_inbox(folder: str) -> list[InboxFile]:
    """The files in the inbox."""
    return inbox.scan(folder)


@task(task_run_name="announce new text", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=5)
def announce_arrivals(workspace: Workspace, files: list[InboxFile]) -> list[Arrival]:
    """Send an event for new text, once for every content."""
    return inbox.announce_arrivals(workspace, files, send_arrival)


# ---- how the flows run the steps that the commands call ------------------------------------------------------------

_TASKS: dict[Callable[..., Any], Any] = {
    corpora.split_text: split_text,
    read_group: task(task_run_name="read {request.title}", cache_policy=NO_CACHE)(read_group),
    measure_files: task(task_run_name="measure {files.title}", cache_policy=NO_CACHE)(measure_files),
    corpora.count_shards: count_shards,
    corpora.build_dictionary: build_dictionary,
    corpora.encode_texts: encode_texts,
    corpora.finish_corpus: finish_corpus,
    pairs.register_pair: register_pair,
    finetuning.score_before_and_after: score_before_and_after,
    baselines.log_baseline: log_baseline,
}
"""The task of each step."""


class PrefectSteps:
    """Runs the steps of a training or a preparation as tasks of the present flow run."""

    def __init__(self, open_task_runner: "Callable[[], AbstractContextManager[TaskRunner[Any]]] | None" = None) -> None:
        """`open_task_runner` makes the workers for the files of a corpus; trainings need none."""
        self._open_task_runner = open_task_runner

    def call(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        prefect_task: Callable[P, R] = _TASKS[step]
        return prefect_task(*args, **kwargs)

    def train_directions(
        self, workspace: Workspace, requests: Sequence[TrainingRequest], *, parent: str | None
    ) -> dict[str, TrainedRun]:
        """All directions at once; a flow that is cancelled ends them with a checkpoint."""
        with Session.of(workspace).trainings.stopping_on_cancellation():
            trainings = [train_direction.submit(workspace, request, parent=parent) for request in requests]
            return {run.direction: run for run in (training.result() for training in trainings)}

    @contextmanager
    def readers(self, sources: Sequence[Source]) -> Iterator[Workers | None]:
        assert self._open_task_runner is not None, "a preparation needs a task runner"
        if len(in_groups(sources)) <= 1:
            yield None
            return
        with self._open_task_runner() as runner:
            # Threads would share the interpreter of the one that waits for them.
            yield None if isinstance(runner, ThreadPoolTaskRunner) else TaskWorkers(runner.submit, _TASKS)

    @contextmanager
    def workers(self, corpus: CorpusFiles) -> Iterator[ForEach]:
        assert self._open_task_runner is not None, "a preparation needs a task runner"
        with self._open_task_runner() as runner:

            def for_each(title: str, step: FileStep[T], files: Sequence[TextFile], setting: T) -> None:
                names = inspect.signature(step).parameters
                values = (unmapped(corpus), in_batches(files), unmapped(setting))
                results = runner.map(_TASKS[step], dict(zip(names, values, strict=True))).result()
                terminal.print_line(f"✓ {title}: {new_and_reused([*chain.from_iterable(results)])}")

            yield for_each
