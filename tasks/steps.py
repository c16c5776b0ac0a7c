"""The steps of the flows as Prefect tasks: each unpacks, calls one function of this floor, and returns its result.

Nothing is retried, because nothing here is network work that may be repeated blindly; training goes on from its
checkpoint instead. Prefect's cache is off: the manifests know what is done.
"""

import time
from pathlib import Path

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from charlm.artifacts import CorpusFiles, Workspace
from charlm.config import DictionaryConfig, ReadConfig, SplitConfig
from charlm.promotion import GateReport
from tasks import corpus as corpora
from tasks import embedding, gate, pairs, training
from tasks.corpus import PreparedCorpus
from tasks.embedding import EmbeddedText, EmbeddedWord
from tasks.registry import RegisteredVersion
from tasks.reporting import artifact_key, publish_gate_report
from tasks.training import TrainedRun, TrainingRequest

_PROGRESS_SECONDS = 5.0


@task(task_run_name="split {name}", cache_policy=NO_CACHE)
def split_text(
    workspace: Workspace, raw: list[str], name: str, config: SplitConfig | None, reading: ReadConfig, domain: str | None
) -> CorpusFiles:
    """Cut raw text into train shards and held-out text."""
    return corpora.split_text(workspace, raw, name, config, reading, domain=domain)


@task(task_run_name="count {shard.name}", cache_policy=NO_CACHE)
def count_shard(corpus: CorpusFiles, shard: Path) -> bool:
    """Count the characters of one shard; false when that was done before."""
    return corpora.count_shard(corpus, shard)


@task(task_run_name="build dictionary", cache_policy=NO_CACHE)
def build_dictionary(corpus: CorpusFiles, config: DictionaryConfig | None, with_new_units: bool) -> int:
    """Merge the counts and choose the characters that get an id; the number of ids."""
    return corpora.build_dictionary(corpus, config, with_new_units=with_new_units)


@task(task_run_name="encode {split_name}", cache_policy=NO_CACHE)
def encode_split(corpus: CorpusFiles, split_name: str) -> bool:
    """Turn one text file of the corpus into ids; false when that was done before."""
    return corpora.encode_split(corpus, split_name)


@task(task_run_name="score dictionary", cache_policy=NO_CACHE)
def finish_corpus(corpus: CorpusFiles) -> PreparedCorpus:
    """Note the share of held-out text that the dictionary lacks."""
    return corpora.finish_corpus(corpus)


@task(task_run_name="train {request.training.recipe} {request.direction}", cache_policy=NO_CACHE)
def train_direction(workspace: Workspace, request: TrainingRequest, parent: str | None) -> TrainedRun:
    """Train one direction of one recipe, with a progress artifact."""
    artifact = create_progress_artifact(
        progress=0.0,
        key=artifact_key("training", request.corpus, request.training.recipe, request.direction),
        description=f"Training of the {request.direction} model of {request.corpus}",
    )
    last = time.monotonic()

    def show(share: float) -> None:
        nonlocal last
        if share == 1.0 or time.monotonic() - last >= _PROGRESS_SECONDS:
            last = time.monotonic()
            update_progress_artifact(artifact_id=artifact, progress=100 * share)  # type: ignore[arg-type]

    trained = training.train_direction(workspace, request, parent=parent, on_progress=show)
    show(1.0)
    return trained


@task(task_run_name="register {name}", cache_policy=NO_CACHE)
def register_pair(
    workspace: Workspace, name: str, runs: dict[str, TrainedRun], run_id: str | None
) -> RegisteredVersion:
    """Register the bundle of `runs` as challenger."""
    return pairs.register_pair(workspace, name, runs, run_id)


@task(task_run_name="gate {version.name} version {version.version}", cache_policy=NO_CACHE)
def pass_gate(workspace: Workspace, version: RegisteredVersion) -> GateReport:
    """Make the version champion if the gate says so, and publish its report."""
    report = gate.pass_gate(workspace, version)
    publish_gate_report(version, report)
    return report


@task(task_run_name="embed sentences with {address}", cache_policy=NO_CACHE)
def embed_sentences(workspace: Workspace, address: str, sentences: list[list[str]]) -> list[EmbeddedWord]:
    """Embed a few sentences with the models as downloaded from the registry."""
    return embedding.embed_words(workspace, address, sentences)


@task(task_run_name="embed {text}", cache_policy=NO_CACHE)
def embed_text(
    workspace: Workspace,
    model: str,
    text: str,
    output: Path,
    text_format: str | None,
    pooling: str,
    dtype: str,
    precision: str,
) -> EmbeddedText:
    """Write the embeddings of one text to a Parquet file."""
    return embedding.embed_text(
        workspace, model, text, output, text_format=text_format, pooling=pooling, dtype=dtype, precision=precision
    )
