"""The flow that prepares a corpus: split, count, dictionary, encode, with the work on shards mapped.

raw text -> shards -> counts -> dictionary -> encoded shards
"""

from pathlib import Path
from typing import Any

from prefect import Task, flow, unmapped
from prefect.task_runners import TaskRunner

from charlm.artifacts import Workspace
from charlm.config import DictionaryConfig, ReadConfig, SplitConfig
from flows.task_runners import TaskRunnerName, open_task_runner
from tasks import steps
from tasks.corpus.prepare import PreparedCorpus, encoded_names, say_done
from tasks.services.workspace import use_workspace


@flow(name="charlm-prepare", flow_run_name="corpus {name}")
def prepare_corpus(
    raw: list[str],
    name: str,
    workspace: Path = Path("workspace"),
    split: SplitConfig | None = None,
    dictionary: DictionaryConfig | None = None,
    reading: ReadConfig = ReadConfig(),  # noqa: B008  # never changed; the form in the UI shows it
    domain: str | None = None,
    extend_dictionary: bool = False,
    task_runner: TaskRunnerName = "threads",
) -> PreparedCorpus:
    """Bring raw text into a corpus; what is done already is not done again, whatever ended the run that did it.

    Args:
        raw: Files, folders, globs, fsspec addresses, or `hf:NAME[:SPLIT[:COLUMN]]`.
        name: Name of the corpus.
        workspace: Folder that holds everything a run leaves; workers on other machines must reach it.
        split: How text is cut; by default as the corpus was first prepared.
        dictionary: Which characters get an id; by default likewise.
        reading: How raw text is read.
        domain: Kind of text that this is; the corpus name by default.
        extend_dictionary: Give characters of new text ids behind the old ones.
        task_runner: What the work on shards is spread over.
    """
    space = use_workspace(workspace)
    steps.split_text(space, raw, name, split, dictionary, reading, domain)
    return finish_corpus(space, name, dictionary, extend_dictionary=extend_dictionary, task_runner=task_runner)


def finish_corpus(
    workspace: Workspace,
    name: str,
    dictionary: DictionaryConfig | None = None,
    *,
    extend_dictionary: bool,
    task_runner: TaskRunnerName = "threads",
) -> PreparedCorpus:
    """Count, dictionary and encode for a corpus that is split."""
    corpus = workspace.corpus(name)
    with open_task_runner(task_runner) as runner:
        say_done("count characters", _map(runner, steps.count_shard, corpus=unmapped(corpus), shard=corpus.shards()))
        steps.build_dictionary(corpus, dictionary, extend_dictionary)
        names = encoded_names(corpus)
        say_done("encode", _map(runner, steps.encode_split, corpus=unmapped(corpus), split_name=names))
    return steps.finish_corpus(corpus)


def _map(runner: TaskRunner[Any], task: Task[..., Any], **parameters: Any) -> list[bool]:
    """The results of `task` for every shard, in their order; raises the first error."""
    results: list[bool] = runner.map(task, parameters).result()
    return results
