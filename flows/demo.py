"""`make demo`: the whole pipeline on the documentation that ships with Python, and a closing screen for newcomers."""

from pathlib import Path

from charlm.artifacts import Workspace
from charlm.config import CorpusMetadata, SplitConfig
from flows.pipeline import charlm_pipeline
from tasks.corpus.demo_text import gather_documentation
from tasks.inference.embedding import embed_words, nearest_words
from tasks.inference.generation import generate_text
from tasks.services.session import use_workspace
from tasks.terminal import counted, print_result, score_table, terminal
from tasks.training.pair import TrainedPair

NAME = "python-docs"
_SPLIT = SplitConfig(shard_size=500_000)  # several shards, so that there is something to see
_METADATA = CorpusMetadata(licence="PSF-2.0", languages=("en",))
_WORD = "return"  # a verb in one sentence, a noun in the other
_CONTEXTS = ("The method must return the value .", "The return value is an integer .")
_NUM_NEIGHBOURS = 3
_NUM_SENTENCES = 2_000
_SAMPLE_LENGTH = 1_000
_SAMPLE_LINES = 8


def run_demo(workspace: Path) -> TrainedPair:
    """Run the pipeline on the interpreter's documentation."""
    space = use_workspace(workspace)
    terminal.print_line(
        "charlm demo: two character language models of Python's own documentation, in two to five minutes"
    )
    if not space.demo_text.is_file():
        with terminal.step("gather the documentation that ships with Python") as bar:
            bar.finish(counted(gather_documentation(space.demo_text), "document"))
    sources = [str(space.demo_text)]
    pair: TrainedPair = charlm_pipeline(sources, NAME, workspace, split=_SPLIT, metadata=_METADATA, resume=True)
    return pair


def show_result(workspace: Workspace, result: TrainedPair) -> None:
    """The closing screen: scores, a sample, where the model is, the neighbours of a word, and what to try next."""
    assert result.version is not None
    champion = f"models:/{NAME}@champion"
    sample = generate_text(workspace, champion, prefix="Return ", num_characters=_SAMPLE_LENGTH, seed=7)["forward"]
    print_result("\n[bold]Scores on test text that the models have not seen[/]", markup=True)
    print_result(score_table({direction: {"test": run.test} for direction, run in result.runs.items()}))
    print_result("[bold]The forward model continues “Return ”[/] (white space shortened)", markup=True)
    print_result(_indented(sample))
    print_result(
        f"\n[bold]The word “{_WORD}” in two contexts, and what the models find nearest in the held-out text[/]",
        markup=True,
    )
    for context, neighbours in _neighbours(workspace, champion):
        print_result("\n".join([f"  … {context} …", *(f"      … {neighbour} …" for neighbour in neighbours)]))
    print_result(f"\n[bold]Registered[/] as {result.version.address}, which people use as {champion}", markup=True)
    report = workspace.report(NAME, result.version.version)
    if report.is_file():
        print_result(f"Everything about it on one page: {report}")
    print_result("\n[bold]Try next[/]", markup=True)
    folder = _shown_folder(workspace.place)
    print_result(
        f"  charlm generate {champion} --prefix 'Return the '{folder}\n"
        f"  charlm evaluate {champion} README.md{folder}\n"
        f"  charlm run YOUR-TEXT.txt --name my-text{folder}"
    )


def _neighbours(workspace: Workspace, model: str) -> list[tuple[str, list[str]]]:
    """Each context of the word with the nearest words in their contexts."""
    sentences = [
        line.split()
        for path in (workspace.corpus(NAME).valid, workspace.corpus(NAME).test)
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    sentences = [words for words in sentences if 4 <= len(words) <= 20][:_NUM_SENTENCES]
    candidates = [word for word in embed_words(workspace, model, sentences) if word.word.isalpha()]
    queries = [
        word for word in embed_words(workspace, model, [text.split() for text in _CONTEXTS]) if word.word == _WORD
    ]
    return [
        (query.context, [word.context for word in nearest_words(query, candidates, num=_NUM_NEIGHBOURS)])
        for query in queries
    ]


def _shown_folder(root: Path) -> str:
    """The option that names the workspace, where it is not the default one."""
    return "" if root == Path("workspace").absolute() else f" --workspace {root}"


def _indented(text: str) -> str:
    """The first lines of `text` that hold words: the help topics taught the models long runs of spaces."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return "\n".join(f"  │ {line}" for line in lines[:_SAMPLE_LINES])
