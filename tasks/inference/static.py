"""Static vectors of frequent words, from the contexts that a text has for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from charlm.artifacts import Workspace
from charlm.config import ReadConfig
from charlm.errors import ConfigError
from charlm.storage.user_paths import user_path
from charlm.text.sources.finding import find_sources
from charlm.text.sources.rows import read_windows
from tasks.inference.own_corpus import own_corpus
from tasks.registry.download import open_model
from tasks.terminal import counted, terminal


class StaticVectorsJson(TypedDict):
    """What `charlm static --json` shows."""

    output: str
    words: int
    dimensions: int
    contexts: int


@dataclass(frozen=True)
class StaticVectors:
    """The result of `write_static_vectors`."""

    output: Path
    words: int
    dimensions: int
    contexts: int
    """Contexts of all words together."""

    def to_json(self) -> StaticVectorsJson:
        return {**vars(self), "output": str(self.output)}  # type: ignore[typeddict-item]  # the same fields


def write_static_vectors(
    workspace: Workspace,
    model: str,
    output: Path,
    texts: Sequence[str] = (),
    *,
    num_words: int = 20_000,
    max_characters: int = 20_000_000,
    tokenizer: str | None = None,
) -> StaticVectors:
    """Write a vector for each of the most frequent words of `texts`; by default of the train text of the model.

    At most the first `max_characters` of the text are read. Raises ConfigError without a text, SourceError or
    CorpusError for one without words, ModelFileError or RegistryError for the model.
    """
    output = user_path(output).absolute()
    if output.is_dir():
        raise ConfigError(f"{output} is a folder; name a file to write to")
    if max_characters < 1:
        raise ConfigError(f"--max-characters is at least 1, got {max_characters}")
    opened = open_model(model, workspace)
    from charlm.embeddings.encode import open_embeddings
    from charlm.embeddings.static_vectors import frequent_words, static_vectors, write_word_vectors

    corpus = None if texts else own_corpus(opened.path, workspace)
    if not texts and corpus is None:
        raise ConfigError(f"the text that {opened.name} was trained on is not in {workspace.root}; name a text")
    sources = [*texts] if corpus is None else [str(path) for path in corpus.shards()]
    cut = True if tokenizer is None else tokenizer
    embeddings = open_embeddings(opened.models)
    with terminal.step("static vectors") as bar:
        bar.update(None, "count words")
        words = frequent_words(_lines(sources, max_characters), num_words, tokenizer=cut)
        total = sum(1 for _ in _lines(sources, max_characters))
        vectors, counts = static_vectors(
            embeddings,
            _lines(sources, max_characters),
            words,
            tokenizer=cut,
            on_progress=lambda number: bar.update(number / total, f"{len(words):,} words"),
        )
        write_word_vectors(output, words, vectors)
        bar.finish(f"{counted(len(words), 'word')}, {counted(int(counts.sum()), 'context')}")
    return StaticVectors(output, len(words), vectors.shape[1], int(counts.sum()))


def _lines(texts: Sequence[str], max_characters: int) -> Iterator[str]:
    """The lines of texts, up to so many characters."""
    windows = read_windows(find_sources(texts), "line", ReadConfig(), whole_sources=False, skipped={})
    lines = (text.decode() for window in windows for text in window.texts)
    read = 0
    for line in lines:
        read += len(line)
        yield line.rstrip("\n")
        if read >= max_characters:
            return
