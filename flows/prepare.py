"""The flow that prepares a corpus: split, count, dictionary, encode, with the work on shards mapped.

raw text -> shards -> counts -> dictionary -> encoded shards
"""

from functools import partial
from pathlib import Path

from charlm.config import CorpusMetadata, DictionaryConfig, ReadConfig, SplitConfig
from flows.task_runners import TaskRunnerName, check_workers_reach, open_task_runner
from flows.workspace_flow import flow
from tasks.corpus import prepare as corpora
from tasks.corpus.prepare import PreparedCorpus
from tasks.services.session import use_workspace
from tasks.steps import PrefectSteps


def _closing(corpus: PreparedCorpus) -> str:
    known = corpus.manifest
    return (
        f"{corpus.files.root.name} is at revision {known.revision}: {known.documents:,} documents,"
        f" {known.characters:,} characters"
    )


@flow(name="charlm-prepare", flow_run_name="corpus {name}", closing=_closing)
def prepare_corpus(
    raw: list[str],
    name: str,
    workspace: Path = Path("workspace"),
    split: SplitConfig | None = None,
    dictionary: DictionaryConfig | None = None,
    reading: ReadConfig = ReadConfig(),  # noqa: B008  # never changed; the form in the UI shows it
    domain: str | None = None,
    extend_dictionary: bool = False,
    metadata: CorpusMetadata = CorpusMetadata(),  # noqa: B008
    task_runner: TaskRunnerName = "threads",
) -> PreparedCorpus:
    """Bring raw text into a corpus; steps that an earlier run has finished are not repeated.

    Args:
        raw: Files, folders, globs, fsspec addresses, or `hf:NAME[:SPLIT[:COLUMN]]`.
        name: Name of the corpus.
        workspace: Folder that holds everything a run leaves; workers on other machines must reach it.
        split: How text is split; by default as the corpus was first prepared.
        dictionary: Which characters get an id; by default likewise.
        reading: How raw text is read.
        domain: Kind of text that this is; the corpus name by default.
        extend_dictionary: Give new characters ids at the end of the dictionary.
        metadata: Licence and languages for the model cards; by default as known.
        task_runner: Where the work on shards runs.
    """
    space = use_workspace(workspace)
    check_workers_reach(space, task_runner)
    return corpora.prepare_corpus(
        space,
        raw,
        name,
        split,
        dictionary,
        reading=reading,
        domain=domain,
        extend_dictionary=extend_dictionary,
        metadata=metadata,
        steps=PrefectSteps(partial(open_task_runner, task_runner, space)),
    )
