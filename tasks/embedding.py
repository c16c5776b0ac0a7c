"""Embed text with the models of a path or a registry address.

Reads  a text file, or sentences that are given
Writes the Parquet file of `charlm embed`
"""

import glob
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charlm.artifacts import Workspace
from charlm.errors import ConfigError, CorpusError, SourceError
from tasks.display import terminal
from tasks.registry import find_version, resolve_model


@dataclass(frozen=True)
class EmbeddedWord:
    """A word in its sentence, and its vector."""

    word: str
    context: str
    """The sentence's words around it, itself in brackets."""

    vector: np.ndarray


@dataclass(frozen=True)
class EmbeddedText:
    """The result of `embed_text`."""

    output: Path
    num_tokens: int
    num_dimensions: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {"output": str(self.output), "tokens": self.num_tokens, "dimensions": self.num_dimensions}


def find_texts(names: Sequence[str]) -> list[str]:
    """The files that `names` stand for, each once: folders hold files at any depth, globs name them by a pattern.

    Hidden files are left out. A name that is neither stays as it is.
    """
    found: dict[str, None] = {}
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            matches = [file for file in path.rglob("*") if not _is_hidden(file.relative_to(path))]
        elif not path.exists() and glob.has_magic(name):
            matches = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207  # may be absolute
        else:
            matches = [path]
        found |= dict.fromkeys(str(match) for match in sorted(matches) if not match.is_dir())
    return list(found)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def texts_of_model(workspace: Workspace, model: str) -> list[str]:
    """The texts of the workspace that every champion of a registered model embeds."""
    if not model.startswith("models:"):
        return []
    folder = workspace.texts_dir(find_version(model).name)
    return find_texts([str(folder)]) if folder.is_dir() else []


def embeddings_folder(workspace: Workspace, model: str) -> Path:
    """Where the embeddings of a registered version go by default; raises ConfigError for other models."""
    if not model.startswith("models:"):
        raise ConfigError(f"where should the embeddings with {model} go? Name an output folder")
    version = find_version(model)
    return workspace.embeddings_dir(version.name, version.version)


def embedding_outputs(texts: Sequence[str], folder: Path) -> dict[str, Path]:
    """The Parquet file of each text: its name in `folder`. Raises where a text is missing or two share a name."""
    outputs: dict[str, Path] = {}
    for text in texts:
        if not Path(text).expanduser().is_file():
            raise SourceError(f"there is no text file {text!r} to embed")
        output = folder.expanduser().absolute() / f"{Path(text).name}.parquet"
        if output in outputs.values():
            raise ConfigError(
                f"two texts are named {Path(text).name}, and both would be written to {output}; rename one"
            )
        outputs[text] = output
    if not outputs:
        raise ConfigError("no text was named; give at least one file to embed")
    return outputs


def pinned_model(model: str) -> str:
    """`model` with its version in the place of an alias, which may come to name another one meanwhile."""
    return find_version(model).address if model.startswith("models:") else model


def embed_text(
    workspace: Workspace,
    model: str,
    text: str,
    output: Path,
    *,
    text_format: str | None = None,
    pooling: str = "token",
    dtype: str = "float32",
    precision: str = "fp32",
) -> EmbeddedText:
    """Write the embeddings of every token (or sentence) of the file `text` to the Parquet file `output`."""
    for name, value, known in (
        ("format", text_format, (None, "text", "conll", "parquet")),
        ("pooling", pooling, ("token", "mean", "first_last")),
        ("dtype", dtype, ("float32", "float16")),
        ("precision", precision, ("fp32", "bf16")),
    ):
        if value not in known:
            raise ConfigError(f"{name} is one of {', '.join(word for word in known if word)}; got {value!r}")
    started = time.monotonic()
    path, output = Path(text).expanduser(), output.expanduser().absolute()
    if not path.is_file():
        raise SourceError(f"there is no text file {text!r} to embed")
    if path.stat().st_size == 0:
        raise CorpusError(f"{path} is empty; give a text to embed")
    model_path = resolve_model(model, workspace)
    from charlm.embeddings.export import embed_file
    from charlm.models.language_model import load_language_models

    models = load_language_models(model_path)
    with terminal.step(f"embed {path.name}") as bar:
        result = embed_file(
            models,
            path,
            output,
            format=text_format,  # type: ignore[arg-type]  # checked above
            pooling=pooling,  # type: ignore[arg-type]
            dtype=dtype,  # type: ignore[arg-type]
            precision=precision,  # type: ignore[arg-type]
            on_progress=lambda done, total: bar.update(done / max(total, 1)),
        )
        bar.finish(f"{result.tokens:,} tokens, {result.dimensions} dimensions")
    return EmbeddedText(output, result.tokens, result.dimensions, time.monotonic() - started)


def embed_words(workspace: Workspace, model: str, sentences: list[list[str]]) -> list[EmbeddedWord]:
    """Every word of `sentences` (each a list of words) with its embedding, in order."""
    path = resolve_model(model, workspace)
    from charlm.data import Sentence
    from charlm.embeddings import FlairEmbeddings, StackedEmbeddings
    from charlm.models.language_model import load_language_models

    embeddings = StackedEmbeddings([FlairEmbeddings(lm) for lm in load_language_models(path).values()])
    embedded = [Sentence(words) for words in sentences]
    embeddings.embed(embedded)
    return [
        EmbeddedWord(token.text, _context(words, position), token.embedding.cpu().numpy())
        for words, sentence in zip(sentences, embedded, strict=True)
        for position, token in enumerate(sentence)
    ]


def nearest_words(query: EmbeddedWord, candidates: list[EmbeddedWord], *, num: int) -> list[EmbeddedWord]:
    """The `num` candidates of greatest cosine to `query`, each context once, best first."""
    vectors = np.stack([candidate.vector for candidate in candidates])
    cosines = vectors @ query.vector / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(query.vector))
    best: dict[str, EmbeddedWord] = {}
    for index in np.argsort(-cosines):
        candidate = candidates[index]
        best.setdefault(candidate.context, candidate)
        if len(best) == num:
            break
    return list(best.values())


def _context(words: list[str], position: int, *, num_around: int = 3) -> str:
    before = words[max(0, position - num_around) : position]
    after = words[position + 1 : position + 1 + num_around]
    return " ".join([*before, f"[{words[position]}]", *after])
