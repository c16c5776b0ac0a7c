"""The main flow: raw text goes in, a registered pair of language models comes out.

raw text -> shards -> counts -> dictionary -> encoded shards -> language models -> registry -> embeddings
"""

from dataclasses import replace
from pathlib import Path

from charlm.config import CorpusMetadata, DictionaryConfig, GateConfig, ReadConfig, SplitConfig, TrainingConfig
from charlm.recipes import demo
from flows.parameters import Count
from flows.prepare import prepare_corpus
from flows.task_runners import TaskRunnerName
from flows.workspace_flow import flow
from tasks import steps
from tasks.reporting import publish_report
from tasks.services.session import use_workspace
from tasks.steps import PrefectSteps
from tasks.training.pair import TrainedPair, train_pair
from tasks.training.parent_runs import log_results, pair_requests, pipeline_run

_SENTENCES = [["I", "love", "Berlin", "."], ["The", "grass", "is", "green", "."]]


@flow(name="charlm-pipeline", flow_run_name="language models of {name}")
def charlm_pipeline(
    raw: list[str],
    name: str,
    workspace: Path = Path("workspace"),
    split: SplitConfig | None = None,
    dictionary: DictionaryConfig | None = None,
    recipes: list[TrainingConfig] = [demo()],  # noqa: B006, B008  # never changed; the form in the UI shows it
    directions: list[str] = ["forward", "backward"],  # noqa: B006
    reading: ReadConfig = ReadConfig(),  # noqa: B008
    domain: str | None = None,
    extend_dictionary: bool = False,
    metadata: CorpusMetadata = CorpusMetadata(),  # noqa: B008
    task_runner: TaskRunnerName = "threads",
    resume: bool = False,
    register: bool = True,
    num_processes: Count = 1,
    gate: GateConfig = GateConfig(),  # noqa: B008
) -> TrainedPair:
    """Prepare a corpus, train every recipe in both directions, and register the best by validation score.

    Finished steps and finished runs of the same text and settings are reused.

    Args:
        raw: Files, folders, globs, fsspec addresses, or `hf:NAME[:SPLIT[:COLUMN]]`.
        name: Name of the corpus, and of the registered model.
        workspace: Folder that holds everything a run leaves.
        split: How text is split; by default as the corpus was first prepared.
        dictionary: Which characters get an id; by default likewise.
        recipes: Training settings to try.
        directions: `forward`, `backward`, or both.
        reading: How raw text is read.
        domain: Kind of text that this is; the corpus name by default.
        extend_dictionary: Give new characters ids at the end of the dictionary.
        metadata: Licence and languages for the model cards; by default as known.
        task_runner: Where the work on shards runs.
        resume: Continue unfinished runs of the same text and settings.
        register: Register the best pair and let it pass the gate.
        num_processes: Processes that train each model together, one per GPU where there are GPUs.
        gate: What the promotion gate requires.
    """
    space = use_workspace(workspace)
    prepare_corpus(raw, name, workspace, split, dictionary, reading, domain, extend_dictionary, metadata, task_runner)
    wanted = [pair_requests(name, directions, recipe, reuse=True, resume=resume) for recipe in recipes]
    with pipeline_run(space, name, wanted, tags={"charlm.flow": "charlm-pipeline"}) as above:
        pairs = [
            train_pair(
                space,
                name,
                directions,
                recipe,
                reuse=True,
                resume=resume,
                register=False,
                parent=above.run_id,
                num_processes=num_processes,
                steps=PrefectSteps(),
            )
            for recipe in recipes
        ]
        best = min(pairs, key=lambda pair: (pair.valid_bits_per_byte, pair.valid_loss))
        log_results(above, best.runs)
    decision = None
    if register:
        version = steps.register_pair(space, name, best.runs, best.mlflow_run)
        best = replace(best, version=version)
        decision = steps.pass_gate(space, version, gate)
        best = replace(best, promoted=decision.promoted)
        steps.embed_sentences(space, version.address, _SENTENCES)
    publish_report(name, pairs, best, decision)
    return best
